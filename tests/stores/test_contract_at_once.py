"""What every store promises to many at once: callers, loops, threads, and those who leave."""

import asyncio
import gc
import threading
import time
import warnings
import weakref
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest

from fastapi_poto.errors import TooLarge
from fastapi_poto.stores import MemoryStore, Store, store_from_url

pytestmark = pytest.mark.anyio


async def test_concurrent_writes_to_one_record(store: Store, name: str) -> None:
    """20 fields written at once are 20 fields, whoever made the record."""
    await asyncio.gather(*(store.write(name, {f"k{n}": b"%d" % n}, create=True, max_fields=20) for n in range(20)))
    assert await store.read(name) == {f"k{n}": b"%d" % n for n in range(20)}


async def test_concurrent_writes_do_not_pass_the_limit(store: Store, name: str) -> None:
    """20 new fields at once with room for 10: 10 are in, 10 were refused."""
    results = await asyncio.gather(
        *(store.write(name, {f"k{n}": b"1"}, create=True, max_fields=10) for n in range(20)), return_exceptions=True
    )
    assert sum(result is True for result in results) == 10
    assert sum(isinstance(result, TooLarge) for result in results) == 10
    assert len(await store.read(name) or {}) == 10


async def test_concurrent_adds(store: Store, name: str) -> None:
    """50 counts at once give 50 different sums."""
    sums = await asyncio.gather(*(store.add(name, "n", 1, create=True) for _ in range(50)))
    assert sorted(value or 0 for value in sums) == list(range(1, 51))


async def test_concurrent_swaps(store: Store, name: str) -> None:
    """Of 20 who saw the same value, one succeeds; of 20 who saw none, one makes it."""
    first = await asyncio.gather(*(store.swap(name, "a", None, b"%d" % n, create=True) for n in range(20)))
    assert sum(result is True for result in first) == 1
    seen = (await store.read(name) or {})["a"]
    second = await asyncio.gather(*(store.swap(name, "a", seen, b"next %d" % n) for n in range(20)))
    assert sum(result is True for result in second) == 1


async def test_adds_beside_writes_and_swaps(store: Store, name: str) -> None:
    """Different operations on one field exclude each other too: no sum is built on a value that is gone."""
    await store.write(name, {"n": b"0"}, create=True)

    async def swap_up() -> None:
        while True:
            seen = (await store.read(name, ["n"]) or {})["n"]
            if await store.swap(name, "n", seen, b"%d" % (int(seen) + 1)):
                return

    await asyncio.gather(*(swap_up() for _ in range(10)), *(store.add(name, "n", 1) for _ in range(10)))
    assert await store.read(name) == {"n": b"20"}


async def test_deletes_beside_writes(store: Store, name: str) -> None:
    """What is deleted for good stays so, however many were about to write."""
    for _ in range(10):
        await store.write(name, {"a": b"1"}, create=True)
        results = await asyncio.gather(
            *(store.write(name, {f"k{n}": b"1", "a": b"2"}) for n in range(5)),
            store.delete(name),
            *(store.add(name, "n", 1) for _ in range(5)),
            *(store.swap(name, "a", b"2", b"3") for _ in range(3)),
        )
        assert results[5] is True
        assert await store.read(name) is None


async def test_cancelled_callers(store: Store, name: str) -> None:
    """A caller who gives up in the middle of an operation does not leave its answer to the next one."""
    for number in range(20):
        await store.write(f"{name}-{number}", {"n": b"%d" % number, "count": b"0"}, create=True)
    counted = [0] * 20

    async def ask(number: int) -> None:
        for step in range(6):
            assert await store.read(f"{name}-{number}", ["n"]) == {"n": b"%d" % number}
            await store.add(f"{name}-{number}", "count", 1)
            counted[number] += 1
            assert await store.swap(f"{name}-{number}", "n", b"%d" % number, b"%d" % number) is True
            if step == 3 and number % 2:
                impatient = [asyncio.create_task(store.read(f"{name}-{other}")) for other in range(20)]
                for wait_queue, task in enumerate(impatient):
                    for _ in range(wait_queue % 7):
                        await asyncio.sleep(0)
                    task.cancel()
                await asyncio.gather(*impatient, return_exceptions=True)

    await asyncio.gather(*(ask(number) for number in range(20)))
    for number in range(20):
        assert await store.read(f"{name}-{number}") == {"n": b"%d" % number, "count": b"%d" % counted[number]}


