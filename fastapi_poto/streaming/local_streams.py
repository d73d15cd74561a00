"""The resumable streams that run on one event loop, and what is stored of them: one append for all that is new."""

import asyncio
import logging
from contextvars import Context
from functools import partial
from typing import Final

from ..errors import StreamLost, Unavailable
from ..stores.base import Store
from ..stores.log import Appended, Batch, Entry
from .leases import Leases
from .stream_records import KEPT_AFTER_END, readers_record, recorded_error, seen_key, stream_key
from .tail import Tail
from .tails import Tails
from .writer import Writer

log = logging.getLogger("fastapi_poto")

_WRITE_PAUSE: Final = 0.02
"""Seconds between two appends: items that come quickly are written together."""
_RETRY_SECONDS: Final = 0.5


class LocalStreams:
    """Writers, tails and leases of one event loop; `WriterHost` to the writers."""

    def __init__(
        self, store: Store, *, grace: float, max_items: int, max_bytes: int, cleanup_timeout: float,
        recheck_interval: float, most_detached: int | None,
    ) -> None:  # fmt: skip
        self.store = store
        self.tails = Tails(store.log)
        self.leases = Leases(store)
        self.live: dict[str, Writer] = {}
        self.grace = grace
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.cleanup_timeout = cleanup_timeout
        self.recheck_interval = recheck_interval
        self._most_detached = most_detached
        self._detached: dict[str, Writer] = {}
        self._changed: dict[str, Writer] = {}
        self._followed: dict[str, Tail] = {}
        self._storing: asyncio.Task[None] | None = None

    # What writers say

    def begun(self, writer: Writer) -> None:
        self.live[writer.id] = writer
        self.changed(writer)

    def changed(self, writer: Writer) -> None:
        self._changed[writer.id] = writer
        if self._storing is None or self._storing.done():
            self._storing = asyncio.get_running_loop().create_task(self._store(), context=Context())

    def attached(self, writer: Writer) -> None:
        self._detached.pop(writer.id, None)

    def detached(self, writer: Writer) -> None:
        if writer.ended:
            return
        self._detached[writer.id] = writer
        if self._most_detached is not None and len(self._detached) > self._most_detached:
            oldest = self._detached.pop(next(iter(self._detached)))
            log.warning("%s: a stream without a reader was ended: there are too many", oldest.operation)
            oldest.stop(StreamLost("Too many streams had no reader"))

    async def has_remote_reader(self, writer: Writer) -> bool:
        return bool(await self.leases.living(readers_record(writer.id)))

    async def remote_seen(self, writer: Writer) -> None:
        reader = self.tails.reader(seen_key(writer.id))
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

    # The store

    async def _store(self) -> None:
        while self._changed:
            await asyncio.sleep(_WRITE_PAUSE)
            changed, self._changed = self._changed, {}
            await self._store_all(list(changed.values()))

    async def _store_all(self, writers: list[Writer]) -> None:
        numbers = [(writer.last, writer.ended) for writer in writers]
        entries = [writer.entry(self.leases.process) for writer in writers]
        done = await asyncio.gather(*map(self.tails.append, entries), return_exceptions=True)
        failures = [one for one in done if isinstance(one, BaseException)]
        if failures:  # who reads the streams here does not suffer for the store
            log.warning("The items of %d streams could not be stored: %s", len(failures), failures[0])
            await asyncio.sleep(_RETRY_SECONDS)
        over: list[Writer] = []
        for writer, one, (last, ended) in zip(writers, done, numbers, strict=True):
            if isinstance(one, BaseException):
                if not (ended and writer.may_be_forgotten()):
                    self._changed[writer.id] = writer
                    continue
            else:
                self._note(writer, last, one)
            if ended:
                over.append(writer)
        await asyncio.gather(*map(self._forget, over))

    def _note(self, writer: Writer, last: int, done: Appended | None) -> None:
        writer.stored = max(writer.stored, last)
        if writer.ended:
            return
        if done is None:
            writer.stop()  # somebody ended it before it was followed
        elif writer.id not in self._followed:
            # What others append ends it: a stop.
            tail = self._followed[writer.id] = self.tails.hold(stream_key(writer.id))
            tail.on_end = partial(self._ended_by_others, writer)
            self.tails.open(tail, Batch(done.last, done.last))

    def _ended_by_others(self, writer: Writer, end: bytes) -> None:
        if not writer.ended:
            writer.stop(recorded_error(end))

    async def _forget(self, writer: Writer) -> None:
        self.live.pop(writer.id, None)
        self._detached.pop(writer.id, None)
        tail = self._followed.pop(writer.id, None)
        if tail is not None:
            tail.on_end = None
            self.tails.release(tail)
        if writer.ticket is not None:
            await writer.ticket.give_back()

    async def end(self, stream: str, end: bytes) -> None:
        """End a stream that runs anywhere; the first end wins."""
        await self.tails.append(
            Entry(key=stream_key(stream), end=end, keep=self.max_items, keep_bytes=self.max_bytes,
                  remember=self.grace + KEPT_AFTER_END)
        )  # fmt: skip

    async def close(self) -> None:
        """Store what is new, if the store takes it, and let go of everything."""
        for writer in list(self.live.values()):
            writer.on_shutdown()
        try:
            async with asyncio.timeout(1.0):
                while self.live and self._storing is not None:
                    await asyncio.wait((self._storing,))
        except TimeoutError:
            log.warning("The last items of %d streams could not be stored", len(self.live))
        if self._storing is not None:
            self._storing.cancel()
        await self.leases.close()
        await self.tails.close()
