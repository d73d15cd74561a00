"""What tests of an application are given."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fastapi_poto import ApiKeys, ConfigurationError, CurrentUser, Poto, PotoModule, User, poto_router, roles
from fastapi_poto.auth import StoreUsers
from fastapi_poto.client import PotoClient
from fastapi_poto.errors import Forbidden, Unauthenticated
from fastapi_poto.stores import MemoryStore
from fastapi_poto.testing import Clock, acting_as, serve, sign_in
from fastapi_poto.users import Account
from tests.secret import SECRET


class Shop(PotoModule):
    left: list[str] = []

    async def whoami(self) -> str:
        return self.user.id

    async def count(self) -> int:
        return await self.session.increment("n")

    @roles("admin")
    async def close(self) -> str:
        return "closed"

    async def watch(self) -> AsyncIterator[str]:
        try:
            for _ in range(1000):
                yield self.user.id
                await asyncio.sleep(0.001)
        finally:
            self.left.append(self.user.id)


def make_app(poto: Poto | None = None) -> FastAPI:
    app = FastAPI()
    app.include_router(poto_router(Shop, poto=poto or Poto(SECRET)))

    @app.get("/plain")
    async def plain(user: CurrentUser) -> str:
        return user.id

    return app


def test_acting_as() -> None:
    """Every call in the block is that user's, in modules and plain routes; sessions and roles work; then nobody's."""
    app = make_app()
    with TestClient(app) as client:
        with acting_as(app, "ann"):
            assert client.post("/Shop/whoami").json() == "ann"
            assert client.get("/plain").json() == "ann"
            assert [client.post("/Shop/count").json() for _ in range(2)] == [1, 2]
            assert client.post("/Shop/close").status_code == 403
            with acting_as(app, User("bob", frozenset({"admin"}))) as bob:
                assert client.post("/Shop/close").json() == "closed"
                assert client.post("/Shop/whoami").json() == bob.id
                assert client.post("/Shop/count").json() == 1
            assert client.post("/Shop/count").json() == 3
        assert client.post("/Shop/whoami").status_code == 401


@pytest.mark.anyio
async def test_sign_in_without_a_password() -> None:
    """Real tokens, which refresh and end as any; the user is made, or given the role that was missing."""
    app = make_app()
    tokens = await sign_in(app, "ann")
    async with PotoClient(app=app, tokens=tokens) as client:
        shop = client.module(Shop)
        assert await shop.whoami() == "ann"
        with pytest.raises(Forbidden):
            await shop.close()
        client.tokens = await sign_in(app, "ann", roles=["admin"])
        assert await shop.close() == "closed"
        await client.refresh()
        assert (await client.me()).roles == {"admin"}
        await client.logout()
        client.tokens = tokens
        assert await shop.whoami() == "ann"  # another sign-in of the same user


@pytest.mark.anyio
async def test_an_application_where_nobody_signs_in() -> None:
    """Tokens that it would refuse are not made."""
    with pytest.raises(ConfigurationError, match=r"Use acting_as\(\)"):
        await sign_in(Poto(SECRET, credentials=[ApiKeys()]))


@pytest.mark.anyio
async def test_users_of_the_applications_own() -> None:
    """One who is there keeps their roles; a provider that cannot give any says what to do."""
    users = StoreUsers(MemoryStore())
    await users.add(Account(User("u1", frozenset({"admin"}), name="ann"), None))
    app = make_app(Poto(SECRET, users=users))
    async with PotoClient(app=app, tokens=await sign_in(app, "u1")) as client:
        assert await client.module(Shop).close() == "closed"

    class Fixed:
        async def get(self, user_id: str) -> User | None:
            return User(user_id)

        find = add = set_credentials = remove = StoreUsers.remove

    app = make_app(Poto(SECRET, users=Fixed()))  # type: ignore[arg-type]
    assert (await sign_in(app, "anybody")).user_id == "anybody"
    with pytest.raises(ConfigurationError, match="anybody is there without admin, and Fixed has no set_roles"):
        await sign_in(app, "anybody", roles=["admin"])


def test_sync_tests(tmp_path: Path) -> None:
    """With FastAPI's own client, in the application's event loop, whatever the store."""
    app = make_app(Poto(SECRET, store=f"sqlite:///{tmp_path}/a.db"))
    with TestClient(app) as client:
        assert client.portal is not None
        tokens = client.portal.call(sign_in, app, "ann")
        assert client.post("/Shop/whoami", headers=tokens.headers).json() == "ann"


@pytest.mark.anyio
async def test_a_live_application(tmp_path: Path) -> None:
    """A real server, with its lifespan, for streams; signed in without a password, whatever the store."""
    with serve(make_app(Poto(SECRET, store=f"sqlite:///{tmp_path}/a.db"))) as live:
        async with live.client(live.sign_in("ann")) as client:
            stream = client.module(Shop).watch()
            assert await anext(stream) == "ann"
            await stream.aclose()  # type: ignore[attr-defined]
            async with asyncio.timeout(5):
                while "ann" not in Shop.left:
                    await asyncio.sleep(0.005)


def test_an_application_that_does_not_start() -> None:
    """Its failure is not waited for."""

    async def broken(app: FastAPI) -> AsyncIterator[None]:
        raise ZeroDivisionError
        yield

    with (
        pytest.raises(RuntimeError, match="did not start"),
        serve(FastAPI(lifespan=asynccontextmanager(broken)), log_level="critical"),
    ):
        pass


@pytest.mark.anyio
async def test_the_clock_is_moved() -> None:
    """Tokens expire when the test says so, and not before."""
    clock = Clock()
    app = make_app(Poto(SECRET, clock=clock))
    tokens = await sign_in(app)
    async with PotoClient(app=app) as client:
        client.tokens = tokens.model_copy(update={"refresh_token": ""})  # without a refresh token
        shop = client.module(Shop)
        clock.advance(minutes=14, seconds=59)
        assert await shop.whoami() == "tester"
        clock.advance(1)
        with pytest.raises(Unauthenticated):
            await shop.whoami()
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
    before = clock()
    clock.advance(days=1, hours=1)
    assert clock() == before + 90_000
