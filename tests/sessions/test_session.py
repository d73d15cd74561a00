"""What a user's session does, on every store."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any
from uuid import uuid4

import pytest

from fastapi_poto.context import CallContext
from fastapi_poto.errors import ConfigurationError, SessionEnded, SessionValueError, TooLarge
from fastapi_poto.sessions import Session, SessionManager
from fastapi_poto.stores import MemoryStore, Store
from fastapi_poto.testing import Clock
from tests.sessions.calls import call_of
from tests.sessions.models import Cart, CartOfTomorrow, Hashed, Line, NeedsMore, Settings, Split, Tally

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
        if name in ("read", "write", "add", "swap", "delete", "rename"):
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


@pytest.mark.parametrize("key", ["", "~seen", "a\0b", "k" * 201, "é" * 101, "\ud800", "\ud800" * 60])
async def test_keys_that_are_refused(session: Session, key: str) -> None:
    """Keys are short text; those of the session itself are out of reach."""
    for operation in (session.get(key), session.set(key, 1), session.delete(key), session.increment(key)):
        with pytest.raises(ValueError, match="session key"):
            await operation


async def test_keys_that_are_unusual(session: Session) -> None:
    """Any other text is a key."""
    keys = ["session", "owner:x", "a b", "é\n\"'*", "k" * 200, "日本", "session_id", "__proto__"]
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
    """What one process moves or ends, another one that remembers the old place finds, or finds ended."""
    here, there = SessionManager(store), SessionManager(store)
    await here.handle(call_of(user_id)).set("a", 1)
    assert await there.handle(call_of(user_id)).get("a") == 1
    await here.rotate(user_id)
    assert await there.handle(call_of(user_id)).get("a") == 1
    await here.rotate(user_id)
    await there.handle(call_of(user_id)).set("b", 2)
    await here.rotate(user_id)
    assert await there.handle(call_of(user_id)).increment("a") == 2
    await here.rotate(user_id)
    assert await there.handle(call_of(user_id)).update("b", lambda value: value + 1) == 3
    assert await here.handle(call_of(user_id)).all() == {"a": 2, "b": 3}
    await here.end(user_id)
    assert await there.handle(call_of(user_id)).all() == {}
    await there.handle(call_of(user_id)).set("c", 1)
    assert await here.handle(call_of(user_id)).all() == {"c": 1}


async def test_writes_during_rotations(store: Store, user_id: str) -> None:
    """SessionManager that move all the time lose no write of two processes, and nothing is left behind."""
    here, there = SessionManager(store), SessionManager(store)
    await here.handle(call_of(user_id)).set("start", 1)

    async def rotate() -> None:
        for _ in range(5):
            await here.rotate(user_id)
            await there.rotate(user_id)

    async def write(sessions: SessionManager, name: str) -> None:
        for number in range(10):
            await sessions.handle(call_of(user_id)).set(f"{name}{number}", number)
            await sessions.handle(call_of(user_id)).increment("n")

    await asyncio.gather(rotate(), write(here, "a"), write(there, "b"), rotate())
    found = await here.handle(call_of(user_id)).all()
    assert found == {"start": 1, "n": 20} | {f"{name}{number}": number for name in "ab" for number in range(10)}
    await here.end(user_id)
    assert await there.handle(call_of(user_id)).all() == {}


class Meddled(MemoryStore):
    """A store in which something happens just before a session's own field is read."""

    def __init__(self) -> None:
        super().__init__()
        self.meddle: Callable[[], Awaitable[None]] | None = None

    async def read(self, record: str, fields: Sequence[str] | None = None) -> dict[str, bytes] | None:
        meddle, self.meddle = (self.meddle, None) if fields == ("~seen",) else (None, self.meddle)
        if meddle is not None:
            await meddle()
        return await super().read(record, fields)


