"""What every store promises: the protocol's docstring, line by line, on real servers."""

import asyncio
import time
from math import inf

import pytest

from fastapi_poto.errors import BadRequest, TooLarge
from fastapi_poto.stores import Life, Store, store_from_url

from .fixtures import until_gone

pytestmark = pytest.mark.anyio


async def test_what_is_written_is_read(store: Store, name: str) -> None:
    """A record gives back its fields, all or those that were asked for and are there; the empty name is one too."""
    value = bytes(range(256))
    assert await store.write(name, {"a": value, "b": b"", "é\n'\"": b"2", "": b"3"}, create=True)
    assert await store.read(name) == {"a": value, "b": b"", "é\n'\"": b"2", "": b"3"}
    assert await store.read(name, [""]) == {"": b"3"}
    assert await store.read(name, ["a", "nothing"]) == {"a": value}
    assert await store.read(name, ["nothing"]) == {}
    assert await store.read(name, []) == {}


async def test_several_are_read_at_once(store: Store, name: str) -> None:
    """Each as `read` gives it, in the order of the question; one that is not there, or is barred, is None."""
    await store.write(name, {"a": b"1", "b": b"2"}, create=True)
    await store.write(f"{name}:2", {"a": b"3"}, create=True)
    await store.write(f"{name}:3", {"a": b"4"}, create=True)
    await store.delete(f"{name}:3", bar_for=60)
    wanted = [(f"{name}:2", ["a", "b"]), (f"{name}:3", ["a"]), (name, ["b"]), (f"{name}:4", ["a"]), (name, [])]
    assert await store.read_many(wanted) == [{"a": b"3"}, None, {"b": b"2"}, None, {}]
    assert await store.read_many([]) == []
    with pytest.raises(BadRequest):
        await store.read_many([(name, ["a"]), ("x" * 1025, ["a"])])


async def test_a_record_that_is_not_there(store: Store, name: str) -> None:
    """No operation without `create` brings a record into being, and each says that there is none."""
    assert await store.read(name) is None
    assert await store.read(name, ["a"]) is None
    assert await store.write(name, {"a": b"1"}) is False
    assert await store.write(name, {}) is False
    assert await store.add(name, "n", 1) is None
    assert await store.swap(name, "a", None, b"1") is None
    assert await store.swap(name, "a", b"0", b"1") is None
    assert await store.delete(name) is False
    assert await store.read(name) is None


async def test_a_record_may_have_no_fields(store: Store, name: str) -> None:
    """A record lives until it is deleted or expires, with or without fields."""
    assert await store.write(name, {}, create=True)
    assert await store.read(name) == {}
    assert await store.write(name, {"a": b"1"})
    assert await store.write(name, {"a": None, "never": None})
    assert await store.read(name) == {}
    assert await store.add(name, "n", 2) == 2


async def test_a_write_sets_and_removes_at_once(store: Store, name: str) -> None:
    """One write changes several fields; those it does not name stay."""
    await store.write(name, {"a": b"1", "b": b"2", "c": b"3"}, create=True)
    assert await store.write(name, {"a": None, "b": b"20", "d": b"4"})
    assert await store.read(name) == {"b": b"20", "c": b"3", "d": b"4"}


async def test_delete_takes_the_fields_along(store: Store, name: str) -> None:
    """A record that is made anew under an old name starts empty."""
    await store.write(name, {"a": b"1"}, create=True)
    assert await store.delete(name) is True
    assert await store.delete(name) is False
    assert await store.write(name, {"b": b"2"}, create=True)
    assert await store.read(name) == {"b": b"2"}


async def test_add(store: Store, name: str) -> None:
    """Counting starts at 0, takes 64 bits exactly, and keeps ASCII digits."""
    assert await store.add(name, "n", 5, create=True) == 5
    assert await store.add(name, "n", -7) == -2
    assert await store.read(name) == {"n": b"-2"}
    assert await store.write(name, {"n": b"%d" % (2**63 - 3)})
    assert await store.add(name, "n", 2) == 2**63 - 1
    with pytest.raises(ValueError, match="64 bits"):
        await store.add(name, "n", 1)
    with pytest.raises(ValueError, match="64 bits"):
        await store.add(name, "n", 2**63)
    assert await store.read(name) == {"n": b"%d" % (2**63 - 1)}


@pytest.mark.parametrize("value", [b"", b"1.5", b'"1"', b"true", b"\xff", b"one", b"9" * 30])
async def test_add_to_what_is_no_integer(store: Store, name: str, value: bytes) -> None:
    """It is a ValueError, and nothing has changed."""
    await store.write(name, {"n": value}, create=True)
    with pytest.raises(ValueError, match="64 bits"):
        await store.add(name, "n", 1)
    assert await store.read(name) == {"n": value}


