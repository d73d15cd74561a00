"""When a session expires, and how few operations it needs."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fastapi_poto import Poto
from fastapi_poto.context import CallContext
from fastapi_poto.sessions import Session, SessionManager
from fastapi_poto.stores import MemoryStore, Store, store_from_url
from fastapi_poto.testing import Clock
from tests.secret import SECRET
from tests.servers import RedisServer
from tests.sessions.calls import Counting, Credentials, call_of
from tests.sessions.models import Cart
from tests.stores.fixtures import until_gone, url_of

pytestmark = pytest.mark.anyio


DAY = 86_400


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def timed_store(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> AsyncIterator[Store]:
    """A store whose clock the test moves, as `Poto(clock=…)` hands it on; Redis has its own."""
    opened = store_from_url(url_of(request.param, request, tmp_path), clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
async def timed(timed_store: Store, clock: Clock) -> SessionManager:
    return SessionManager(timed_store, clock=clock)


async def test_idle_expiry(timed: SessionManager, clock: Clock, user_id: str) -> None:
    """A session ends 14 days after its last use, whatever the use, and the next one starts empty."""
    uses: list[Callable[[Session], Awaitable[Any]]] = [
        lambda session: session.get("a"),
        lambda session: session.set("c", 1),
        lambda session: session.increment("n"),
        lambda session: session.update("u", lambda value: (value or 0) + 1),
        lambda session: session.all(),
    ]
    await timed.handle(call_of(user_id)).set("a", 1)
    for use in uses:
        clock.now += 13 * DAY / len(uses) * 2
        await use(timed.handle(call_of(user_id)))
    assert await timed.handle(call_of(user_id)).get("a") == 1
    clock.now += 14 * DAY
    session = timed.handle(call_of(user_id))
    assert await session.get("a") is None
    await session.set("b", 1)
    assert await session.all() == {"b": 1}


@pytest.mark.parametrize("use", ["get", "increment"])
async def test_absolute_expiry(timed: SessionManager, timed_store: Store, clock: Clock, user_id: str, use: str) -> None:
    """A session ends 30 days after it began, however often it is used, and by however many processes."""
    await timed.handle(call_of(user_id)).set("a", 1)
    for day in range(29):
        clock.now += DAY
        sessions = SessionManager(timed_store, clock=clock) if day % 2 else timed
        session = sessions.handle(call_of(user_id))
        assert await (session.get("a") if use == "get" else session.increment("a", 0)) == 1, day
    clock.now += DAY - 30
    session = timed.handle(call_of(user_id))
    assert await session.get("a") == 1
    clock.now += 30
    assert await session.get("a") is None
    assert await session.increment("n") == 1


@pytest.mark.parametrize("has_keys_only", [False, True])
async def test_a_session_outlives_short_sign_ins(has_keys_only: bool) -> None:
    """One that began after a sign-out is found as long as it lives, however short sign-ins are, and by a key alone."""
    clock = Clock(1_000_000.0)
    poto = Poto(SECRET, clock=clock, refresh_idle=DAY, refresh_absolute=DAY, session_idle=10 * DAY)
    user = await poto.accounts.create("ann", None)
    await poto.sessions.end(user.id)

    async def session() -> Session:
        if not has_keys_only:
            await poto.token_families.begin(user.id, epoch=0)
        return poto.sessions.handle(call_of(user.id))

    await (await session()).set("a", 1)
    for _ in range(3):
        clock.now += 9 * DAY
        assert await (await session()).get("a") == 1
    clock.now += 10 * DAY
    assert await (await session()).get("a") is None


async def test_expiry_by_the_clock_of_redis(redis_server: RedisServer, user_id: str) -> None:
    """Redis keeps both lives by its own clock."""
    store = store_from_url(f"{redis_server.url}?timeout=5")
    sessions = SessionManager(store, idle=0.3, absolute=0.7)
    await sessions.of_user(user_id).set("a", 1)
    began = time.monotonic()
    while await sessions.of_user(user_id).get("a") == 1:
        await asyncio.sleep(0.05)
    assert 0.5 < time.monotonic() - began < 2, "it was in use: the absolute end is what ended it"
    await sessions.of_user(user_id).set("a", 1)
    await until_gone(store, f"session:{user_id}")
    await store.close()


async def test_a_store_forgets_by_itself(user_id: str, clock: Clock) -> None:
    """Idle sessions leave the store with the purge; those in use stay."""
    store = MemoryStore(clock=clock)
    timed = SessionManager(store, clock=clock)
    await timed.of_user("idle").set("a", 1)
    await timed.of_user("busy").set("a", 1)
    clock.now += 10 * DAY
    await timed.of_user("busy").get("a")
    clock.now += 5 * DAY
    assert await store.purge() == 1
    assert (await store.names("session:")).names == ["session:busy"]
    assert await timed.of_user("busy").get("a") == 1


async def test_last_use_is_written_once_a_minute(clock: Clock, user_id: str) -> None:
    """A second use within a minute writes nothing but what was asked for."""
    store = Counting(clock)
    timed = SessionManager(store, clock=clock)
    session = timed.handle(call_of(user_id, identity=Credentials("")))
    await session.set("a", 1)
    store.operations.clear()
    for _ in range(59):
        clock.now += 1
        await session.get("a")
    assert store.operations == ["read"] * 59
    store.operations.clear()
    clock.now += 1
    await session.get("a")
    assert store.operations == ["read", "write"]


async def test_untouched_is_free(user_id: str) -> None:
    """A call that does not use its session does no I/O for it."""
    store = Counting()
    sessions = SessionManager(store)
    context = CallContext("Test.test", {"type": "http", "headers": []}, None, sessions)
    context.user = call_of(user_id).user
    session = context.session
    session.typed(Cart)
    assert store.operations == []


async def test_operations_are_few(user_id: str) -> None:
    """A use of a session is one operation of the store, the first one too: the call's credentials say the rest."""
    store = Counting()
    session = SessionManager(store).handle(call_of(user_id, identity=Credentials("")))
    await session.set("a", 1)
    assert store.operations == ["write"]
    for operation, expected in (
        (session.get("a"), ["read"]),
        (session.set("a", 2), ["write"]),
        (session.increment("n"), ["add"]),
        (session.update("a", lambda value: value + 1), ["read", "swap"]),
        (session.all(), ["read"]),
    ):
        store.operations.clear()
        await operation
        assert store.operations == expected
