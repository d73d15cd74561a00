"""An end to waiting for a server, which counts the server's silence and not that this process stood still."""

import asyncio
from types import TracebackType
from typing import Any


class Deadline:
    """`async with` it: `TimeoutError` at `when`, by the loop's clock, or once the loop had `least` seconds to listen.

    Where the process stood still until `when`, the answer may have come long ago: it is read first.
    """

    __slots__ = ("_least", "_look_timer", "_loop", "_timeout", "_when")

    def __init__(self, when: float, least: float) -> None:
        self._when = when
        self._least = least
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._look_timer: Any = None

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._look_timer = self._loop.call_at(max(self._when - self._least, self._loop.time()), self._look)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._look_timer.cancel()
        await self._timeout.__aexit__(kind, error, traceback)

    def _look(self) -> None:
        self._timeout.reschedule(max(self._when, self._loop.time() + self._least))


def within(seconds: float) -> Deadline:
    """A deadline from now on."""
    return Deadline(asyncio.get_running_loop().time() + seconds, seconds / 5)