async def test_no_connection_keeps_its_callers_context(store_url: str, name: str) -> None:
    """Who asks first, or gives up and leaves a connection to be made anew, is forgotten with the call."""

    class Caller:
        pass

    store, calling, callers = store_from_url(store_url), ContextVar[Caller | None]("calling", default=None), []

    async def ask(turns: int | None) -> None:
        caller = Caller()
        calling.set(caller)
        callers.append(weakref.ref(caller))
        asking = asyncio.create_task(store.write(name, {"n": b"1"}, create=True))
        if turns is not None:
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking

    for turns in (None, None, 1, None, 2, None):
        await asyncio.create_task(ask(turns))
        async with asyncio.timeout(2):
            while any(caller() is not None for caller in callers):
                await asyncio.sleep(0.01)  # a connection that was dropped takes some turns of the loop
                gc.collect()
    await store.close()


def test_loops_that_end_without_a_close(store_url: str, name: str) -> None:
    """A script that runs one loop after another, and never closes, is served and does not pile up connections."""
    store = store_from_url(store_url)
    for number in range(1, 4):
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            assert asyncio.run(store.add(name, "n", 1, create=True)) == number
            gc.collect()
    kept = getattr(getattr(store, "_pool", store), "_connected", None)
    if kept is not None:
        assert len(kept._made) == 1
    asyncio.run(store.close())
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        del store, kept
        gc.collect()


async def test_several_loops_and_threads(store_url: str, name: str) -> None:
    """One store object serves several event loops of a process: tests and threads have loops of their own."""
    store = store_from_url(store_url)
    errors: list[BaseException] = []

    async def count() -> None:
        for _ in range(10):
            await store.add(name, "n", 1, create=True)
        await store.close() if store_url != "memory://" and "sqlite" not in store_url else None

    def run() -> None:
        try:
            asyncio.run(count())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.to_thread(lambda: [thread.join() for thread in threads])
    assert errors == []
    assert await store.read(name) == {"n": b"40"}
    await store.close()


async def test_a_purge_blocks_nobody(store: Store, name: str) -> None:
    """Writers go on while a thousand expired records leave, batch by batch: none waits for more than a batch."""
    fields = {f"f{number}": b"x" * 100 for number in range(10)}
    for first in range(0, 1000, 20):
        records = (f"{name}-{number}" for number in range(first, first + 20))
        await asyncio.gather(*(store.write(record, fields, create=True, expires_in=0.01) for record in records))
    await store.write(name, {"a": b"0"}, create=True)
    longest, purging = 0.0, True

    async def write() -> None:
        nonlocal longest
        while purging:
            began = time.monotonic()
            await store.write(name, {"a": b"1"})
            longest = max(longest, time.monotonic() - began)
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    while await store.purge(limit=100) or (await store.names(f"{name}-", limit=1)).names:
        await asyncio.sleep(0)
    purging = False
    await writing
    assert longest < 0.25


async def test_no_reader_beside_a_delete_sees_a_barred_name_as_an_empty_record() -> None:
    """Memory is read without a lock: what a thread can see while another one bars a name is the record, or none."""
    store, seen = MemoryStore(), []

    class Read(dict[str, Any]):
        def __setitem__(self, name: str, record: Any) -> None:
            super().__setitem__(name, record)
            seen.append(store._read(name, None, 0.0))  # a thread that reads between two steps of the delete

    await store.write("user:1", {"login": b"{}"}, create=True)
    store._records = Read(store._records)
    await store.delete("user:1", bar_for=60)
    assert seen == [None]
