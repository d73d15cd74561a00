"""A resumable stream where its generator runs: the items it made, and whoever reads them in this process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import Context, copy_context
from time import monotonic
from typing import Any, Protocol

from anyio import CancelScope

from ..context import CallContext
from ..errors import InternalError, PastReplay
from ..settings import Settings
from .frames import Event, event_frame, is_told
from .pump import pump_of
from .stream_records import KEPT_BYTES, Ticket

log = logging.getLogger("fastapi_poto")


class WriterHost(Protocol):
    """What writers of one event loop share (see local_streams)."""

    settings: Settings

    def changed(self, writer: "Writer") -> None:
        """There is something new of it: items, readers, its end."""

    def left(self, writer: "Writer") -> None:
        """A reader of this process has left."""

    async def remote_seen(self, writer: "Writer") -> None:
        """Tell the writer (`note_remote`) how far a reader in another process comes."""


class Writer:
    """Runs a generator whether it is read or not, for as long as somebody may come back for it.

    It keeps the last items in memory for readers of this process; the host writes them to the store for those of
    others. It never runs ahead of its slowest reader by more than half of what it keeps, so that no unseen item is
    dropped.
    """

    def __init__(
        self,
        items: Any,
        *,
        context: CallContext,
        encode: Callable[[Any], bytes],
        is_active: Callable[[], Awaitable[bool]] | None = None,
        ticket: Ticket,
    ) -> None:
        self.ticket = ticket
        self.id = ticket.id
        self.head = ticket.head
        self.operation = context.operation
        self.last = 0
        """The number of the newest item."""
        self.stored = 0
        """That of the newest one that the store has."""
        self.ended = False
        self.error: BaseException | None = None
        self.left_at = monotonic()
        """When it was last known to have a reader."""
        self._context = context
        self._is_active = is_active
        self._number = 0
        self._encode = event_frame(encode)
        self._variables = copy_context()
        self._pump = pump_of(items, self._frame, limit=1, context=self._variables)
        self._frames: dict[int, bytes] = {}
        self._ends: dict[int, int] = {0: 0}
        """The bytes of all items up to one, of those that are kept and of the one before them."""
        self._total = 0
        self._seen = 0
        self._readers: dict[object, int] = {}
        self._news: list[asyncio.Future[None]] = []
        self._room: asyncio.Future[None] | None = None
        self._host: WriterHost
        self._collecting: asyncio.Task[None] | None = None
        self._stopped = False
        self._stop_error: BaseException | None = None

    @property
    def first(self) -> int:
        """The number of the oldest item that is kept, or would be."""
        return next(iter(self._frames), self.last + 1)

    @property
    def readers(self) -> int:
        """How many read in this process."""
        return len(self._readers)

    def start(self, host: WriterHost) -> None:
        self._host = host
        self._pump.start()
        # In an empty context: only the generator itself belongs to the caller.
        self._collecting = asyncio.get_running_loop().create_task(self._collect(), context=Context())

    async def is_active(self) -> bool:
        """Whether the caller's credentials still stand."""
        return self._is_active is None or await self._is_active()

    def stop(self, error: BaseException | None = None) -> None:
        """Close the generator; readers get `error`, or a good end."""
        if not self._stopped:
            self._stopped = True
            self._context.mark_cancelled()
            if not self._pump.ended:
                self._stop_error = error
                self._pump.stop()
                self._pump.wake()
            self._wake_room()

    async def finished(self, within: float | None = None) -> bool:
        """Return when the generator has been closed, or it takes longer: then False."""
        if self._collecting is not None:
            with CancelScope(shield=True):
                await asyncio.wait((self._collecting,), timeout=within)
        return self.ended

    # Readers

    async def read(self, after: int) -> AsyncIterator[bytes]:
        """Frames that follow item `after`, as they come; raises what the generator raised."""
        reader = object()
        if after < self.first - 1:
            raise PastReplay  # other readers went on while this one was on its way
        self._readers[reader] = after
        self._host.changed(self)
        try:
            while True:
                while after < self.last:
                    after += 1
                    yield self._frames[after]
                    self._readers[reader] = after
                    if self._room is not None and self._has_room():
                        self._wake_room()
                if self.ended:
                    if self.error is not None:
                        raise self.error
                    return
                news = asyncio.get_running_loop().create_future()
                self._news.append(news)
                await news
        finally:
            self._seen = max(self._seen, self._readers.pop(reader))
            self.left_at = monotonic()
            self._host.left(self)
            if self._room is not None and self._has_room():
                self._wake_room()

    def note_remote(self, seen: int) -> None:
        """A reader in another process has come to item `seen`."""
        self.left_at = monotonic()
        self._seen = max(self._seen, min(seen, self.last))
        if self._has_room():
            self._wake_room()

    def _wake_readers(self) -> None:
        news, self._news = self._news, []
        for one in news:
            if not one.done():
                one.set_result(None)

    # Items

    def frames_after(self, number: int) -> list[bytes]:
        """What is kept of the items that follow one."""
        return [frame for each, frame in self._frames.items() if each > number]

    def _frame(self, item: Any) -> bytes:
        if item.__class__ is Event and item.id is not None:
            raise ValueError(f"{self.operation}: a resumable stream numbers its items itself; yield them without an id")
        self._number += 1
        return b"id: %b-%d\n%b" % (self.id.encode(), self._number, self._encode(item))

    def _slowest(self) -> int:
        return min(self._readers.values()) if self._readers else self._seen

    def _has_room(self) -> bool:
        seen = max(self._slowest(), self.first - 1)
        most = self._host.settings.replay_items
        return 2 * (self.last - seen) < most and 2 * (self._total - self._ends[seen]) < KEPT_BYTES

    def _wake_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def _wait_room(self) -> None:
        """Wait until somebody has read on: here, or in another process."""
        self._room = asyncio.get_running_loop().create_future()
        remote: asyncio.Task[None] | None = None
        try:
            if not self._readers:
                remote = asyncio.get_running_loop().create_task(self._host.remote_seen(self), context=Context())
            await self._room
        finally:
            self._room = None
            if remote is not None:
                remote.cancel()

    async def _collect(self) -> None:
        pump = self._pump
        try:
            while True:
                while not self._has_room() and not self._stopped:
                    await self._wait_room()
                if not pump.chunks and not pump.ended:
                    await pump.wait()
                for frame in pump.take_frames():
                    self._append(frame)
                self._wake_readers()
                if pump.ended and not pump.chunks:
                    return
        finally:
            await pump.closed(self._host.settings.cleanup_timeout)
            self.error = self._stop_error or self._shown(pump.error)
            pump.error = None
            self.ended = True
            self._host.changed(self)
            self._wake_readers()

    def _append(self, frame: bytes) -> None:
        self.last += 1
        self._frames[self.last] = frame
        self._total += len(frame)
        self._ends[self.last] = self._total
        first = self.first
        # What a reader has not taken stays, even beside an item that is larger than all that is to be kept.
        while first <= self._slowest() and (
            len(self._frames) > self._host.settings.replay_items or self._total - self._ends[first - 1] > KEPT_BYTES
        ):
            del self._frames[first], self._ends[first - 1]
            first += 1
        self._host.changed(self)

    def _shown(self, error: BaseException | None) -> BaseException | None:
        """What readers are told. Before the first item, the error itself: the application's handlers answer it."""
        if error is None or is_told(error) or not self.last:
            return error
        told = ("%s failed in request %s", self.operation, self._context.request_id)
        self._variables.run(log.error, *told, exc_info=error)  # as the caller: trackers find the request there
        shown = InternalError()
        shown.__cause__ = error.with_traceback(None)  # what dependencies are told; the frames would keep the call alive
        return shown
