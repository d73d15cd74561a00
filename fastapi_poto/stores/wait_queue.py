"""Waiting in line for a connection, for as long as the store answers anybody."""

from asyncio import Future, get_running_loop, wait
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MOST_SECONDS = 10.0


class WaitQueue:
    """At most `count` operations at a time on one event loop; the others wait in line.

    A long line is no outage: what ends the wait is that the store has answered nobody for `patience` seconds.
    """

    def __init__(self, count: int, patience: float) -> None:
        self._free = count
        self._patience = patience
        self._line: deque[Future[None]] = deque()
        self._answered = 0.0

    async def take(self) -> float:
        """Wait for a turn, and give the time of the loop's clock by which the operation must be over.

        Raises `TimeoutError` if the store seems to be gone, or the line does not move on.
        """
        loop = get_running_loop()
        began = loop.time()
        if self._free:
            self._free -= 1
            return began + self._patience
        place: Future[None] = loop.create_future()
        self._line.append(place)
        try:
            while not place.done():
                left = min(max(began, self._answered) + self._patience, began + MOST_SECONDS) - loop.time()
                if left <= 0:
                    raise TimeoutError
                await wait((place,), timeout=left)
        except BaseException:
            if place.done():
                self._pass_on()
            else:
                place.cancel()
            raise
        return max(began, self._answered) + self._patience

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for a turn and use it. Gives and raises what `take` does."""
        deadline = await self.take()
        answered = False
        try:
            yield deadline
            answered = True
        finally:
            self.give_back(answered=answered)

    def give_back(self, *, answered: bool) -> None:
        """End a turn, and say whether the store answered."""
        if answered:
            self._answered = get_running_loop().time()
        self._pass_on()

    def _pass_on(self) -> None:
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