async def test_a_move_between_two_reads(user_id: str) -> None:
    """A session that moves after its place was read, and before it is looked at, is not taken for an ended one."""
    store = Meddled()
    await SessionManager(store).of_user(user_id).set("a", 1)
    store.meddle = lambda: SessionManager(store).rotate(user_id)
    assert await SessionManager(store).of_user(user_id).get("a") == 1
    store.meddle = lambda: SessionManager(store).rotate(user_id)
    await SessionManager(store).of_user(user_id).set("b", 2)
    assert await SessionManager(store).of_user(user_id).all() == {"a": 1, "b": 2}
    store.meddle = lambda: SessionManager(store).end(user_id)
    assert await SessionManager(store).of_user(user_id).all() == {}


# Begin and end


async def test_the_id_changes_and_stays_secret(store: Store, user_id: str) -> None:
    """At sign-in the id is another one; it is in nothing that a client sees, and no client can choose one."""
    sessions = SessionManager(store)
    context = call_of(user_id, headers=[(b"cookie", b"session=session:chosen"), (b"x-session", b"chosen")])
    session = sessions.handle(context)
    await session.set("a", 1)
    first = (await store.read(f"owner:{user_id}") or {})["session"]
    await sessions.rotate(user_id)
    second = (await store.read(f"owner:{user_id}") or {})["session"]
    assert first != second
    assert b"chosen" not in first + second
    assert await store.read(f"session:{first.decode()}") is None
    assert await session.get("a") == 1
    assert context.response_headers == []


async def test_memory_does_not_grow_with_sign_ins(user_id: str) -> None:
    """The memory store forgets when a record that is gone would have expired."""
    store = MemoryStore()
    sessions = SessionManager(store)
    await sessions.of_user(user_id).set("n", 1)
    for _ in range(3_000):
        await sessions.rotate(user_id)
    assert len(store._queue) < 2_000
    assert await sessions.of_user(user_id).get("n") == 1


async def test_a_session_that_is_not_there_is_not_moved(sessions: SessionManager, user_id: str) -> None:
    """Signing in without a session makes none."""
    await sessions.rotate(user_id)
    assert await sessions.handle(call_of(user_id)).all() == {}


async def test_a_move_that_was_cut_short(store: Store, user_id: str) -> None:
    """A process that died in the middle of a rotation loses nothing: the next to look finishes it."""
    for step in ("before the rename", "after the rename"):
        sessions = SessionManager(store)
        session = sessions.handle(call_of(user_id))
        await session.set("a", step)
        current = (await store.read(f"owner:{user_id}") or {})["session"].decode()
        new = f"{uuid4().hex}.{current.rpartition('.')[2]}"
        await store.swap(f"owner:{user_id}", "session", current.encode(), f"{current}>{new}".encode())
        if step == "after the rename":
            await store.rename(f"session:{current}", f"session:{new}")
        assert await SessionManager(store).handle(call_of(user_id)).get("a") == step
        assert await session.get("a") == step
        assert (await store.read(f"owner:{user_id}") or {})["session"].decode() == new


@pytest.mark.parametrize("renamed", [False, True])
async def test_logout_in_the_middle_of_a_move(store: Store, user_id: str, renamed: bool) -> None:
    """A session is ended wherever it is on its way, and nothing of it stays in the store."""
    sessions = SessionManager(store)
    await sessions.handle(call_of(user_id)).set("a", 1)
    current = (await store.read(f"owner:{user_id}") or {})["session"].decode()
    new = f"{uuid4().hex}.{current.rpartition('.')[2]}"
    await store.swap(f"owner:{user_id}", "session", current.encode(), f"{current}>{new}".encode())
    if renamed:
        await store.rename(f"session:{current}", f"session:{new}")
    await sessions.end(user_id)
    assert await SessionManager(store).handle(call_of(user_id)).all() == {}
    assert await store.read(f"session:{current}") is None
    assert await store.read(f"session:{new}") is None


