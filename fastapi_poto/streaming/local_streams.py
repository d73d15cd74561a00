"""The resumable streams that run on one event loop, and what is stored of them: one append for all that is new."""

import asyncio
import logging
from contextvars import Context
from functools import partial
from math import inf
from time import monotonic
from typing import Final

from ..errors import ShuttingDown, StreamLost, Unauthenticated, Unavailable
from ..settings import Settings
from ..stores import records
from ..stores.base import Store
from ..stores.log import DAY, Appended, Batch, Entry
from .hub import hub_of
from .leases import Leases
from .presence import Presence
from .stream_records import KEPT_AFTER_END, KEPT_BYTES, recorded_end, recorded_error
from .tail import Tail
from .tails import Tails
from .writer import Writer

log = logging.getLogger("fastapi_poto")

_WRITE_PAUSE: Final = 0.02
"""Seconds between two appends: items that come quickly are written together."""
_RETRY_SECONDS: Final = 0.5


class LocalStreams:
    """Writers, tails, leases and presence of one event loop; `WriterHost` to the writers."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.tails = Tails(store.log)
        self.leases = Leases(store)
        self.presence = Presence(self.tails, self.leases)
        self.live: dict[str, Writer] = {}
        self.kept_after_end = settings.replay_grace + KEPT_AFTER_END
        self._entry = partial(Entry, keep=settings.replay_items, keep_bytes=KEPT_BYTES)
        self._detached: dict[Writer, float] = {}
        """Those without a reader here, in the order in which they were left, and when each is looked at."""
        self._changed: dict[Writer, None] = {}
        self._followed: dict[Writer, Tail] = {}
        self._storing: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None

    # What writers say

    def begin(self, writer: Writer) -> None:
        """Let a stream run."""
        if not self.live:
            hub_of(asyncio.get_running_loop()).add(self, inf)
        self.live[writer.id] = writer
        writer.start(self)
        self.changed(writer)

    def changed(self, writer: Writer) -> None:
        if writer.id not in self.live:
            return  # all of it has been stored
        self._changed[writer] = None
        if self._storing is None or self._storing.done():
            self._storing = asyncio.get_running_loop().create_task(self._store(), context=Context())

    def left(self, writer: Writer) -> None:
        self.changed(writer)
        if writer.readers or writer.ended:
            return
        self._detached.pop(writer, None)
        self._detached[writer] = monotonic() + min(self._grace(writer), self.settings.recheck_interval)
        self._leave_out_attached()
        most = self.settings.detached_streams
        if most is not None and len(self._detached) > most:
            oldest = next(iter(self._detached))
            del self._detached[oldest]
            log.warning("%s: a stream without a reader was ended: there are too many", oldest.operation)
            oldest.stop(StreamLost("Too many streams had no reader"))
        hub = hub_of(asyncio.get_running_loop())
        hub.discard(self)
        hub.add(self, min(self._detached.values(), default=inf))

    async def remote_seen(self, writer: Writer) -> None:
        reader = self.tails.reader(records.seen(writer.id))
        try:
            while True:
                try:
                    await reader.begin(0)
                    break
                except Unavailable:
                    await asyncio.sleep(_RETRY_SECONDS)
            while True:
                step = await reader.step()
                if step.events:
                    writer.note_remote(int(step.events[-1][1]))
        finally:
            reader.close()

    # The time that is left without a reader

    def _grace(self, writer: Writer) -> float:
        # Who never got an item has no id to come back with.
        return self.settings.replay_grace if writer.last else 0.0

    def _leave_out_attached(self) -> None:
        for writer in [writer for writer in self._detached if writer.readers or writer.ended]:
            del self._detached[writer]

    def on_time(self, now: float) -> float:
        self._leave_out_attached()
        due = [writer for writer, when in self._detached.items() if when <= now]
        for writer in due:
            self._detached[writer] = now + min(self.settings.recheck_interval, max(0.05, self._grace(writer)))
        if due and (self._checking is None or self._checking.done()):
            self._checking = asyncio.get_running_loop().create_task(self._check(due), context=Context())
        return min(self._detached.values(), default=inf)

    async def _check(self, writers: list[Writer]) -> None:
        await asyncio.gather(*map(self._check_one, writers))

    async def _check_one(self, writer: Writer) -> None:
        """Whether a stream without a reader may go on."""
        try:
            if not await writer.is_active():
                writer.stop(Unauthenticated())
            elif monotonic() - writer.left_at >= self._grace(writer) and not writer.readers:
                if await self.leases.living(records.readers(writer.id)):
                    writer.left_at = monotonic()
                elif not writer.readers:
                    writer.stop(StreamLost("Nobody came back in time"))
        except Exception as error:  # a store that is away for a moment: the next visit asks again
            log.warning("%s: a stream without a reader could not be checked: %s", writer.operation, error)

    def on_shutdown(self) -> None:
        for writer in self.live.values():
            if not writer.ended:
                writer.stop(ShuttingDown())

    # The store

    async def _store(self) -> None:
        while self._changed:
            await asyncio.sleep(_WRITE_PAUSE)
            writers = list(self._changed)
            self._changed.clear()
            done = await asyncio.gather(*map(self._store_one, writers), return_exceptions=True)
            failed = {
                writer: error for writer, error in zip(writers, done, strict=True) if isinstance(error, BaseException)
            }
            if failed:  # who reads the streams here does not suffer for the store
                log.warning("The items of %d streams could not be stored: %s", len(failed), next(iter(failed.values())))
                await asyncio.sleep(_RETRY_SECONDS)
            for writer in failed:
                if writer.ended and not writer.readers and monotonic() - writer.left_at > self.settings.replay_grace:
                    await self._forget(writer)
                else:
                    self._changed[writer] = None

    async def _store_one(self, writer: Writer) -> None:
        """Append all that the store has not got yet of a stream."""
        last, ended = writer.last, writer.ended
        frames = writer.frames_after(writer.stored)
        if frames or ended or not writer.stored:
            entry = self._entry(
                records.stream(writer.id),
                frames,
                end=recorded_end(writer.error) if ended else None,
                head=None if writer.stored else writer.head.encode(),
                remember=self.kept_after_end if ended else DAY,
            )
            self._note(writer, last, await self.tails.append(entry))
        if ended:
            await self._forget(writer)
        elif writer.head.owner and writer.readers != writer.head.readers:
            writer.head = writer.head._replace(readers=writer.readers)
            await self.leases.hold(records.open_streams("streams", writer.head.owner), writer.id, writer.head.encode())

    def _note(self, writer: Writer, last: int, done: Appended | None) -> None:
        writer.stored = max(writer.stored, last)
        if writer.ended:
            return
        if done is None:
            writer.stop()  # somebody ended it before it was followed
        elif writer not in self._followed:
            # What others append ends it: a stop.
            tail = self._followed[writer] = self.tails.hold(records.stream(writer.id))
            tail.on_end = partial(self._ended_by_others, writer)
            self.tails.open(tail, Batch(done.last, done.last))

    def _ended_by_others(self, writer: Writer, end: bytes) -> None:
        if not writer.ended:
            writer.stop(recorded_error(end))

    async def _forget(self, writer: Writer) -> None:
        self.live.pop(writer.id, None)
        self._detached.pop(writer, None)
        if not self.live:
            hub_of(asyncio.get_running_loop()).discard(self)
        tail = self._followed.pop(writer, None)
        if tail is not None:
            tail.on_end = None
            self.tails.release(tail)
        await writer.ticket.taken.aclose()

    async def end(self, stream: str, end: bytes) -> None:
        """End a stream that runs anywhere; the first end wins."""
        await self.tails.append(self._entry(records.stream(stream), end=end, remember=self.kept_after_end))

    async def close(self) -> None:
        """Store what is new, if the store takes it, and let go of everything."""
        self.on_shutdown()
        self.presence.close()
        try:
            async with asyncio.timeout(1.0):
                while self.live and self._storing is not None:
                    await asyncio.wait((self._storing,))
        except TimeoutError:
            log.warning("The last items of %d streams could not be stored", len(self.live))
        if self._storing is not None:
            self._storing.cancel()
        hub_of(asyncio.get_running_loop()).discard(self)
        await self.leases.close()
        await self.tails.close()