async def test_swap(store: Store, name: str) -> None:
    """A field changes only if it is what the caller saw, be that "absent"."""
    assert await store.swap(name, "a", b"x", b"1", create=True) is False
    assert await store.read(name) is None
    assert await store.swap(name, "a", None, b"1", create=True) is True
    assert await store.swap(name, "a", None, b"2", create=True) is False
    assert await store.swap(name, "a", b"0", b"2") is False
    assert await store.swap(name, "a", b"1", b"2") is True
    assert await store.swap(name, "a", b"2", None) is True
    assert await store.read(name) == {}
    assert await store.swap(name, "a", b"2", None) is False
    assert await store.swap(name, "a", None, b"") is True
    assert await store.swap(name, "a", None, b"1") is False
    assert await store.swap(name, "a", b"", b"1") is True


async def test_max_fields(store: Store, name: str) -> None:
    """Past it every operation raises TooLarge and has changed nothing; within it everything goes."""
    await store.write(name, {"a": b"1", "b": b"2"}, create=True, max_fields=2)
    with pytest.raises(TooLarge):
        await store.write(name, {"a": b"changed", "c": b"3"}, max_fields=2)
    with pytest.raises(TooLarge):
        await store.add(name, "n", 1, max_fields=2)
    with pytest.raises(TooLarge):
        await store.swap(name, "c", None, b"3", max_fields=2)
    assert await store.read(name) == {"a": b"1", "b": b"2"}
    assert await store.write(name, {"a": None, "c": b"3"}, max_fields=2)
    assert await store.write(name, {"b": b"20"}, max_fields=2)
    assert await store.swap(name, "b", b"20", b"5", max_fields=2)
    assert await store.add(name, "b", 1, max_fields=2) == 6
    with pytest.raises(TooLarge):
        await store.write(f"{name}-new", {"a": b"1", "b": b"2"}, create=True, max_fields=1)
    assert await store.read(f"{name}-new") is None
    # A record that is over a limit that came later can still shrink.
    assert await store.write(name, {"c": None}, max_fields=0)


async def test_expiry(store: Store, name: str) -> None:
    """An expired record does not exist, for any operation."""
    names = [f"{name}-{number}" for number in range(6)]
    for record in names:
        await store.write(record, {"a": b"1", "n": b"5"}, create=True, expires_in=0.05)
    await until_gone(store, names[0])
    for record in names:
        await until_gone(store, record)
    assert await store.write(names[0], {"a": b"2"}) is False
    assert await store.add(names[1], "n", 1) is None
    assert await store.swap(names[2], "a", b"1", b"2") is None
    assert await store.delete(names[3]) is False
    assert (await store.names(names[5])).names == []
    assert await store.write(names[0], {"b": b"2"}, create=True)
    assert await store.read(names[0]) == {"b": b"2"}
    assert await store.add(names[1], "n", 1, create=True) == 1
    assert await store.swap(names[2], "a", None, b"3", create=True) is True


async def test_the_life_is_the_last_one_given(store: Store, name: str) -> None:
    """`expires_in` prolongs and shortens; without it the life stays, and a new record has no end."""
    await store.write(name, {"a": b"1"}, create=True, expires_in=0.2)
    await store.write(name, {"a": b"2"}, expires_in=60)
    await store.write(f"{name}-swapped", {"a": b"1"}, create=True, expires_in=0.2)
    await store.swap(f"{name}-swapped", "a", b"1", b"2", expires_in=60)
    await store.write(f"{name}-endless", {"a": b"1"}, create=True)
    await store.write(f"{name}-short", {"a": b"1"}, create=True, expires_in=0.2)
    await store.write(f"{name}-short", {"a": b"2"})
    await until_gone(store, f"{name}-short")
    assert await store.read(name) == {"a": b"2"}
    assert await store.read(f"{name}-swapped") == {"a": b"2"}
    await store.write(name, {}, expires_in=0.01)
    await until_gone(store, name)
    assert await store.read(f"{name}-endless") == {"a": b"1"}


async def test_counting_does_not_prolong(store: Store, name: str) -> None:
    """The life of a record that is made is not moved by those who find it there: a counter has its window."""
    window = Life(expires_in=0.15)
    assert await store.add(name, "n", 1, create=window) == 1
    end = time.monotonic() + 5
    counts = [1]
    while counts[-1] >= counts[max(0, len(counts) - 2)] and time.monotonic() < end:
        await asyncio.sleep(0.02)
        counts.append(await store.add(name, "n", 1, create=window) or 0)
    assert counts[-1] == 1, "it started anew although it was counted all the time"


async def test_an_end_that_nothing_prolongs(store: Store, name: str) -> None:
    """`ends_in` holds against every later `expires_in`, whichever operation made the record."""
    life = Life(expires_in=0.6, ends_in=1.2)
    records = [f"{name}-{operation}" for operation in ("write", "add", "swap")]
    await store.write(records[0], {"n": b"1"}, create=life)
    await store.add(records[1], "n", 1, create=life)
    await store.swap(records[2], "n", None, b"1", create=life)
    began = time.monotonic()
    assert await store.write(records[0], {}, expires_in=60)
    assert await store.add(records[1], "n", 1, expires_in=60) == 2
    assert await store.swap(records[2], "n", b"1", b"2", expires_in=60)
    for record in records:
        await until_gone(store, record)
    assert time.monotonic() - began > 0.8, "it was not prolonged at all"
    await store.write(name, {}, create=Life(expires_in=60, ends_in=0.05))
    await until_gone(store, name)


