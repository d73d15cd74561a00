"""Readers of logs: nothing is lost or doubled untold, whatever becomes of wakes, reads and the store."""

import asyncio
import copy
import random
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_poto.errors import Unavailable
from fastapi_poto.stores import Appended, Batch, Entry, store_from_url
from fastapi_poto.stores.log import News, OnWake, Watch
from fastapi_poto.stores.log_memory import MemoryLog
from fastapi_poto.streaming.tails import NOW, Reader, Tails
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.anyio


class Weather(MemoryLog):
    """A log whose wakes are lost, doubled or empty, and whose reads fail or take a while. A beat looks at all."""

    def __init__(self, seed: int) -> None:
        super().__init__(time.time)
        self.random = random.Random(seed)
        self.is_bad = True

    async def read(self, after: Mapping[str, int], *, limit: int = 256, begin: bool = True) -> dict[str, Batch]:
        if self.is_bad:
            await asyncio.sleep(self.random.choice([0, 0, 0.001, 0.003]))
            if self.random.random() < 0.1:
                raise Unavailable("the store is away")
        found = await super().read(after, limit=limit, begin=begin)
        if self.is_bad:
            await asyncio.sleep(self.random.choice([0, 0, 0.002]))  # pushes overtake it
        return found

    async def watch(self, on_wake: OnWake) -> "BadWatch":  # type: ignore[override]
        return BadWatch(self, on_wake, await super().watch(on_wake))


class BadWatch:
    def __init__(self, log: Weather, on_wake: OnWake, watch: Watch) -> None:
        self._log, self._on_wake, self._watch = log, on_wake, watch
        watch._on_wake = self._wake  # type: ignore[attr-defined]
        self._beating = asyncio.create_task(self._beat())

    def _wake(self, news: News | None) -> None:
        match self._log.random.randrange(6) if self._log.is_bad else 5:
            case 0 | 1:
                return
            case 2:
                self._on_wake(news)
                self._on_wake(news)
            case 3:
                self._on_wake({key: new if isinstance(new, int) else new.last for key, new in (news or {}).items()})
            case _:
                self._on_wake(news)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            self._on_wake(None)

    def follow(self, keys: Collection[str]) -> None:
        self._watch.follow(keys)

    def unfollow(self, keys: Collection[str]) -> None:
        self._watch.unfollow(keys)

    async def close(self) -> None:
        self._beating.cancel()
        await self._watch.close()


async def steps(reader: Reader) -> AsyncIterator[tuple[bool, list[bytes]]]:
    """What a reader is given: whether something was lost before, and events; up to the end."""
    while True:
        step = await reader.step()
        if step.end is not None:
            return
        yield step.lost, [event for _, event in step.events]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), keep=st.sampled_from([3, 20, 1_000]), readers=st.integers(1, 6))
async def test_any_weather(seed: int, keep: int, readers: int) -> None:
    """Every reader gets every event after its beginning once and in order, and is told where that cannot be."""
    log = Weather(seed)
    writers, followers = Tails(log), [Tails(log) for _ in range(2)]
    choose = random.Random(seed)

    async def read(tails: Tails, after: int) -> list[tuple[bool, list[bytes]]]:
        reader = tails.reader("a")
        try:
            while True:
                try:
                    await reader.begin(after)
                    break
                except Unavailable:
                    reader.close()
                    reader = tails.reader("a")
            return [step async for step in steps(reader)]
        finally:
            reader.close()

    async def append(*events: bytes, end: bytes | None = None) -> int:
        done = await writers.append(Entry(key="a", events=events, end=end, keep=keep))
        assert done is not None
        return done.last

    position, number = await append(b"0"), 1
    reading: list[tuple[int, asyncio.Task[list[tuple[bool, list[bytes]]]]]] = []
    for _ in range(readers):
        for _ in range(choose.randrange(12)):
            count = choose.randrange(1, 4)
            position = await append(*(b"%d" % (number + more) for more in range(count)))
            number += count
            await asyncio.sleep(choose.choice([0, 0, 0.002]))
        tails = choose.choice([writers, *followers])
        reading.append((number, asyncio.create_task(read(tails, position))))
    for _ in range(40):
        await append(b"%d" % number)
        number += 1
        await asyncio.sleep(choose.choice([0, 0, 0.001]))
    await asyncio.sleep(0.05)
    await append(end=b"over")
    async with asyncio.timeout(20):
        for first, task in reading:
            expected = first
            for lost, events in await task:
                for event in events:
                    assert int(event) == expected or (lost and int(event) > expected), (seed, event, expected)
                    expected, lost = int(event) + 1, False
            assert expected == number
    for one in (writers, *followers):
        await one.close()


