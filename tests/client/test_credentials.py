"""Signing in, and tokens that renew themselves."""

import asyncio
import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import UploadFile
from starlette.responses import RedirectResponse

from fastapi_poto.client import PotoClient, TokenPair
from fastapi_poto.errors import PotoError, Unauthenticated, UsernameTaken
from fastapi_poto.testing import Clock, serve

from .app import Shop, make_app

pytestmark = pytest.mark.anyio


class Server:
    """The application behind a middleware that counts, with a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.paths: list[str] = []
        self.away: set[str] = set()
        self.url = ""
        self._app = make_app(clock=self.clock)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.paths.append(scope["path"].removeprefix("/api"))
            if scope["path"] in self.away:
                await RedirectResponse("/api/Shop/whoami", 307)(scope, receive, send)
                return
        await self._app(scope, receive, send)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with serve(server) as live:
        server.url = live.url + "/api"
        yield server


async def test_a_refused_token_is_renewed_once(server: Server) -> None:
    """20 calls at once with an expired token: one refresh, and all of them answered."""
    async with PotoClient(server.url) as client:
        mine = await client.sign_in_visitor()
        shop = client.module(Shop)
        server.clock.advance(minutes=20)
        assert set(await asyncio.gather(*(shop.whoami() for _ in range(20)))) == {mine.user_id}
        assert server.paths.count("/auth/refresh") == 1
        assert client.tokens is not None
        assert client.tokens.access_token != mine.access_token


async def test_a_token_is_renewed_before_it_expires(server: Server) -> None:
    """No call is refused first; streams too begin with a fresh one."""
    async with PotoClient(server.url) as client:
        tokens = await client.sign_in_visitor()
        client.tokens = tokens.model_copy(update={"expires_at": time.time()})
        assert [item.quantity async for item in client.module(Shop).watch(limit=2)] == [0, 1]
        assert server.paths == ["/auth/visitor", "/auth/refresh", "/Shop/watch"]


async def test_an_early_refresh_that_fails_is_no_harm(server: Server) -> None:
    """While the token is good, a call goes out with it."""
    async with PotoClient(server.url) as client:
        tokens = await client.sign_in_visitor()
        client.tokens = tokens.model_copy(update={"refresh_token": "broken", "expires_at": time.time() + 2})
        client._credentials._renew_at = 0
        assert await client.module(Shop).whoami() == tokens.user_id
        client.tokens = tokens.model_copy(update={"refresh_token": "broken", "expires_at": time.time()})
        with pytest.raises(Unauthenticated):
            await client.module(Shop).whoami()


async def test_when_nothing_renews_the_call_is_refused(server: Server) -> None:
    """After a logout elsewhere: one 401, tried once."""
    async with PotoClient(server.url) as client, PotoClient(server.url, tokens=await visitor(server)) as other:
        client.tokens = other.tokens
        await other.logout()
        assert other.tokens is None
        server.paths.clear()
        with pytest.raises(Unauthenticated):
            await client.module(Shop).whoami()
        assert server.paths == ["/Shop/whoami", "/auth/refresh"]


async def visitor(server: Server) -> TokenPair:
    async with PotoClient(server.url) as client:
        return await client.sign_in_visitor()


async def test_a_methods_own_401_is_not_called_twice(server: Server) -> None:
    """Only a token that was refused before the method ran is a reason to call again."""
    async with PotoClient(server.url, tokens=await visitor(server)) as client:
        server.paths.clear()
        with pytest.raises(Unauthenticated, match="the method says so"):
            await client.module(Shop).fail("unauthenticated")
        assert server.paths == ["/Shop/fail"]


async def test_an_upload_is_sent_again_whole(server: Server) -> None:
    """The file is read from its beginning the second time."""
    async with PotoClient(server.url, tokens=await visitor(server)) as client:
        server.clock.advance(minutes=20)
        file = UploadFile(io.BytesIO(b"x" * 100_000), filename="a")
        assert await client.module(Shop).measure_mine(file) == 100_000
        assert server.paths[-3:] == ["/Shop/measure_mine", "/auth/refresh", "/Shop/measure_mine"]


class Pipe(io.RawIOBase):
    """What can be read once."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(size)


async def test_an_upload_that_was_read_is_not_sent_again(server: Server) -> None:
    """The call fails rather than succeed without the bytes; with the token that was renewed, the next one goes."""
    async with PotoClient(server.url, tokens=await visitor(server)) as client:
        server.clock.advance(minutes=20)
        with pytest.raises(Unauthenticated) as caught:
            await client.module(Shop).measure_mine(UploadFile(Pipe(b"12345"), filename="a"))  # type: ignore[arg-type]
        assert "cannot be sent again" in caught.value.__notes__[-1]
        assert server.paths[-2:] == ["/Shop/measure_mine", "/auth/refresh"]
        assert await client.module(Shop).measure_mine(UploadFile(Pipe(b"12345"), filename="a")) == 5  # type: ignore[arg-type]


