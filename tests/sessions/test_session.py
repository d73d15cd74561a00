"""What a user's session does, on every store."""

import asyncio
import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from fastapi_poto.errors import TooLarge
from fastapi_poto.sessions import Session, SessionManager
from fastapi_poto.stores import Store
from tests.sessions.calls import Counting, call_of
from tests.sessions.models import Line, Tally

pytestmark = pytest.mark.anyio


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