APPENDS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.lists(st.binary(max_size=3), max_size=3),
        st.sampled_from([None, None, None, b"end"]),
        st.sampled_from([5, 1_000]),
        st.sampled_from([None, b"head"]),
    ),
    max_size=10,
)


@settings(max_examples=50, deadline=None)
@given(appends=APPENDS)
async def test_appends_at_once_are_as_good_as_one_by_one(appends: list[tuple]) -> None:  # type: ignore[type-arg]
    """Each hears where its own events went, and none is taken after an end, in whatever groups the store gets them."""
    log = MemoryLog(time.time)
    tails = Tails(log)
    entries = [Entry(key=key, events=events, end=end, keep=keep, head=head) for key, events, end, keep, head in appends]
    done = await asyncio.gather(*map(tails.append, entries))
    found = await log.read({"a": 0, "b": 0})
    for key in ("a", "b"):
        own = [(entry, one) for entry, one in zip(entries, done, strict=True) if entry.key == key]
        ends = [place for place, (entry, _) in enumerate(own) if entry.end is not None]
        taken = own[: ends[0] + 1] if ends else own
        assert [one for _, one in own[len(taken) :]] == [None] * (len(own) - len(taken))
        expected: list[tuple[int, bytes]] = []
        last = None
        for entry, one in taken:
            assert one is not None
            assert last is None or one.start == last
            last = one.last
            first = one.last - len(entry.events) - (entry.end is not None) + 1
            expected = (expected + list(enumerate(entry.events, first)))[-entry.keep if entry.events else 0 :]
        assert list(found[key].events) == expected
        assert found[key].head == (b"head" if any(entry.head for entry, _ in taken) else None)
        assert found[key].end == (b"end" if ends else None)
    await tails.close()


async def test_a_reader_that_falls_behind_catches_up() -> None:
    """One read for all who are behind, also past what the process keeps in memory."""
    log = MemoryLog(time.time)
    tails = Tails(log)
    first = await tails.append(Entry(key="a", events=[b"0"], keep=20_000))
    assert first is not None
    slow = [tails.reader("a") for _ in range(50)]
    for reader in slow:
        await reader.begin(first.last)
    for start in range(1, 9_000, 100):
        await tails.append(
            Entry(key="a", events=[b"%d" % (start + more) for more in range(100)], keep=20_000, keep_bytes=1 << 24)
        )
    await tails.append(Entry(key="a", end=b""))
    for reader in slow:
        got = [event async for lost, events in steps(reader) for event in events if not lost]
        assert got == [b"%d" % number for number in range(1, 9_001)]
        reader.close()
    assert len(tails) == 0
    await tails.close()


class Restored(MemoryLog):
    """A log that can go back to an older copy of itself."""

    def copy(self) -> object:
        return copy.deepcopy(self._logs)

    def restore(self, kept: object) -> None:
        self._logs = copy.deepcopy(kept)  # type: ignore[assignment]


