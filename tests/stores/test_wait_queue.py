"""The line before a store's connections: long lines are served, dead stores are noticed; each loop has its own."""

import asyncio
import time
from asyncio import AbstractEventLoop
from typing import cast

import pytest

from fastapi_poto.stores import store_from_url
from fastapi_poto.stores.per_loop import PerLoop
from fastapi_poto.stores.wait_queue import WaitQueue
from tests.servers import PostgresServer

pytestmark = pytest.mark.anyio


async def test_a_long_line_is_served() -> None:
    """30 operations of 20 ms, two at a time and in order, while the patience is a fraction of the whole wait."""
    wait_queue = WaitQueue(2, patience=0.15)
    order: list[int] = []
    at_once = most = 0

    async def operate(number: int) -> None:
        nonlocal at_once, most
        await wait_queue.take()
        order.append(number)
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        wait_queue.give_back(answered=True)

    await asyncio.gather(*(operate(number) for number in range(30)))
    assert all(abs(place - number) <= 1 for place, number in enumerate(order))  # two go at the same moment
    assert most == 2


async def test_a_dead_store_is_noticed_by_all() -> None:
    """When nobody is answered any more, everybody in line is told within the patience, not one after the other."""
    wait_queue = WaitQueue(2, patience=0.1)
    waits: list[float] = []

    async def operate() -> None:
        began = time.monotonic()
        try:
            deadline = await wait_queue.take()
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.sleep(10)
            finally:
                wait_queue.give_back(answered=False)
        except TimeoutError:
            waits.append(time.monotonic() - began)

    await asyncio.gather(*(operate() for _ in range(40)))
    assert len(waits) == 40
    assert max(waits) < 1  # one after the other would take 2
    await wait_queue.take()
    await wait_queue.take()


async def test_callers_who_leave_the_line() -> None:
    """A turn is never lost: not by who leaves while waiting, nor by who leaves just as it is their turn."""
    wait_queue = WaitQueue(1, patience=5)
    await wait_queue.take()
    waiting = [asyncio.create_task(wait_queue.take()) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[2].cancel()
    await asyncio.sleep(0)
    wait_queue.give_back(answered=True)
    waiting[1].cancel()  # it has the turn, and does not know it yet
    results = await asyncio.gather(*waiting[:3], waiting[3], return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, True, True, False]
    wait_queue.give_back(answered=True)
    await waiting[4]
    wait_queue.give_back(answered=True)
    await wait_queue.take()


async def test_callers_who_leave_at_any_moment(postgres_server: PostgresServer) -> None:
    """More of them than there are connections, and the next caller is served."""
    store = store_from_url(f"{postgres_server.url}?pool_size=2")
    await store.open()
    for turns in range(40):
        reading = asyncio.create_task(store.read("record:1"))
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    assert await store.read("record:1") is None
    await store.close()


async def test_loops_that_begin_at_once() -> None:
    """A loop of another thread may ask while this one looks for loops that are closed."""
    connections: PerLoop[object] = PerLoop(object)

    class Other:
        def is_closed(self) -> bool:
            connections._made[cast("AbstractEventLoop", object())] = object()
            return False

    connections._made[cast("AbstractEventLoop", Other())] = object()
    assert connections.get() is connections.get()