class TokenFamilies:
    """Who is signed in, as `still_valid` asks."""

    def __init__(self) -> None:
        self.ended: set[str] = set()

    async def is_active(self, identity: str) -> bool:
        return identity not in self.ended


async def test_a_slow_writer_beside_a_logout(store: Store, user_id: str) -> None:
    """A call of a sign-in that was ended while it ran cannot bring the session back, by any operation."""
    token_families = TokenFamilies()
    sessions = SessionManager(store, is_active=token_families.is_active)
    elsewhere = SessionManager(store, is_active=token_families.is_active)
    slow = elsewhere.handle(call_of(user_id, identity="phone"))
    await slow.set("a", 1)
    untouched = elsewhere.handle(call_of(user_id, identity="phone"))
    token_families.ended.add("phone")
    await sessions.end(user_id)
    for session in (slow, untouched):
        for operation in (session.set("a", 1), session.increment("n"), session.update("a", lambda value: 2)):
            with pytest.raises(SessionEnded):
                await operation
        await session.delete("a")
        await session.clear()
        assert await session.all() == {}
    # The user's other sign-in starts afresh.
    laptop = elsewhere.handle(call_of(user_id, identity="laptop"))
    assert await laptop.all() == {}
    await laptop.set("b", 2)
    with pytest.raises(SessionEnded):
        await elsewhere.handle(call_of(f"{user_id}-2", identity="phone")).set("a", 1)
    assert await laptop.all() == {"b": 2}


async def test_a_logout_between_the_check_and_the_write(store: Store, user_id: str) -> None:
    """The moment between "still signed in?" and the making of a session is no way round a logout."""
    token_families = TokenFamilies()
    sessions = SessionManager(store)
    asked = 0

    async def logged_out_right_after(identity: str) -> bool:
        nonlocal asked
        valid = await token_families.is_active(identity)
        asked += 1
        if asked == 1:
            token_families.ended.add(identity)
            await sessions.end(user_id)
        return valid

    slow = SessionManager(store, is_active=logged_out_right_after).handle(call_of(user_id, identity="phone"))
    with pytest.raises(SessionEnded):
        await slow.set("a", 1)
    assert asked == 2
    assert await SessionManager(store).handle(call_of(user_id)).all() == {}


async def test_writers_beside_logouts(store: Store, user_id: str) -> None:
    """Many writers of an ended sign-in beside one logout: the session is empty afterwards, each time."""
    for round_number in range(5):
        token_families = TokenFamilies()
        processes = [SessionManager(store, is_active=token_families.is_active) for _ in range(2)]
        identity = f"phone-{round_number}"

        async def write(sessions: SessionManager, identity: str) -> None:
            session = sessions.handle(call_of(user_id, identity=identity))
            for step in range(5):
                await session.set(f"k{step}", 1)

        async def logout(sessions: SessionManager, token_families: TokenFamilies, identity: str, delay: float) -> None:
            await asyncio.sleep(delay)
            token_families.ended.add(identity)
            await sessions.end(user_id)

        writers = [write(processes[number % 2], identity) for number in range(6)]
        out = logout(processes[0], token_families, identity, 0.002 * round_number)
        results = await asyncio.gather(*writers, out, return_exceptions=True)
        assert [error for error in results if error is not None and not isinstance(error, SessionEnded)] == []
        assert await SessionManager(store).of_user(user_id).all() == {}


# Time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timed(store: Store, clock: Clock) -> SessionManager:
    return SessionManager(store, clock=clock)


async def test_idle_expiry(timed: SessionManager, clock: Clock, user_id: str) -> None:
    """A session ends 14 days after its last use, whatever the use, and the next one starts empty."""
    await timed.handle(call_of(user_id)).set("a", 1)
    for _ in range(2):
        clock.now += 13 * DAY
        assert await timed.handle(call_of(user_id)).get("a") == 1
    clock.now += 14 * DAY
    session = timed.handle(call_of(user_id))
    assert await session.get("a") is None
    await session.set("b", 1)
    assert await session.all() == {"b": 1}


