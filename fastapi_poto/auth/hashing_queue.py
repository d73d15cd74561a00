"""Whose password is looked at next: no address keeps the others waiting."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..errors import Unavailable

_OF_AN_ADDRESS = 4


@dataclass(slots=True, eq=False)
class _Place:
    address: str
    turn: asyncio.Future[None]


class HashingQueue:
    """Gives turns, `at_once` at a time, to the address that had the fewest; `waiting` may stand in line.

    When the line is full, an address that has more than four places in it loses its last one to another address that
    has fewer: that caller gets `Unavailable`, as does who finds no place. Belongs to one event loop.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._free = at_once
        self._waiting = waiting
        self._line: list[_Place] = []
        self._served: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it. Raises `Unavailable`."""
        if self._free and not self._line:
            self._free -= 1
        else:
            await self._wait(address)
        self._served[address] += 1
        try:
            yield
        finally:
            self._free += 1
            self._call_next()

    async def _wait(self, address: str) -> None:
        if len(self._line) >= self._waiting:
            self._make_room_for(address)
        place = _Place(address, asyncio.get_running_loop().create_future())
        self._line.append(place)
        try:
            await place.turn
        except asyncio.CancelledError:
            if place in self._line:
                self._line.remove(place)
            elif not place.turn.cancelled() and place.turn.exception() is None:  # called while it gave up
                self._free += 1
                self._call_next()
            raise

    def _make_room_for(self, address: str) -> None:
        places = Counter(place.address for place in self._line)
        greediest, most = places.most_common(1)[0]
        if most <= max(_OF_AN_ADDRESS, places[address] + 1):
            raise _full()
        last = next(place for place in reversed(self._line) if place.address == greediest)
        self._line.remove(last)
        last.turn.set_exception(_full())

    def _call_next(self) -> None:
        while self._free and self._line:
            place = min(self._line, key=lambda place: self._served[place.address])
            self._line.remove(place)
            if not place.turn.done():
                self._free -= 1
                place.turn.set_result(None)
        if not self._line:
            self._served.clear()


def _full() -> Unavailable:
    return Unavailable("Too many sign-ins at once")
