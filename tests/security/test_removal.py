"""Threat 49: after a restore one call ends every sign-in, and a user who was removed leaves nothing in the store."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from fastapi_poto import ApiKeys, OwnSignIn, Poto
from fastapi_poto.errors import NotFound, Unauthenticated
from fastapi_poto.stores import Store
from fastapi_poto.testing import Clock
from tests.auth.house import scope
from tests.secret import SECRET
from tests.servers import PostgresServer, RedisServer

Work = Callable[[Poto, Clock], Awaitable[None]]


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Work], None]:
    """Run what an application does with a runtime on each store."""

    def run(work: Work) -> None:
        with ExitStack() as stack:
            kind = request.param
            if kind in ("postgres", "redis"):
                url = stack.enter_context((PostgresServer if kind == "postgres" else RedisServer)(tmp_path)).url
                url += "?timeout=5"  # it is about what is kept
            else:
                url = "memory://" if kind == "memory" else f"sqlite:///{tmp_path}/poto.db"
            anyio.run(_with_poto, url, work)

    return run


async def _with_poto(url: str, work: Work) -> None:
    async with opened(url) as (poto, clock):
        await work(poto, clock)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[Poto, Clock]]:
    clock = Clock()
    poto = Poto(SECRET, store=url, clock=clock, credentials=[OwnSignIn(), ApiKeys()])
    await poto.open()
    try:
        yield poto, clock
    finally:
        await poto.close()


async def everything(store: Store) -> str:
    """All names, fields and values that the store holds."""
    found = []
    cursor: str | None = None
    while True:
        page = await store.names("", cursor=cursor)
        for name in page.names:
            fields = await store.read(name) or {}
            found.append(f"{name} {[(field, value.decode('latin-1')) for field, value in fields.items()]}")
        cursor = page.cursor
        if cursor is None:
            return "\n".join(found)


def test_49_a_removed_user_leaves_nothing(run: Callable[[Work], None]) -> None:
    """Threat 49: neither name nor id, be it of a visitor, of one who registered later, or of somebody with API keys."""

    async def work(poto: Poto, clock: Clock) -> None:
        visitor = await poto.sign_in.visitor("192.0.2.1")
        upgraded = await poto.sign_in.visitor("192.0.2.1")
        named = await poto.accounts.create("wilhelmina", "correct horse", ["reader"])
        await poto.sign_in.login("wilhelmina", "correct horse", "192.0.2.1")
        with pytest.raises(Unauthenticated):
            await poto.sign_in.login("wilhelmina", "wrong horse", "192.0.2.1")
        await poto.keys.create(named.id, name="cron")
        clock.advance(days=3)
        again = [await poto.sign_in.refresh(pair.refresh_token, "a") for pair in (visitor, upgraded)]
        identity = await poto.authenticator.authenticate(scope(again[1].access_token))
        assert identity is not None
        await poto.sign_in.upgrade(identity, "bartholomew", "correct horse", "192.0.2.1")
        ids = [visitor.user_id, upgraded.user_id, named.id]
        for user_id in ids:
            await poto.sessions.of_user(user_id).set("basket", ["tea"])  # type: ignore[attr-defined]
        before = await everything(poto.store)
        assert all(text in before for text in (*ids, "cron"))  # users of the memory store live apart
        for user_id in ids:
            await poto.accounts.remove(user_id)
        clock.advance(1)
        after = await everything(poto.store)
        assert [text for text in (*ids, "wilhelmina", "bartholomew", "cron", "tea") if text in after] == []

    run(work)


def test_49_a_removed_user_of_cookie_sessions() -> None:
    """Threat 49: nor what made their older session cookies worthless."""

    async def work() -> None:
        poto = Poto(SECRET, sessions="cookie://")
        pair = await poto.sign_in.visitor("192.0.2.1")
        await poto.accounts.end_sign_ins(pair.user_id)
        assert pair.user_id in await everything(poto.store)
        await poto.accounts.remove(pair.user_id)
        assert pair.user_id not in await everything(poto.store)

    anyio.run(work)


def test_49_one_call_ends_every_sign_in(run: Callable[[Work], None]) -> None:
    """Threat 49: visitors and named users, access and refresh tokens; whoever signs in afterwards is in."""

    async def work(poto: Poto, clock: Clock) -> None:
        await poto.accounts.create("ann", "correct horse")
        pairs = [await poto.sign_in.visitor("a") for _ in range(20)]
        passwords = {pair.user_id: pair.password for pair in pairs}
        ann = await poto.sign_in.login("ann", "correct horse", "a")
        assert await poto.accounts.end_all_sign_ins() == 21
        for pair in (*pairs, ann):
            with pytest.raises(Unauthenticated):
                await poto.authenticator.authenticate(scope(pair.access_token))
            with pytest.raises(Unauthenticated):
                await poto.sign_in.refresh(pair.refresh_token, "a")
        again = await poto.sign_in.login(pairs[0].user_id, passwords[pairs[0].user_id], "a")
        assert await poto.authenticator.authenticate(scope(again.access_token)) is not None

    run(work)


def test_49_a_disabled_users_password(run: Callable[[Work], None]) -> None:
    """An administrator can change it before the user is let in again, and knows when there is no such user."""

    async def work(poto: Poto, clock: Clock) -> None:
        user = await poto.accounts.create("ann", "correct horse")
        await poto.users.set_disabled(user.id)  # type: ignore[attr-defined]
        await poto.accounts.change_password(user.id, "battery staple")
        with pytest.raises(Unauthenticated):
            await poto.sign_in.login("ann", "battery staple", "a")
        await poto.users.set_disabled(user.id, False)  # type: ignore[attr-defined]
        assert (await poto.sign_in.login("ann", "battery staple", "a")).user_id == user.id
        with pytest.raises(NotFound):
            await poto.accounts.change_password("nobody", "battery staple")

    run(work)
