"""What a user's session does, on every store."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fastapi_poto import Poto
from fastapi_poto.context import CallContext
from fastapi_poto.errors import ConfigurationError, SessionEnded, SessionValueError, TooLarge
from fastapi_poto.sessions import Session, SessionManager
from fastapi_poto.stores import MemoryStore, Store, store_from_url
from fastapi_poto.testing import Clock
from tests.secret import SECRET
from tests.servers import RedisServer
from tests.sessions.calls import call_of
from tests.sessions.models import Cart, CartOfTomorrow, Hashed, Line, NeedsMore, Settings, Split, Tally
from tests.stores.fixtures import until_gone, url_of

pytestmark = pytest.mark.anyio

DAY = 86_400


@pytest.fixture
def user_id() -> str:
    return f"user_{uuid4().hex}"


@pytest.fixture
async def sessions(store: Store) -> SessionManager:
    return SessionManager(store)


@pytest.fixture
async def session(sessions: SessionManager, user_id: str) -> Session:
    return sessions.handle(call_of(user_id))


class Counting(MemoryStore):
    """A memory store that counts its operations."""

    def __init__(self, clock: Any = None) -> None:
        super().__init__(**({"clock": clock} if clock else {}))
        self.operations: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("read", "write", "add", "swap", "delete"):
            self.operations.append(name)
        return super().__getattribute__(name)


# The operations


async def test_values(session: Session) -> None:
    """Values are set, read, removed and listed by key; an absent one gives the default."""
    assert await session.get("a") is None
    assert await session.get("a", 7) == 7
    assert await session.all() == {}
    await session.set("a", {"x": (1, datetime(2026, 1, 1, tzinfo=UTC))})
    await session.set("b", Line(sku="s"))
    await session.set("c", None)
    assert await session.all() == {"a": {"x": (1, datetime(2026, 1, 1, tzinfo=UTC))}, "b": Line(sku="s"), "c": None}
    assert await session.get("c", "default") is None
    await session.delete("a")
    await session.delete("a")
    assert sorted(await session.all()) == ["b", "c"]
    await session.clear()
    assert await session.all() == {}
    await session.set("d", 1)
    assert await session.all() == {"d": 1}


async def test_increment(session: Session) -> None:
    """Counters start at 0, and are plain integers to get and set."""
    assert await session.increment("n") == 1
    assert await session.increment("n", by=-5) == -4
    await session.set("n", 40)
    assert await session.increment("n", 2) == 42
    assert await session.get("n") == 42
    await session.set("word", "1")
    with pytest.raises(ValueError, match="64 bits"):
        await session.increment("word")


@pytest.mark.parametrize("by", [1.5, 2.0, Decimal(1), "1", None])
async def test_only_integers_are_added(session: Session, by: Any) -> None:
    """Anything else is a TypeError on every store, and nothing has changed."""
    await session.increment("n")
    for counter in (session, session.typed(Tally)):
        for key in ("n",) if counter is session else ("free", "limited", "started"):
            with pytest.raises(TypeError, match="integer"):
                await counter.increment(key, by)
    assert await session.all() == {"n": 1}
    assert await session.increment("n", True) == 2


async def test_update(session: Session) -> None:
    """`update` gives what it stored, starts from the default, and leaves the default alone."""
    empty: list[int] = []

    def append(value: list[int]) -> list[int]:
        value.append(1)
        return value

    assert await session.update("list", append, default=empty) == [1]
    assert await session.update("list", append) == [1, 1]
    assert empty == []
    assert await session.update("new", lambda value: (value or 0) + 1) == 1
    assert await session.get("list") == [1, 1]


async def test_an_update_that_fails_changes_nothing(session: Session) -> None:
    """An exception in the function reaches the caller; the value stays."""
    await session.set("a", 1)
    with pytest.raises(ZeroDivisionError):
        await session.update("a", lambda value: value / 0)
    assert await session.get("a") == 1


async def test_handles_share_the_session(sessions: SessionManager, user_id: str) -> None:
    """All calls of a user see one session, and no call sees another user's."""
    await sessions.handle(call_of(user_id)).set("a", 1)
    assert await sessions.handle(call_of(user_id)).get("a") == 1
    assert await sessions.handle(call_of(f"{user_id}-other")).get("a") is None
    assert await sessions.of_user(user_id).get("a") == 1