@pytest.mark.parametrize("more_at_once", [False, True])
async def test_a_store_that_went_back(more_at_once: bool) -> None:
    """A reader that had seen what the store lost is told, and gets all that is new, once."""
    log = Restored(time.time)
    tails = Tails(log)
    other = Tails(log)
    await tails.append(Entry(key="a", events=[b"1"]))
    reader = tails.reader("a")
    await reader.begin(0)
    assert [event for _, event in (await reader.step()).events] == [b"1"]
    kept = log.copy()
    await tails.append(Entry(key="a", events=[b"2", b"3"]))
    assert [event for _, event in (await reader.step()).events] == [b"2", b"3"]
    log.restore(kept)
    if not more_at_once:
        tails._on_wake(None)
        assert (await reader.step()).lost
    await other.append(Entry(key="a", events=[b"4"]))
    step = await reader.step()
    assert [event for _, event in step.events] == [b"4"]
    assert step.lost is more_at_once
    reader.close()
    await tails.close()
    await other.close()


async def follow(url: str, key: str, seen: list[bytes], told: list[int], began: asyncio.Event) -> None:
    """A reader with a store of its own, as another process has."""
    store = store_from_url(url)
    tails = Tails(store.log)
    reader = tails.reader(key)
    try:
        await reader.begin(NOW)
        began.set()
        while True:
            step = await reader.step()
            if step.lost:
                told.append(len(seen))
            seen += [event for _, event in step.events]
            if step.end is not None:
                return
    finally:
        reader.close()
        await tails.close()
        await store.close()


async def write(
    url: str, key: str, count: int, restart: Sequence[int], server: RedisServer | PostgresServer
) -> list[bytes]:
    """Append, and kill the store at times; what was acknowledged."""
    store = store_from_url(url)
    acked: list[bytes] = []
    try:
        for number in range(count):
            if number in restart:
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            try:
                [done] = await store.log.append([Entry(key=key, events=[b"%d" % number])])
                assert isinstance(done, Appended)
                acked.append(b"%d" % number)
            except Unavailable:
                await asyncio.sleep(0.05)
        while True:
            try:
                await store.log.append([Entry(key=key, end=b"")])
                return acked
            except Unavailable:
                await asyncio.sleep(0.05)
    finally:
        await store.close()


@pytest.mark.parametrize("kind", ["redis", "postgres"])
async def test_a_durable_store_that_is_killed(kind: str, tmp_path: Path) -> None:
    """kill -9 of the store, twice: a reader gets all that was acknowledged, in order, once."""
    server = RedisServer(tmp_path, durable=True) if kind == "redis" else PostgresServer(tmp_path, durable=True)
    with server:
        seen: list[bytes] = []
        told: list[int] = []
        began = asyncio.Event()
        following = asyncio.create_task(follow(server.url, "a", seen, told, began))
        await began.wait()
        acked = await write(server.url, "a", 150, (50, 100), server)
        async with asyncio.timeout(30):
            await following
    assert set(acked) <= set(seen)
    assert seen == sorted(set(seen), key=int)
    assert not told


async def test_a_store_that_loses_everything(tmp_path: Path) -> None:
    """A Redis without a file that is killed: the reader is told, and goes on with what is new."""
    with RedisServer(tmp_path, durable=False) as server:
        seen: list[bytes] = []
        told: list[int] = []
        began = asyncio.Event()
        following = asyncio.create_task(follow(server.url, "a", seen, told, began))
        await began.wait()
        acked = await write(server.url, "a", 60, (30,), server)
        async with asyncio.timeout(30):
            await following
    assert seen == sorted(set(seen), key=int)
    assert told or set(acked) <= set(seen)
    assert told, "the log began anew"


async def test_who_appends_too_late_does_not_wait() -> None:
    """After `close` an append is cancelled, as are those that waited for it: nobody waits for what never comes."""
    tails = Tails(MemoryLog(time.time))
    entry = Entry(key="late", events=[b"1"])
    waiting = asyncio.create_task(tails.append(entry))
    await asyncio.sleep(0)
    await tails.close()
    late = asyncio.create_task(tails.append(entry))
    done, _ = await asyncio.wait({waiting, late}, timeout=5)
    assert done == {waiting, late}
    assert late.cancelled()
