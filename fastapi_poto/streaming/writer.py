"""A resumable stream where its generator runs: the items it made, and whoever reads them in this process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import Context, copy_context
from math import inf
from time import monotonic, time
from typing import Any, Protocol

from anyio import CancelScope

from ..context import CallContext
from ..errors import InternalError, PastReplay, ShuttingDown, StreamLost, Unauthenticated
from ..stores.log import DAY, Entry
from .frames import Event, event_frame, is_told
from .hub import hub_of
from .pump import pump_of
from .stream_records import KEPT_AFTER_END, StreamHead, new_stream_id, recorded_end, stream_key

log = logging.getLogger("fastapi_poto")


class Ticket(Protocol):
    """The room that one stream takes (see streams)."""

    @property
    def stream(self) -> str: ...
    @property
    def key(self) -> str: ...
    async def give_back(self) -> None: ...


class WriterHost(Protocol):
    """What writers of one event loop share (see local_streams)."""

    grace: float
    max_items: int
    max_bytes: int
    cleanup_timeout: float
    recheck_interval: float

    def begun(self, writer: "Writer") -> None:
        """The writer runs."""

    def changed(self, writer: "Writer") -> None:
        """There is something to store."""

    def detached(self, writer: "Writer") -> None:
        """The last reader of this process has left."""

    def attached(self, writer: "Writer") -> None:
        """Somebody reads again."""

    async def has_remote_reader(self, writer: "Writer") -> bool:
        """Whether anybody reads in another process."""
        ...

    async def remote_seen(self, writer: "Writer") -> None:
        """Return when a reader in another process has come farther; it is noted in the writer."""


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
        ticket: Ticket | None = None,
    ) -> None:
        self.id = new_stream_id() if ticket is None else ticket.stream
        self.ticket = ticket
        self.owner = context.user.id if context.user is not None else ""
        self.operation = context.operation
        self.key = "" if ticket is None else ticket.key
        self.since = time()
        self.last = 0
        """The number of the newest item."""
        self.stored = 0
        """That of the newest one that the store has."""
        self.ended = False
        self.error: BaseException | None = None
        self._context = context
        self._is_active = is_active
        self._number = 0
        self._encode = event_frame(encode)
        self._pump = pump_of(items, self._frame, limit=1, context=copy_context())
        self._frames: dict[int, bytes] = {}
        self._ends: dict[int, int] = {0: 0}
        """The bytes of all items up to one, of those that are kept and of the one before them."""
        self._total = 0
        self._seen = 0
        self._readers: dict[object, int] = {}
        self._left_at = monotonic()
        self._news: list[asyncio.Future[None]] = []
        self._room: asyncio.Future[None] | None = None
        self._host: WriterHost
        self._collecting: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
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
        loop = asyncio.get_running_loop()
        self._host = host
        self._pump.start()
        # In an empty context: only the generator itself belongs to the caller.
        self._collecting = loop.create_task(self._collect(), context=Context())
        host.begun(self)
        hub_of(loop).add(self, inf)

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
        self._host.attached(self)
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
            if not self._readers:
                self._left_at = monotonic()
                self._host.detached(self)
                self._visit_at(min(self._left_at + self._grace(), self._left_at + self._host.recheck_interval))
            if self._room is not None and self._has_room():
                self._wake_room()

    def note_remote(self, seen: int) -> None:
        """A reader in another process has come to item `seen`."""
        self._left_at = monotonic()
        self._seen = max(self._seen, min(seen, self.last))
        if self._has_room():
            self._wake_room()

    def _wake_readers(self) -> None:
        news, self._news = self._news, []
        for one in news:
            if not one.done():
                one.set_result(None)

    # Items

    def _frame(self, item: Any) -> bytes:
        if item.__class__ is Event and item.id is not None:
            raise ValueError(f"{self.operation}: a resumable stream numbers its items itself; yield them without an id")
        self._number += 1
        return b"id: %b-%d\n%b" % (self.id.encode(), self._number, self._encode(item))

    def _slowest(self) -> int:
        return min(self._readers.values()) if self._readers else self._seen

    def _has_room(self) -> bool:
        seen = max(self._slowest(), self.first - 1)
        host = self._host
        return 2 * (self.last - seen) < host.max_items and 2 * (self._total - self._ends[seen]) < host.max_bytes

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
            await pump.closed(self._host.cleanup_timeout)
            self.error = self._stop_error or self._shown(pump.error)
            pump.error = None
            self.ended = True
            hub_of(asyncio.get_running_loop()).discard(self)
            self._host.changed(self)
            self._wake_readers()

    def _append(self, frame: bytes) -> None:
        self.last += 1
        self._frames[self.last] = frame
        self._total += len(frame)
        self._ends[self.last] = self._total
        host, first = self._host, self.first
        # What a reader has not taken stays, even beside an item that is larger than all that is to be kept.
        while first <= self._slowest() and (
            len(self._frames) > host.max_items or self._total - self._ends[first - 1] > host.max_bytes
        ):
            del self._frames[first], self._ends[first - 1]
            first += 1
        self._host.changed(self)

    def _shown(self, error: BaseException | None) -> BaseException | None:
        """What readers are told. Before the first item, the error itself: the application's handlers answer it."""
        if error is None or is_told(error) or not self.last:
            return error
        log.error("%s failed in request %s", self.operation, self._context.request_id, exc_info=error)
        shown = InternalError()
        shown.__cause__ = error.with_traceback(None)  # what dependencies are told; the frames would keep the call alive
        return shown

    # The store

    def head(self, process: str) -> StreamHead:
        return StreamHead(
            owner=self.owner, operation=self.operation, key=self.key, since=self.since, process=process
        )  # fmt: skip

    def entry(self, process: str) -> Entry:
        """All that the store has not got yet."""
        host = self._host
        return Entry(
            key=stream_key(self.id),
            events=[frame for number, frame in self._frames.items() if number > self.stored],
            end=recorded_end(self.error) if self.ended else None,
            head=None if self.stored else self.head(process).encode(),
            keep=host.max_items,
            keep_bytes=host.max_bytes,
            remember=host.grace + KEPT_AFTER_END if self.ended else DAY,
        )

    def may_be_forgotten(self) -> bool:
        """Whether an ended stream that could not be stored has been there for long enough."""
        return monotonic() - self._left_at > self._host.grace and not self._readers

    # The time that is left without a reader

    def _grace(self) -> float:
        # Who never got an item has no id to come back with.
        return self._host.grace if self.last else 0.0

    def _visit_at(self, when: float) -> None:
        hub = hub_of(asyncio.get_running_loop())
        hub.discard(self)
        if not self.ended:
            hub.add(self, when)

    def on_time(self, now: float) -> float:
        if self._readers or self.ended:
            return inf
        if self._checking is None or self._checking.done():
            self._checking = asyncio.get_running_loop().create_task(self._check(), context=Context())
        return now + min(self._host.recheck_interval, max(0.05, self._grace()))

    async def _check(self) -> None:
        """Whether a stream without a reader may go on."""
        try:
            if self._is_active is not None and not await self._is_active():
                self.stop(Unauthenticated())
            elif monotonic() - self._left_at >= self._grace() and not self._readers:
                if await self._host.has_remote_reader(self):
                    self._left_at = monotonic()
                elif not self._readers:
                    self.stop(StreamLost("Nobody came back in time"))
        except Exception as error:  # a store that is away for a moment: the next visit asks again
            log.warning("%s: a stream without a reader could not be checked: %s", self.operation, error)

    def on_shutdown(self) -> None:
        self.stop(ShuttingDown())
