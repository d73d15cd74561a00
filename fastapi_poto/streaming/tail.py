"""The newest events of one log in this process, shared by all who read it there."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ..stores.log import Batch

_TAIL_BYTES: Final = 256 * 1024
_TAIL_EVENTS: Final = 4_096


class Tail:
    """The newest events of one log. `ids` and `events` go together; all after `start` are here."""

    __slots__ = (
        "breaks", "bytes", "end", "events", "ids", "is_open", "key", "last", "on_end", "readers", "seen_wake",
        "start", "waiting",
    )  # fmt: skip

    def __init__(self, key: str) -> None:
        self.key = key
        self.readers = 0
        self.start = self.last = 0
        self.is_open = False
        """Whether `start` and `last` are known."""
        self.seen_wake = False
        """Something came before they were."""
        self.ids: list[int] = []
        self.events: list[bytes] = []
        self.bytes = 0
        self.end: bytes | None = None
        self.on_end: Callable[[bytes], None] | None = None
        """Told how the log ended."""
        self.breaks = 0
        """How often the log did not go on where this tail ended: something is missing, and readers have to look."""
        self.waiting: list[asyncio.Future[None]] = []

    def extend(self, batch: Batch) -> None:
        """Take what is new of a batch."""
        for number, event in batch.events:
            if number > self.last:
                self.ids.append(number)
                self.events.append(event)
                self.bytes += len(event)
                self.last = number
        if batch.end is not None:
            self.end, self.last = batch.end, batch.last
            if self.on_end is not None:
                self.on_end(batch.end)
        if len(self.ids) > _TAIL_EVENTS or self.bytes > _TAIL_BYTES:
            self._trim()
        self.wake()

    def _trim(self) -> None:
        """Down to half of what may be here: not for every event."""
        count = max(0, len(self.ids) - _TAIL_EVENTS // 2)
        size = sum(map(len, self.events[:count]))
        while count < len(self.ids) - 1 and self.bytes - size > _TAIL_BYTES // 2:
            size += len(self.events[count])
            count += 1
        if count:
            self.start = self.ids[count - 1]
            self.bytes -= size
            del self.ids[:count]
            del self.events[:count]

    def restart(self, batch: Batch) -> None:
        """Begin anew with a batch that does not follow what was here."""
        self.breaks += 1
        self.start = self.last = batch.start
        self.ids.clear()
        self.events.clear()
        self.bytes = 0
        self.extend(batch)

    def wake(self) -> None:
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def news(self) -> None:
        """Return when there may be something new."""
        waiting = asyncio.get_running_loop().create_future()
        self.waiting.append(waiting)
        await waiting


class Step(NamedTuple):
    """What a reader gets at a time."""

    events: Sequence[tuple[int, bytes]] = ()
    lost: bool = False
    """Before these events there were others that are gone."""
    end: bytes | None = None
    """How the log ended; then there are no more steps."""