@pytest.mark.parametrize("key", ["a\0b", "k" * 201, "é" * 101, "\ud800", "\ud800" * 60])
async def test_keys_that_are_refused(session: Session, key: str) -> None:
    """Keys are short text."""
    for operation in (session.get(key), session.set(key, 1), session.delete(key), session.increment(key)):
        with pytest.raises(ValueError, match="session key"):
            await operation


async def test_keys_that_are_unusual(session: Session) -> None:
    """Any other text is a key."""
    keys = ["", "~seen", "session", "owner:x", "a b", "é\n\"'*", "k" * 200, "日本", "session_id", "__proto__"]
    for number, key in enumerate(keys):
        await session.set(key, number)
    assert await session.all() == {key: number for number, key in enumerate(keys)}


async def test_limits(store: Store, user_id: str) -> None:
    """A value or a key too many is TooLarge (413), says why, and changes nothing."""
    sessions = SessionManager(store, value_bytes=100, max_keys=3)
    session = sessions.handle(call_of(user_id))
    await session.set("a", "x" * 98)
    with pytest.raises(TooLarge, match=r"'a' has 101 bytes; the limit is 100"):
        await session.set("a", "y" * 99)
    with pytest.raises(TooLarge, match="'a'"):
        await session.update("a", lambda value: value + "more")
    await session.set("b", 1)
    await session.set("c", 1)
    for operation in (session.set("d", 1), session.increment("d"), session.update("d", lambda _: 1)):
        with pytest.raises(TooLarge, match="at most 3 keys"):
            await operation
    assert await session.all() == {"a": "x" * 98, "b": 1, "c": 1}
    assert await session.increment("c") == 2


async def test_the_default_limits(session: Session) -> None:
    """64 KiB a value and 256 keys fit; one more of each does not."""
    await session.set("big", "x" * (64 * 1024 - 2))
    with pytest.raises(TooLarge):
        await session.set("big", "x" * (64 * 1024 - 1))
    await asyncio.gather(*(session.set(f"k{n}", n) for n in range(255)))
    with pytest.raises(TooLarge):
        await session.set("one more", 1)
    assert len(await session.all()) == 256


# Nothing is lost


async def test_concurrent_writes(sessions: SessionManager, user_id: str) -> None:
    """20 calls that each write another key of a session that nobody has made yet: 20 keys survive."""
    await asyncio.gather(*(sessions.handle(call_of(user_id)).set(f"k{n}", n) for n in range(20)))
    assert await sessions.handle(call_of(user_id)).all() == {f"k{n}": n for n in range(20)}


async def test_concurrent_increments_and_updates(sessions: SessionManager, user_id: str) -> None:
    """20 increments and 20 updates at once: none lost."""

    async def one() -> None:
        session = sessions.handle(call_of(user_id))
        await session.increment("n")
        await session.update("list", lambda value: [*value, 1], default=[])

    await asyncio.gather(*(one() for _ in range(20)))
    assert await sessions.handle(call_of(user_id)).all() == {"n": 20, "list": [1] * 20}


async def test_updates_of_one_key_take_turns(user_id: str) -> None:
    """However long the line: as long as it moves on, updates in one process do not collide."""

    class Slow(Counting):
        async def swap(self, *arguments: Any, **options: Any) -> bool | None:
            await asyncio.sleep(0.01)
            return await super().swap(*arguments, **options)

    store = Slow()
    session = SessionManager(store).of_user(user_id)
    await session.set("n", 0)
    store.operations.clear()
    await asyncio.gather(*(session.update("n", lambda value: value + 1) for _ in range(40)))
    assert await session.get("n") == 40
    assert store.operations.count("swap") == 40


async def test_a_slow_reader_beside_a_writer(sessions: SessionManager, user_id: str) -> None:
    """A call that read before a write and ends after it does not undo it."""
    slow, quick = sessions.handle(call_of(user_id)), sessions.handle(call_of(user_id))
    await slow.set("seen", 0)
    before = await slow.all()
    await quick.set("new", 1)
    await slow.set("seen", 1)
    assert before == {"seen": 0}
    assert await quick.all() == {"seen": 1, "new": 1}


async def test_two_processes(store: Store, user_id: str) -> None:
    """What one process writes or ends, the other one finds written, or ended."""
    here, there = SessionManager(store), SessionManager(store)
    await here.handle(call_of(user_id)).set("a", 1)
    assert await there.handle(call_of(user_id)).get("a") == 1
    assert await there.handle(call_of(user_id)).increment("a") == 2
    assert await here.handle(call_of(user_id)).all() == {"a": 2}
    await here.end(user_id)
    assert await there.handle(call_of(user_id)).all() == {}
    await there.handle(call_of(user_id)).set("c", 1)
    assert await here.handle(call_of(user_id)).all() == {"c": 1}