async def test_signing_out_of_what_has_ended(server: Server) -> None:
    """The tokens of a sign-in that ended elsewhere go, without an error; those that a new one brought stay."""
    tokens = await visitor(server)
    async with PotoClient(server.url, tokens=tokens) as client, PotoClient(server.url, tokens=tokens) as other:
        await other.logout()
        await client.logout()
        assert client.tokens is None
        server.away.add("/api/auth/logout")
        client.tokens = again = await visitor(server)
        with pytest.raises(PotoError):
            await client.logout()
        assert client.tokens == again


async def test_a_caller_who_gives_up_does_not_end_the_refresh_for_others(server: Server) -> None:
    """The one that asked first is cancelled; the other gets its answer."""
    async with PotoClient(server.url, tokens=await visitor(server)) as client:
        server.clock.advance(minutes=20)
        shop = client.module(Shop)
        first, second = asyncio.create_task(shop.whoami()), asyncio.create_task(shop.whoami())
        while not client._credentials._renewing:
            await asyncio.sleep(0)
        first.cancel()
        assert client.tokens is not None
        assert await second == client.tokens.user_id


async def test_a_call_is_of_the_user_who_was_signed_in(server: Server) -> None:
    """Who takes another's place while that one's tokens are renewed calls as themselves, and so does the other."""
    ann, bob = await visitor(server), await visitor(server)
    async with PotoClient(server.url, tokens=ann) as client:
        server.clock.advance(minutes=20)
        shop = client.module(Shop)
        first = asyncio.create_task(shop.whoami())
        while not client._credentials._renewing:
            await asyncio.sleep(0)
        client.tokens = bob.model_copy(update={"expires_at": time.time()})
        assert await asyncio.gather(shop.whoami(), first) == [bob.user_id, ann.user_id]
        assert client.tokens.user_id == bob.user_id


async def test_redirects_are_not_followed(server: Server) -> None:
    """A token goes where it was meant to go, and nowhere else; the error says where it was pointed."""
    async with PotoClient(server.url, tokens=await visitor(server)) as client:
        server.away.add("/api/Shop/reverse")
        server.paths.clear()
        with pytest.raises(PotoError) as caught:
            await client.module(Shop).reverse(b"a")
        assert caught.value.code == "http_307"
        assert "redirects are not followed" in caught.value.__notes__[-1]
        assert server.paths == ["/Shop/reverse"]


async def test_names_and_passwords(server: Server) -> None:
    """A visitor comes back with its password, takes a name, and signs in with that."""
    seen: list[str] = []
    async with PotoClient(server.url, on_tokens=lambda tokens: seen.append(tokens.user_id if tokens else "")) as client:
        mine = await client.sign_in_visitor()
        assert mine.password is not None
        assert (await client.login(mine.user_id, mine.password)).user_id == mine.user_id
        upgraded = await client.upgrade("ann", "correct horse battery")
        assert upgraded.user_id == mine.user_id
        await client.logout()
        assert (await client.login("ann", "correct horse battery")).user_id == mine.user_id
        me = await client.me()
        assert (me.id, me.name, me.visitor, me.roles) == (mine.user_id, "ann", False, frozenset())
        assert seen == [mine.user_id] * 3 + ["", mine.user_id]
        with pytest.raises(Unauthenticated):
            await client.login("ann", "wrong")
        assert client.tokens is not None  # a login that fails changes nothing
        await client.sign_in_visitor()
        with pytest.raises(UsernameTaken):
            await client.upgrade("ann", "correct horse battery")


async def test_a_sign_in_outlives_the_client(server: Server) -> None:
    """Tokens that were kept are as good in the next run; `refresh` gives new ones at once."""
    kept = await visitor(server)
    async with PotoClient(server.url, tokens=kept) as client:
        assert await client.module(Shop).whoami() == kept.user_id
        renewed = await client.refresh()
        assert renewed.access_token != kept.access_token
        assert client.tokens == renewed


async def test_tokens_are_not_shown(server: Server) -> None:
    """Neither the client's repr nor that of its tokens has a secret."""
    async with PotoClient(server.url) as client:
        assert repr(client) == f"<PotoClient {server.url}>"
        tokens = await client.sign_in_visitor()
        shown = repr(client) + repr(tokens) + str(tokens)
        assert tokens.user_id in shown
        for secret in (tokens.access_token, tokens.refresh_token, tokens.password):
            assert secret
            assert secret not in shown
