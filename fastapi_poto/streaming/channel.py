"""A resumable stream: its generator, the items it made, and whoever reads them at the moment."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextvars import Context, copy_context
from math import inf
from secrets import token_hex
from time import monotonic
from typing import Any, Final, Protocol

from anyio import CancelScope

from ..context import CallContext
from ..errors import Conflict, InternalError, PastReplay, PotoError, ShuttingDown, StreamLost
from .frames import Event, event_frame, is_told
from .hub import hub_of
from .pump import pump_of

log = logging.getLogger("fastapi_poto")

_WRITE_PAUSE: Final = 0.02
"""Seconds between two writes to the store: items that come quickly are written together."""
_DETACHED_POLL: Final = 0.25


class ItemKeeper(Protocol):
    """Where a channel's items are kept for readers in other processes (see replay)."""

    live: "dict[str, Channel]"
    grace: float
    max_items: int
    max_bytes: int
    cleanup_timeout: float
    beat_interval: float

    async def save(self, channel: "Channel") -> None:
        """Write what is new of a stream."""

    async def remote_reader(self, channel: "Channel") -> int | None:
        """Up to which item a reader in another process has come since it was last asked."""
        ...


class Channel:
    """Runs a generator whether it is read or not, for as long as somebody may come back for it.

    It keeps the last items in memory for readers of this process, and has `Replays` write them to the store for those
    of others. It never runs ahead of its reader by more than half of what it keeps, so that no unseen item is dropped.
    """

    def __init__(
        self, items: Any, *, replays: ItemKeeper, context: CallContext, encode: Callable[[Any], bytes]
    ) -> None:
        self.id = token_hex(12)
        self.owner = context.user.id if context.user is not None else ""
        self.operation = context.operation
        self.frames: dict[int, bytes] = {}
        """The last items by their numbers, oldest first."""
        self.last = 0
        """The number of the newest item."""
        self.seen = 0
        """The number of the last item that a reader took."""
        self.ended = False
        self.error: BaseException | None = None
        self._context = context
        self._replays = replays
        self._number = 0
        self._encode = event_frame(encode)
        self._pump = pump_of(items, self._frame, limit=1, context=copy_context())
        self._kept_bytes = self._unseen_bytes = 0
        self._reader: object | None = None
        self._left_at = inf
        self._news: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._dirty = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._stopped = False
        self._stop_error: PotoError | None = None

    @property
    def first(self) -> int:
        """The number of the oldest item that is kept, or would be."""
        return next(iter(self.frames), self.last + 1)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._replays.live[self.id] = self
        self._pump.start()
        # In empty contexts: only the generator itself belongs to the caller.
        self._tasks = (
            loop.create_task(self._collect(), context=Context()),
            loop.create_task(self._keep(), context=Context()),
        )
        hub_of(loop).add(self, inf)

    def stop(self, error: PotoError | None = None) -> None:
        """Close the generator; readers get `error`."""
        if not self._stopped:
            self._stopped = True
            self._context.mark_cancelled()
            if not self._pump.ended:
                self._stop_error = error
                self._pump.stop()
                self._pump.wake()
            self._wake_room()

    async def finished(self) -> None:
        """Return when the generator has been closed and the store knows how it ended."""
        if self._tasks:
            with CancelScope(shield=True):
                await asyncio.wait(self._tasks)

    # Readers

    async def read(self, after: int) -> AsyncIterator[bytes]:
        """Frames that follow item `after`, as they come; raises what the generator raised. The latest reader wins."""
        if not self._tasks:
            self.start()
        if after < self.first - 1:
            raise PastReplay  # another reader went on while this one was on its way
        reader = self._reader = object()
        self._left_at = inf
        self._seek(after)
        self._wake_reader()
        try:
            while True:
                while after < self.last and self._reader is reader:
                    after += 1
                    yield self.frames[after]
                    if self._reader is reader:
                        self._see(after)
                if self._reader is not reader:
                    raise Conflict("The stream was resumed by another connection")
                if self.ended:
                    if self.error is not None:
                        raise self.error
                    return
                await self._wait_news()
        finally:
            if self._reader is reader:
                self._reader = None
                self._left_at = monotonic()
                self._dirty.set()

    def note_remote(self, seen: int) -> None:
        """A reader in another process has come to item `seen`."""
        self._left_at = monotonic()
        self._see(min(seen, self.last))

    def _seek(self, after: int) -> None:
        self.seen = after
        self._unseen_bytes = sum(len(frame) for number, frame in self.frames.items() if number > after)

    def _see(self, number: int) -> None:
        while self.seen < number:
            self.seen += 1
            self._unseen_bytes -= len(self.frames.get(self.seen, b""))
        if self._has_room():
            self._wake_room()

    async def _wait_news(self) -> None:
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def _wake_reader(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # Items

    def _frame(self, item: Any) -> bytes:
        if item.__class__ is Event and item.id is not None:
            raise ValueError(f"{self.operation}: a resumable stream numbers its items itself; yield them without an id")
        self._number += 1
        return b"id: %b-%d\n%b" % (self.id.encode(), self._number, self._encode(item))

    def _has_room(self) -> bool:
        replays = self._replays
        return (
            2 * (self.last - self.seen) < replays.max_items and 2 * self._unseen_bytes < replays.max_bytes
        )  # fmt: skip

    def _wake_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def _collect(self) -> None:
        pump = self._pump
        try:
            while True:
                while not self._has_room() and not self._stopped:
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
                if not pump.chunks and not pump.ended:
                    await pump.wait()
                for frame in pump.take_frames():
                    self._append(frame)
                self._wake_reader()
                if pump.ended and not pump.chunks:
                    return
        finally:
            await pump.closed(self._replays.cleanup_timeout)
            self.error = self._stop_error or self._shown(pump.error)
            pump.error = None
            self.ended = True
            self._dirty.set()
            self._wake_reader()

    def _append(self, frame: bytes) -> None:
        self.last += 1
        self.frames[self.last] = frame
        self._kept_bytes += len(frame)
        self._unseen_bytes += len(frame)
        replays = self._replays
        # What no reader has taken stays, even beside an item that is larger than all that is to be kept.
        while self.first <= self.seen and (
            len(self.frames) > replays.max_items or self._kept_bytes > replays.max_bytes
        ):  # fmt: skip
            self._kept_bytes -= len(self.frames.pop(self.first))
        self._dirty.set()

    def _shown(self, error: BaseException | None) -> BaseException | None:
        """What readers are told. Before the first item, the error itself: the application's handlers answer it."""
        if error is None or is_told(error) or not self.last:
            return error
        log.error("%s failed in request %s", self.operation, self._context.request_id, exc_info=error)
        return InternalError()

    # The store, and the time that is left without a reader

    async def _keep(self) -> None:
        replays = self._replays
        try:
            while not self.ended:
                timeout = _DETACHED_POLL if self._reader is None else replays.beat_interval
                try:
                    async with asyncio.timeout(timeout):
                        await self._dirty.wait()
                except TimeoutError:
                    pass
                self._dirty.clear()
                await replays.save(self)
                if self._reader is None and not self.ended:
                    await self._check_grace()
                await asyncio.sleep(_WRITE_PAUSE)
            await replays.save(self)
        finally:
            replays.live.pop(self.id, None)
            hub_of(asyncio.get_running_loop()).discard(self)

    async def _check_grace(self) -> None:
        seen = await self._replays.remote_reader(self)
        if seen is not None:
            self.note_remote(seen)
        # Who never got an item has no id to come back with.
        grace = self._replays.grace if self.last else 0.0
        if self._reader is None and monotonic() - self._left_at >= grace:
            self.stop(StreamLost("Nobody came back in time"))

    # Visits of the timer: none; it brings the news of the server's end.

    def on_time(self, now: float) -> float:
        return inf

    def on_shutdown(self) -> None:
        self.stop(ShuttingDown())
