"""What every event log promises to one at a time: the protocol's docstring, on real servers."""

import asyncio
import time
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastapi_poto.errors import BadRequest
from fastapi_poto.stores import Store
from fastapi_poto.stores.log import Entry
from tests.stores.log_reading import append, events, read

pytestmark = pytest.mark.anyio


async def test_what_is_appended_is_read(store: Store, key: str) -> None:
    """Events come back as they were, in order, after any position, with ids of 16 digits that rise."""
    value = bytes(range(256))
    first = await append(store, key, value, b"")
    assert first is not None
    assert len(str(first)) == 16
    assert abs(first - time.time() * 1e6) < 5e6
    last = await append(store, key, b"c")
    assert last is not None
    assert last > first
    batch = await read(store, key)
    assert batch is not None
    assert [event for _, event in batch.events] == [value, b"", b"c"]
    ids = [number for number, _ in batch.events]
    assert ids == sorted(ids)
    assert ids[1] == first
    assert ids[2] == last == batch.last
    assert batch.start == ids[0] - 1
    assert (batch.end, batch.head) == (None, None)
    after = await read(store, key, first)
    assert after is not None
    assert after.start == first
    assert list(after.events) == [(last, b"c")]
    assert await read(store, key, last) is None


async def test_a_log_begins_where_somebody_asks(store: Store, key: str) -> None:
    """Whoever reads a log that is not there is told a position, and misses nothing that comes after it."""
    begun = await read(store, key)
    assert begun is not None
    assert list(begun.events) == []
    assert begun.start == begun.last
    assert await read(store, key, begun.last) is None
    await append(store, key, b"a")
    batch = await read(store, key, begun.last)
    assert batch is not None
    assert batch.start == begun.last
    assert [event for _, event in batch.events] == [b"a"]


async def test_a_log_that_begins_is_empty(store: Store, key: str) -> None:
    """Of many that begin at once, none says that there was something before."""
    begun = await store.log.read({f"{key}-{number}": 0 for number in range(500)})
    assert len(begun) == 500
    assert {batch.last - batch.start for batch in begun.values()} == {0}


async def test_a_batch_is_limited(store: Store, key: str) -> None:
    """The first ones come, and the rest from there."""
    await append(store, key, *(b"%d" % number for number in range(10)))
    found, position = [], 0
    while batch := await read(store, key, position, 3):
        assert len(batch.events) <= 3
        found += [event for _, event in batch.events]
        position = batch.events[-1][0]
    assert found == [b"%d" % number for number in range(10)]


async def test_the_first_end_wins(store: Store, key: str) -> None:
    """After an end nothing is appended, whoever tries; the log says how it ended."""
    last = await append(store, key, b"a", end=b"well")
    assert last is not None
    assert await append(store, key, b"b") is None
    assert await append(store, key, end=b"otherwise") is None
    batch = await read(store, key)
    assert batch is not None
    assert ([event for _, event in batch.events], batch.end, batch.last) == ([b"a"], b"well", last)
    after = await read(store, key, batch.events[0][0])
    assert after is not None
    assert after.end == b"well"
    assert after.start == batch.events[0][0], "nothing is missing before the end"
    assert list(after.events) == []
    assert await read(store, key, last) is None


async def test_the_end_comes_after_all_events(store: Store, key: str) -> None:
    """A batch that was cut does not say how the log ended."""
    await append(store, key, b"a", b"b", b"c", end=b"well")
    batch = await read(store, key, 0, 3)
    assert batch is not None
    assert batch.end is None
    rest = await read(store, key, batch.events[-1][0], 3)
    assert rest is not None
    assert (rest.end, list(rest.events), rest.start) == (b"well", [], batch.events[-1][0])


async def test_a_look_begins_nothing(store: Store, key: str) -> None:
    """A log that is not there can be asked for without making it."""
    assert await store.log.read({key: 0}, begin=False) == {}
    await append(store, key, b"a")
    assert [event for _, event in (await store.log.read({key: 0}, begin=False))[key].events] == [b"a"]


async def test_an_end_of_another_is_seen(store: Store, key: str) -> None:
    """An end without events, as a stop is, has an id of its own."""
    last = await append(store, key, b"a")
    assert last is not None
    ended = await append(store, key, end=b"")
    assert ended is not None
    assert ended > last
    batch = await read(store, key, last)
    assert batch is not None
    assert batch.end == b""
    assert batch.start == last
    assert batch.last == ended


async def test_the_first_head_stays(store: Store, key: str) -> None:
    """What the log is about is said once."""
    await append(store, key, head=b"one")
    await append(store, key, b"a", head=b"two")
    batch = await read(store, key)
    assert batch is not None
    assert batch.head == b"one"


async def test_several_logs_at_once(store: Store, key: str) -> None:
    """A group of entries is appended, each to its log; a read gives those that went on."""
    await append(store, f"{key}-ended", end=b"")
    one, other, refused, head = await store.log.append(
        [
            Entry(key=f"{key}-b", events=[b"1", b"2"], end=b"over"),
            Entry(key=f"{key}-a", events=[b"3"]),
            Entry(key=f"{key}-ended", events=[b"4"]),
            Entry(key=f"{key}-h", head=b"h"),
        ]
    )
    assert one is not None
    assert other is not None
    assert refused is None
    assert head is not None
    assert head.start == head.last, "nothing that has an id"
    assert one.last - one.start >= 3
    found = await store.log.read({f"{key}-a": 0, f"{key}-b": one.last - 2, f"{key}-c": 0, f"{key}-h": 0})
    assert found.keys() == {f"{key}-a", f"{key}-b", f"{key}-c", f"{key}-h"}
    assert list(found[f"{key}-a"].events) == [(other.last, b"3")]
    assert (found[f"{key}-b"].start, found[f"{key}-b"].end) == (one.last - 2, b"over")
    assert list(found[f"{key}-b"].events) == [(one.last - 1, b"2")]
    assert found[f"{key}-h"].head == b"h"