async def test_absolute_expiry(timed: SessionManager, clock: Clock, user_id: str) -> None:
    """A session ends 30 days after it began, however often it is used and its id changes."""
    await timed.handle(call_of(user_id)).set("a", 1)
    for day in range(29):
        clock.now += DAY
        assert await timed.handle(call_of(user_id)).get("a") == 1, day
        await timed.rotate(user_id)
    clock.now += DAY - 30
    session = timed.handle(call_of(user_id))
    assert await session.get("a") == 1
    clock.now += 30
    assert await session.get("a") is None
    assert await session.increment("n") == 1


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
    assert len(await store.scan("session:")) == 1
    assert await timed.of_user("busy").get("a") == 1


async def test_last_use_is_written_once_a_minute(clock: Clock, user_id: str) -> None:
    """A second use within a minute writes nothing but what was asked for."""
    store = Counting(clock)
    timed = SessionManager(store, clock=clock)
    await timed.of_user(user_id).set("a", 1)
    store.operations.clear()
    for _ in range(59):
        clock.now += 1
        await timed.of_user(user_id).get("a")
    assert store.operations == ["read"] * 59
    store.operations.clear()
    clock.now += 1
    await timed.of_user(user_id).get("a")
    assert store.operations == ["read", "read", "write", "read"]
    assert (await store.read((await store.scan("session:"))[0], ["~seen"]) or {})["~seen"] == b"%d" % clock.now


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
    """A use of a known session is one operation of the store; the first write of a user is a handful."""
    store = Counting()
    session = SessionManager(store).handle(call_of(user_id))
    await session.set("a", 1)
    assert store.operations == ["read", "read", "write", "swap", "write"]
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
    [record] = [f"session:{(await store.read(f'owner:{user_id}') or {})['session'].decode()}"]
    await store.write(record, {"bad": b"\x80\x04K\x01.", "gone": b'{"~":"model","type":"old.app:Cart","v":{}}'})
    with caplog.at_level(logging.WARNING, "fastapi_poto.sessions"):
        assert await session.get("bad", "default") == "default"
        assert len(caplog.records) == 1
        assert await session.all() == {"good": 1}
        assert len(caplog.records) == 3
    assert "'bad'" in caplog.text
    assert await session.update("bad", lambda value: value + 1, default=1) == 2
    await session.set("gone", 3)
    assert await session.all() == {"good": 1, "bad": 2, "gone": 3}


async def test_an_unreadable_last_use(store: Store, user_id: str, caplog: pytest.LogCaptureFixture) -> None:
    """A session whose own field is damaged counts as expired: empty, one line, usable again."""
    await SessionManager(store).of_user(user_id).set("a", 1)
    record = f"session:{(await store.read(f'owner:{user_id}') or {})['session'].decode()}"
    await store.write(record, {"~seen": b"\xff"})
    session = SessionManager(store).of_user(user_id)
    with caplog.at_level(logging.WARNING, "fastapi_poto.sessions"):
        assert await session.get("a") is None
    assert len(caplog.records) == 1
    await session.set("a", 2)
    assert await session.get("a") == 2


@pytest.mark.parametrize("junk", [b"\xff\xfe", b"", b"no-time", b">", b"a>b", b"x.y", b"x.1>", b"!"])
async def test_an_unreadable_owner(store: Store, user_id: str, junk: bytes) -> None:
    """An owner's record that holds junk is an empty session that can be written."""
    await store.write(f"owner:{user_id}", {"session": junk}, create=True)
    session = SessionManager(store).of_user(user_id)
    assert await session.all() == {}
    await session.set("a", 1)
    assert await session.get("a") == 1
    await SessionManager(store).rotate(user_id)
    await SessionManager(store).end(user_id)


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