# Begin and end


async def test_clients_name_no_session(store: Store, user_id: str) -> None:
    """Nothing that a client sends says which session is used, and nothing that it gets back tells."""
    sessions = SessionManager(store)
    context = call_of(user_id, headers=[(b"cookie", b"session=session:chosen"), (b"x-session", b"chosen")])
    await sessions.handle(context).set("a", 1)
    assert await sessions.of_user("chosen").all() == {}
    assert await sessions.of_user(user_id).all() == {"a": 1}
    assert context.response_headers == []


async def test_nothing_stays_of_an_ended_session(store: Store, user_id: str) -> None:
    """However often it is ended, no record of a user's sessions is left but the last one's."""
    sessions = SessionManager(store)
    for number in range(3):
        await sessions.of_user(user_id).set("n", number)
        assert len((await store.names(f"session:{user_id}")).names) == 1
        await sessions.end(user_id)
        assert (await store.names(f"session:{user_id}")).names == []


async def test_the_end_of_no_session(sessions: SessionManager, user_id: str) -> None:
    """Ending what was never there makes none, and the next write does."""
    await sessions.end(user_id)
    assert await sessions.handle(call_of(user_id)).all() == {}
    await sessions.handle(call_of(user_id)).set("a", 1)
    assert await sessions.of_user(user_id).all() == {"a": 1}


@dataclass
class Credentials:
    """What a call's credentials say of the session: its generation, as it was when the call began."""

    session: str


async def credentials_of(sessions: SessionManager, user_id: str) -> Credentials:
    return Credentials(await sessions.generation(user_id))


async def test_a_slow_writer_beside_an_end(store: Store, user_id: str) -> None:
    """A call that began before the session was ended cannot bring it back, nor write the next one, by any operation."""
    here, elsewhere = SessionManager(store), SessionManager(store)
    old = await credentials_of(here, user_id)
    slow = elsewhere.handle(call_of(user_id, identity=old))
    await slow.set("a", 1)
    untouched = elsewhere.handle(call_of(user_id, identity=old))
    unknowing = elsewhere.handle(call_of(user_id))
    assert await unknowing.get("a") == 1
    await here.end(user_id)
    new = here.handle(call_of(user_id, identity=await credentials_of(here, user_id)))
    for begun in (False, True):
        for session in (slow, untouched, unknowing):
            for operation in (session.set("a", 1), session.increment("n"), session.update("a", lambda value: 2)):
                with pytest.raises(SessionEnded):
                    await operation
            await session.delete("a")
            await session.clear()
            assert await session.all() == {}
        assert await new.all() == ({"b": 2} if begun else {})
        await new.set("b", 2)


