"""Connections belong to the event loop that made them; a store belongs to a process."""

from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One `T` for each event loop that asks. Those of closed loops are dropped: nobody can close them any more."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[AbstractEventLoop, T] = {}

    def get(self) -> T:
        """The running loop's own."""
        loop = get_running_loop()
        found = self._made.get(loop)
        if found is None:
            for other in [other for other in list(self._made) if other.is_closed()]:  # other threads add theirs
                self._made.pop(other, None)
            found = self._made[loop] = self._make()
        return found

    def pop(self) -> T | None:
        """The running loop's own, to be closed."""
        return self._made.pop(get_running_loop(), None)
