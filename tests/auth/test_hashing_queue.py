"""Whose password is looked at next."""

import asyncio

import pytest

from fastapi_poto.auth.hashing_queue import HashingQueue
from fastapi_poto.errors import Unavailable

pytestmark = pytest.mark.anyio


class Line:
    """Callers of a queue whose turns end when the test says so."""

    def __init__(self, at_once: int = 1, waiting: int = 8) -> None:
        self.queue = HashingQueue(at_once, waiting)
        self.order: list[str] = []
        self.go_on = asyncio.Event()

    async def enter(self, address: str) -> None:
        async with self.queue.turn(address):
            self.order.append(address)
            await self.go_on.wait()

    async def start(self, *addresses: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.enter(address)) for address in addresses]
        await asyncio.sleep(0)
        return tasks


async def test_who_had_the_fewest_turns_is_next() -> None:
    """Threat 39: an address with many callers in line lets another one through before its own second."""
    line = Line()
    tasks = await line.start("a", "a", "a", "a", "b", "b", "c")
    line.go_on.set()
    await asyncio.gather(*tasks)
    assert line.order == ["a", "b", "c", "a", "b", "a", "a"]


async def test_a_full_line_makes_room_for_others() -> None:
    """Threat 39: one address may fill the line while it is alone, but not keep others out: its last ones get 503."""
    line = Line()
    greedy = await line.start(*["a"] * 10)
    assert [task.done() for task in greedy] == [False] * 9 + [True]
    assert isinstance(greedy[9].exception(), Unavailable)
    others = await line.start("b", "b", "c", "d", "e")
    line.go_on.set()
    results = await asyncio.gather(*greedy[:9], *others, return_exceptions=True)
    assert [isinstance(one, Unavailable) for one in results] == [False] * 5 + [True] * 4 + [False] * 4 + [True]


async def test_an_address_keeps_four_places() -> None:
    """Where nobody has more than four, the line is full for all."""
    line = Line()
    await line.start("x", *["a"] * 4, *["b"] * 4)
    (late,) = await line.start("c")
    assert isinstance(late.exception(), Unavailable)
    line.go_on.set()


async def test_who_gives_up_holds_nobody_up() -> None:
    """A caller who leaves in line, or in the moment of being called, passes the turn on."""
    line = Line()
    first, second, third = await line.start("a", "b", "c")
    second.cancel()
    await asyncio.sleep(0)
    line.go_on.set()
    await asyncio.sleep(0)
    third.cancel()
    await asyncio.wait([first, second, third])
    (last,) = await line.start("d")
    await asyncio.wait_for(last, 1)
    assert line.order == ["a", "d"]