async def test_writers_beside_ends(store: Store, user_id: str) -> None:
    """Many writers of a session beside its end: it is empty afterwards, each time, and so is the next one."""
    for round_number in range(5):
        processes = [SessionManager(store) for _ in range(2)]
        identity = await credentials_of(processes[0], user_id)

        async def write(sessions: SessionManager, identity: Credentials) -> None:
            session = sessions.handle(call_of(user_id, identity=identity))
            for step in range(5):
                await session.set(f"k{step}", 1)

        async def end(sessions: SessionManager, turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await sessions.end(user_id)

        writers = [write(processes[number % 2], identity) for number in range(6)]
        results = await asyncio.gather(*writers, end(processes[0], 3 * round_number), return_exceptions=True)
        assert [error for error in results if error is not None and not isinstance(error, SessionEnded)] == []
        assert await SessionManager(store).of_user(user_id).all() == {}


async def test_two_who_end_at_once(store: Store, user_id: str) -> None:
    """Two ends of one session in one moment are one end: none takes the session that is written after it."""
    for _ in range(5):
        sessions = [SessionManager(store) for _ in range(3)]
        await sessions[0].of_user(user_id).set("a", 1)
        await asyncio.gather(*(one.end(user_id) for one in sessions))
        assert await sessions[0].of_user(user_id).all() == {}
        await sessions[1].of_user(user_id).set("b", 1)
        assert await sessions[2].of_user(user_id).all() == {"b": 1}


async def test_the_sign_ins_may_be_in_another_store(user_id: str) -> None:
    """Sessions in a store of their own are ended by what the sign-ins' store says."""
    store, sign_ins = Counting(), Counting()
    sessions = SessionManager(store, sign_ins=sign_ins)
    await sessions.of_user(user_id).set("a", 1)
    assert sign_ins.operations == ["read"]
    await sessions.end(user_id)
    assert (await store.names("")).names == []
    assert (await sign_ins.names("")).names == [f"auth:{user_id}"]


# Time


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


async def test_stats(store: Store, user_id: str) -> None:
    """An administrator sees how many sessions are alive."""
    sessions = SessionManager(store)
    before = await sessions.stats()
    await sessions.of_user(user_id).set("a", 1)
    after = await sessions.stats()
    assert after.live == before.live + 1
    assert after.complete
    assert after.store == type(store).__name__
    assert not (await sessions.stats(limit=1)).complete


# Bytes that do not parse


async def test_unreadable_values(store: Store, user_id: str, caplog: pytest.LogCaptureFixture) -> None:
    """Foreign bytes are an absent value and one log line, never a 500; the others are read."""
    sessions = SessionManager(store)
    session = sessions.handle(call_of(user_id))
    await session.set("good", 1)
    await store.write(
        f"session:{user_id}", {"bad": b"\x80\x04K\x01.", "gone": b'{"~":"model","type":"old.app:Cart","v":{}}'}
    )
    with caplog.at_level(logging.WARNING, "fastapi_poto.sessions"):
        assert await session.get("bad", "default") == "default"
        assert len(caplog.records) == 1
        assert await session.all() == {"good": 1}
        assert len(caplog.records) == 3
    assert "'bad'" in caplog.text
    assert await session.update("bad", lambda value: value + 1, default=1) == 2
    await session.set("gone", 3)
    assert await session.all() == {"good": 1, "bad": 2, "gone": 3}


@pytest.mark.parametrize("junk", [b"\xff\xfe", b"", b"a:b", b"*"])
async def test_an_unreadable_generation(store: Store, user_id: str, junk: bytes) -> None:
    """A sign-in record that holds junk names an empty session that can be written and ended."""
    await store.write(f"auth:{user_id}", {"session": junk}, create=True)
    session = SessionManager(store).of_user(user_id)
    assert await session.all() == {}
    await session.set("a", 1)
    assert await session.get("a") == 1
    await SessionManager(store).end(user_id)
    assert await session.all() == {}


# Shapes


async def test_a_shape(session: Session) -> None:
    """Each field of the model is a key of its own: validated, with the model's default, read together by load()."""
    cart = session.typed(Cart)
    assert await cart.load() == Cart()
    assert await cart.get("stock") == 10
    await cart.set("lines", [{"sku": "a"}])
    await cart.set("note", "  gift ")
    assert await cart.update("lines", lambda lines: [*lines, Line(sku="b")]) == [Line(sku="a"), Line(sku="b")]
    assert await cart.increment("count") == 1
    assert await cart.increment("stock", -1) == 9
    assert await cart.load() == Cart(lines=[Line(sku="a"), Line(sku="b")], count=1, stock=9, note="gift")
    assert await cart.all() == {"lines": [Line(sku="a"), Line(sku="b")], "count": 1, "stock": 9, "note": "gift"}
    assert await session.get("count") == 1
    await cart.delete("lines")
    assert await cart.get("lines") == []


async def test_a_shape_refuses(session: Session) -> None:
    """A key that is no field is a KeyError; a value that does not validate is a ValidationError."""
    cart = session.typed(Cart)
    for operation in (cart.get("typo"), cart.set("typo", 1), cart.increment("typo"), cart.delete("typo")):
        with pytest.raises(KeyError, match="Cart has no field 'typo'"):
            await operation
    for key, value in (("count", "many"), ("discount", Decimal(2)), ("lines", [{"quantity": 1}])):
        with pytest.raises(ValueError, match="validation error"):
            await cart.set(key, value)
    with pytest.raises(ValueError, match="validation error"):
        await cart.update("discount", lambda value: value - 1)
    assert await cart.all() == {}


async def test_counting_in_a_shape(session: Session) -> None:
    """`increment` starts at the field's default and stops where the model says."""
    tally = session.typed(Tally)
    assert [await tally.increment("free") for _ in range(3)] == [1, 2, 3]
    assert [await tally.increment("started") for _ in range(3)] == [6, 7, 8]
    for key in ("checked", "limited"):
        assert [await tally.increment(key) for _ in range(2)] == [1, 2]
        with pytest.raises(ValueError, match="validation error"):
            await tally.increment(key)
    assert await tally.load() == Tally(free=3, started=8, checked=2, limited=2)


async def test_counting_what_an_older_shape_left(session: Session) -> None:
    """A value that is no integer any more is absent for `increment` as it is for `get`; 64 bits hold for all."""
    tally = session.typed(Tally)
    for key, first in (("free", 1), ("checked", 1), ("started", 6)):
        await session.set(key, "many")
        assert await tally.increment(key) == first
        assert await tally.increment(key) == first + 1
    for key in ("free", "started"):
        with pytest.raises(SessionValueError):
            await tally.increment(key, 2**63)
    assert await tally.load() == Tally(free=2, checked=2, started=7)


async def test_types_that_the_shape_knows(session: Session) -> None:
    """A field may be of any type that Pydantic can write and read."""
    settings = session.typed(Settings)
    await settings.set("home", "https://example.com/")
    await settings.update("address", lambda address: address + 1)
    assert await settings.get("address") == IPv4Address("127.0.0.2")
    assert await settings.load() == Settings(home="https://example.com/", address="127.0.0.2")
    await settings.save(Settings(address="10.0.0.1"))
    assert await settings.get("address") == IPv4Address("10.0.0.1")
    with pytest.raises(TypeError, match="come back equal"):
        await settings.set("secret", "x")


async def test_validators_that_do_not_take_what_they_gave(session: Session) -> None:
    """A value that could not be read again is refused at the write; one that is there already is absent."""
    for shape, key, value in ((Hashed, "password", "x"), (Split, "tags", "a,b"), (Split, "numbers", "[1]")):
        typed = session.typed(shape)
        for write in (
            typed.set(key, value),
            typed.update(key, lambda _, new=value: new),
            typed.save(shape(**{key: value})),
        ):
            with pytest.raises(TypeError, match="come back equal"):
                await write
    await session.set("tags", ["a"])
    assert await session.typed(Split).get("tags") == []


async def test_save_writes_the_fields_only(session: Session) -> None:
    """What a model takes beyond its fields is no key: it may be a client's."""
    await session.typed(Settings).save(Settings(address="10.0.0.1", more=1, **{"~seen": 1}))
    assert list(await session.all()) == ["address"]


async def test_save(session: Session) -> None:
    """`save` writes the fields that were given, in one step, and leaves the others."""
    cart = session.typed(Cart)
    await cart.set("count", 3)
    await cart.save(Cart(note="x", discount=Decimal("0.5")))
    assert await cart.load() == Cart(note="x", discount=Decimal("0.5"), count=3)
    with pytest.raises(TypeError, match="save"):
        await cart.save(Line(sku="a"))  # type: ignore[arg-type]


async def test_keys_outside_the_shape_are_not_its_business(session: Session) -> None:
    """Other parts of an application may keep other keys in the same session."""
    await session.set("other", 1)
    cart = session.typed(Cart)
    await cart.set("count", 2)
    assert await cart.all() == {"count": 2}
    assert await session.all() == {"other": 1, "count": 2}


async def test_a_shape_that_changed(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    """Values of an older shape that do not fit the new one are absent, with a log line."""
    await session.typed(Cart).save(Cart(lines=[Line(sku="a")], count=2))
    later = session.typed(CartOfTomorrow)
    with caplog.at_level(logging.WARNING, "fastapi_poto.sessions"):
        assert await later.load() == CartOfTomorrow(lines=7, count=2)
    assert len(caplog.records) == 1


async def test_concurrent_writes_to_a_shape(sessions: SessionManager, user_id: str) -> None:
    """Fields are keys: writes to different ones do not undo each other, and counting loses nothing."""

    async def one(number: int) -> None:
        cart = sessions.handle(call_of(user_id)).typed(Cart)
        await cart.increment("stock", -1)
        await cart.update("lines", lambda lines: [*lines, Line(sku=str(number))])
        await cart.increment("count")

    await asyncio.gather(*(one(number) for number in range(10)))
    found = await sessions.handle(call_of(user_id)).typed(Cart).load()
    assert (found.stock, found.count, len(found.lines)) == (0, 10, 10)


async def test_what_cannot_be_a_shape(session: Session) -> None:
    """A field without a default, or no model at all, is an error that names it."""
    with pytest.raises(ConfigurationError, match="sku needs a default"):
        session.typed(NeedsMore)
    with pytest.raises(ConfigurationError, match="Pydantic model"):
        session.typed(dict)
    with pytest.raises(TypeError, match="no shape"):
        await session.load()