async def test_the_newest_are_kept(store: Store, key: str) -> None:
    """By number and by bytes, exactly; a reader learns that there is a gap, and where it ends."""
    first = await append(store, key, b"0", keep=3)
    for number in range(1, 200):
        await append(store, key, b"%d" % number, keep=3)
    batch = await read(store, key, first or 0)
    assert batch is not None
    assert [event for _, event in batch.events] == [b"197", b"198", b"199"]
    assert batch.start > (first or 0)
    assert batch.start < batch.events[0][0]
    assert (await read(store, key, batch.start)) == batch
    await append(store, key, b"x" * 6, b"y" * 5, keep_bytes=10)
    assert await events(store, key) == [b"y" * 5]
    await append(store, key, b"z" * 100, keep_bytes=10)
    assert await events(store, key) == [b"z" * 100], "the newest stays, however large"
    await append(store, key, *(b"%d" % number for number in range(300)), keep=5)
    assert await events(store, key) == [b"295", b"296", b"297", b"298", b"299"]


async def test_events_die_and_the_log_is_remembered(store: Store, key: str) -> None:
    """Events are gone after their life; the log knows its last id, so that nobody is told of a gap that is none."""
    last = await append(store, key, b"a", b"b", life=0.05)
    assert last is not None
    while await events(store, key):
        await asyncio.sleep(0.01)
    assert await read(store, key, last) is None
    batch = await read(store, key, last - 1)
    assert batch is not None
    assert batch.start == last, "whoever had not seen the last one learns of the gap"
    await append(store, key, b"c")
    batch = await read(store, key, last)
    assert batch is not None
    assert batch.start == last
    assert [event for _, event in batch.events] == [b"c"]


async def test_a_log_is_forgotten(store: Store, key: str) -> None:
    """After `remember` it is as if it had not been, but ids go on rising."""
    last = await append(store, key, b"a", end=b"", head=b"old", remember=0.05)
    assert last is not None
    while (done := await append(store, key, b"b", remember=60)) is None:
        await asyncio.sleep(0.01)
    assert done > last
    batch = await read(store, key)
    assert batch is not None
    assert ([event for _, event in batch.events], batch.end, batch.head) == ([b"b"], None, None)
    stale = await read(store, key, last)
    assert stale is not None
    assert stale.start >= last


async def test_a_forgotten_log_begins_again_for_a_reader(store: Store, key: str) -> None:
    """A reader finds it empty, and misses nothing that comes."""
    last = await append(store, key, b"a", end=b"", remember=0.02)
    await asyncio.sleep(0.1)
    batch = await read(store, key, last or 0)
    assert batch is not None
    assert batch.end is None
    assert list(batch.events) == []
    await append(store, key, b"b")
    assert await events(store, key, batch.last) == [b"b"]


async def test_a_position_that_the_store_does_not_know(store: Store, key: str) -> None:
    """A store that lost events, or never had them, says so: its batch starts before the position."""
    last = await append(store, key, b"a")
    assert last is not None
    ahead = await read(store, key, last + 1_000_000)
    assert ahead is not None
    assert ahead.start == last
    assert list(ahead.events) == []


async def test_a_position_from_another_store(store: Store, key: str) -> None:
    """Whoever comes with an id that a store gave from which only records were copied learns of the gap."""
    batch = await read(store, key, int(1e6 * (time.time() - 60)))
    assert batch is not None
    assert list(batch.events) == []
    assert batch.start == batch.last > 1e6 * (time.time() - 30)


@pytest.mark.parametrize("bad", ["a\0b", "\ud800", "x" * 1100])
async def test_names_are_those_of_records(store: Store, bad: str) -> None:
    """What not every store can keep is a `BadRequest`."""
    with pytest.raises(BadRequest):
        await append(store, bad, b"a")
    with pytest.raises(BadRequest):
        await read(store, bad)


ENTRY = st.tuples(
    st.lists(st.binary(max_size=8), max_size=4),
    st.sampled_from([None, None, None, None, b"end"]),
    st.integers(1, 6),
    st.integers(1, 20),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=st.lists(st.dictionaries(st.sampled_from(["a", "b"]), ENTRY), max_size=12))
async def test_any_appends(store: Store, groups: list[dict[str, tuple]]) -> None:  # type: ignore[type-arg]
    """Whatever is appended in whatever groups, each log is what a list that keeps its newest would be."""
    number = uuid4()
    kept: dict[str, list[bytes]] = {"a": [], "b": []}
    ended: dict[str, bytes] = {}
    for group in groups:
        entries = [
            Entry(key=f"{number}-{name}", events=sent, end=end, keep=keep, keep_bytes=most)
            for name, (sent, end, keep, most) in group.items()
        ]
        done = await store.log.append(entries)
        for (name, (sent, end, keep, most)), one in zip(group.items(), done, strict=True):
            assert (one is None) == (name in ended)
            if name in ended:
                continue
            kept[name] = (kept[name] + sent)[-keep:] if sent else kept[name]
            while sent and len(kept[name]) > 1 and sum(map(len, kept[name])) > most:
                del kept[name][0]
            if end is not None:
                ended[name] = end
    found = await store.log.read({f"{number}-{name}": 0 for name in kept})
    for name, expected in kept.items():
        batch = found[f"{number}-{name}"]
        assert [event for _, event in batch.events] == expected
        assert batch.end == ended.get(name)