async def test_a_barred_name(store: Store, name: str) -> None:
    """After `delete(bar_for=…)` the record is gone, and nobody makes it again until the time is over."""
    await store.write(name, {"a": b"1"}, create=True)
    assert await store.delete(name, bar_for=0.5) is True
    for _ in range(2):
        assert await store.read(name) is None
        assert await store.read(name, ["a"]) is None
        assert await store.write(name, {"a": b"1"}, create=True) is False
        assert await store.add(name, "a", 1, create=Life(60)) is None
        assert await store.swap(name, "a", None, b"1", create=True) is None
        assert (await store.names(name)).names == []
        assert await store.delete(name) is False
    assert await store.delete(f"{name}-2", bar_for=60) is False
    assert await store.write(f"{name}-2", {"a": b"1"}, create=True) is False
    while not await store.write(name, {"b": b"2"}, create=True):
        await asyncio.sleep(0.01)
    assert await store.read(name) == {"b": b"2"}


async def test_how_long_a_record_lives(store: Store, name: str) -> None:
    """Until its end and its limit, whatever prolonged it; without an end, for ever; not at all if it is not there."""
    assert await store.life(name) is None
    await store.write(name, {}, create=True)
    assert await store.life(name) == Life(inf)
    await store.write(f"{name}-short", {}, create=Life(20, ends_in=50))
    await store.write(f"{name}-short", {}, expires_in=40)
    life = await store.life(f"{name}-short")
    assert life is not None
    assert 20 < life.expires_in <= 40 < life.ends_in <= 50
    await store.delete(f"{name}-short", bar_for=10)
    assert await store.life(f"{name}-short") is None


async def test_names(store: Store, name: str) -> None:
    """Names with the prefix, taken literally, come page by page until there is no cursor."""
    endings = ["*a", "*b", "_a", "%a", "x", "é\U0010fffd", ""]
    for ending in endings:
        await store.write(name + ending, {}, create=True)

    async def all_of(prefix: str, limit: int = 1000) -> list[str]:
        found: set[str] = set()
        page = await store.names(prefix, limit=limit)
        found.update(page.names)
        while page.cursor is not None:
            page = await store.names(prefix, cursor=page.cursor, limit=limit)
            found.update(page.names)
        return sorted(found)

    assert await all_of(f"{name}*") == [f"{name}*a", f"{name}*b"]
    assert await all_of(f"{name}_") == [f"{name}_a"]
    assert await all_of(f"{name}%") == [f"{name}%a"]
    assert await all_of(f"{name}[") == []
    for limit in (1, 2, 100):
        assert await all_of(name, limit) == sorted(name + ending for ending in endings)


async def test_purge(store: Store, name: str) -> None:
    """Expired records go in batches, and the living stay."""
    while await store.purge(limit=1000):
        pass
    for number in range(5):
        await store.write(f"{name}-{number}", {"a": b"1"}, create=True, expires_in=0.01)
    await store.write(f"{name}-prolonged", {"a": b"1"}, create=True, expires_in=0.01)
    await store.write(f"{name}-prolonged", {}, create=True, expires_in=60)
    await store.write(f"{name}-endless", {"a": b"1"}, create=True)
    await until_gone(store, f"{name}-4")
    removed = [await store.purge(limit=2) for _ in range(4)]
    # What was read was removed from memory at once; Redis purges by itself.
    assert removed in ([2, 2, 1, 0], [2, 2, 0, 0], [0, 0, 0, 0])
    assert sorted((await store.names(name)).names) == [f"{name}-endless", f"{name}-prolonged"]


@pytest.mark.parametrize("bad", ["a\0b", "\ud800", "x" * 1025, "é" * 600], ids=["nul", "surrogate", "long", "wide"])
async def test_names_that_no_store_could_keep(store: Store, bad: str) -> None:
    """They may come from a client, as a user name does: they are its mistake (400), on every store alike."""
    for operation in (
        store.read(bad),
        store.write(bad, {"a": b"1"}, create=True),
        store.add(bad, "n", 1, create=True),
        store.swap(bad, "a", None, b"1", create=True),
        store.delete(bad),
    ):
        with pytest.raises(BadRequest):
            await operation
    assert await store.read("x" * 1024) is None


async def test_open_and_close(store_url: str, name: str) -> None:
    """Both may be called twice and in turn; what was kept in files and servers is still there."""
    store = store_from_url(store_url)
    await store.open()
    await store.open()
    await store.ping()
    await store.write(name, {"a": b"1"}, create=True)
    await store.close()
    await store.close()
    await store.open()
    assert await store.read(name) == {"a": b"1"}
    await store.close()


async def test_it_is_a_session_store(store: Store) -> None:
    """Every store has all of the protocol's operations."""
    assert isinstance(store, Store)
