"""The logs that this process follows: the newest events of each, shared by all its readers.

Whatever the number of readers, a process has one watch, one read in flight for what is new, one for those who are
behind, and one append.
"""

import asyncio
import logging
from bisect import bisect_right
from contextvars import Context
from typing import Any, Final

from ..errors import Unavailable
from ..stores.log import Appended, Batch, Entry, EventLog, News, Watch
from .appends import Appends
from .tail import Step, Tail

log = logging.getLogger("fastapi_poto")

_BATCH: Final = 256
_RETRY_SECONDS: Final = 0.5
NOW: Final = (1 << 62) - 1
"""A position after everything: where a reader begins who wants only what is new."""


class Reader:
    """One reader's place in a log. A slow one holds a position, no queue."""

    def __init__(self, tails: "Tails", key: str) -> None:
        self._tails = tails
        self._tail = tails.hold(key)
        self._breaks = self._tail.breaks
        self._is_exact = False
        self._is_behind = False
        self._ready: Step | None = None
        self._start = 0
        self.position = 0
        self.begun_at = 0
        """Where the reader began: nothing before it is given."""

    async def begin(self, after: int, *, is_exact: bool = True) -> None:
        """Begin behind an id that was given, behind a time in microseconds (not exact), or at `NOW`.

        Raises `Unavailable`; once a reader has begun, it waits for a store that is away.
        """
        tail = self._tail
        if after != NOW:
            self.position, self._is_exact, self._is_behind = after, is_exact and after > 0, True
            self._ready = await self._catch_up()
            if self._ready is None or not is_exact or after <= 0:
                self.begun_at = self._start
            else:
                self.begun_at = after
            return
        self._is_exact = True
        if not tail.is_open:
            self._tails.open(tail, await self._tails.catch_up(tail.key, NOW))
        self.position = self.begun_at = tail.last
        self._breaks = tail.breaks

    async def step(self) -> Step:
        """What comes next, as soon as there is something."""
        tail = self._tail
        while True:
            if self._ready is not None:
                found, self._ready = self._ready, None
                return found
            if self._is_behind or self._breaks != tail.breaks or self.position < tail.start:
                try:
                    self._ready = await self._catch_up()
                except Unavailable:
                    await asyncio.sleep(_RETRY_SECONDS)
            elif self.position < tail.last:
                first = bisect_right(tail.ids, self.position)
                events = list(zip(tail.ids[first:], tail.events[first:], strict=True))
                self.position = tail.last
                if events:
                    return Step(events)
            elif tail.end is not None:
                return Step(end=tail.end)
            else:
                await tail.news()

    async def _catch_up(self) -> Step | None:
        """A step from the store, where the tail of this process does not reach back so far."""
        tail = self._tail
        self._breaks = tail.breaks
        batch = await self._tails.catch_up(tail.key, self.position)
        self._start = batch.start
        lost = self._is_exact and batch.start != self.position
        self._is_exact = True
        self.position = batch.events[-1][0] if batch.events else batch.start
        is_all = len(batch.events) < _BATCH
        if is_all and not tail.is_open:
            self._tails.open(tail, Batch(self.position, batch.last, (), batch.end))
        self._is_behind = not is_all or self.position < tail.start
        return Step(batch.events, lost) if batch.events or lost else None

    def close(self) -> None:
        """Follow no longer."""
        self._tails.release(self._tail)


class Tails:
    """The tails of one event loop."""

    def __init__(self, events: EventLog) -> None:
        self._log = events
        self._tails: dict[str, Tail] = {}
        self._dirty: set[str] = set()
        self._fetches: list[tuple[str, int, asyncio.Future[Batch]]] = []
        """Readers that wait for what follows a position in a log."""
        self._appends = Appends(events, self._on_wake)
        self._watch: Watch | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._tails)

    # Following

    def reader(self, key: str) -> Reader:
        """A reader of a log, to be closed."""
        return Reader(self, key)

    def hold(self, key: str) -> Tail:
        """The tail of a log, which is followed from now on."""
        tail = self._tails.get(key)
        if tail is None:
            tail = self._tails[key] = Tail(key)
            if self._watch is not None:
                self._watch.follow([key])
            else:
                self._run("watch", self._open_watch)
        tail.readers += 1
        return tail

    def open(self, tail: Tail, batch: Batch) -> None:
        """Let a tail begin behind a batch that was read to the end."""
        if not tail.is_open:
            tail.is_open = True
            tail.start = tail.last = batch.start
            tail.extend(batch)
            if tail.seen_wake:
                self._on_wake({tail.key: NOW})

    def release(self, tail: Tail) -> None:
        """One reader less; the last one ends the following."""
        tail.readers -= 1
        if not tail.readers and self._tails.get(tail.key) is tail:
            del self._tails[tail.key]
            self._dirty.discard(tail.key)
            if self._watch is not None:
                self._watch.unfollow([tail.key])

    async def _open_watch(self) -> None:
        while self._watch is None:
            try:
                self._watch = await self._log.watch(self._on_wake)
            except Unavailable:
                await asyncio.sleep(_RETRY_SECONDS)
        self._watch.follow(list(self._tails))
        self._on_wake(None)

    def _on_wake(self, news: News | None) -> None:
        for key, new in (dict.fromkeys(self._tails, NOW) if news is None else news).items():
            tail = self._tails.get(key)
            if tail is None:
                continue
            if not tail.is_open:
                tail.seen_wake = True
            elif isinstance(new, Batch) and new.start == tail.last:
                tail.extend(new)
            elif (new.last if isinstance(new, Batch) else new) > tail.last:
                self._dirty.add(key)
        if self._dirty:
            self._run("fetch", self._fetch)

    async def _fetch(self) -> None:
        """Read what is new of all logs that are known to have gone on."""
        while self._dirty:
            asked = {key: self._tails[key].last for key in self._dirty if self._tails[key].is_open}
            self._dirty.clear()
            try:
                found = await self._log.read(asked, limit=_BATCH)
            except Unavailable:
                await asyncio.sleep(_RETRY_SECONDS)
                self._dirty.update(asked.keys() & self._tails.keys())
                continue
            for key, batch in found.items():
                tail = self._tails.get(key)
                if tail is None:
                    continue
                if batch.start != asked[key]:
                    tail.restart(batch)
                else:
                    tail.extend(batch)
                if len(batch.events) >= _BATCH:
                    self._dirty.add(key)

    async def catch_up(self, key: str, position: int) -> Batch:
        """What follows a position, from the store: one read for all who wait, however far behind they are."""
        found: asyncio.Future[Batch] = asyncio.get_running_loop().create_future()
        self._fetches.append((key, position, found))
        self._run("catch up", self._catch_up)
        return await found

    async def _catch_up(self) -> None:
        while self._fetches:
            fetches, self._fetches = [one for one in self._fetches if not one[2].done()], []
            asked: dict[str, int] = {}
            for key, position, _ in fetches:
                asked[key] = min(asked.get(key, NOW), position)
            try:
                found = await self._log.read(asked, limit=_BATCH)
            except Exception as error:
                for _, _, waiting in fetches:
                    if not waiting.done():
                        waiting.set_exception(error)
                continue
            for key, position, waiting in fetches:
                part = _part(found.get(key) or Batch(asked[key], asked[key]), asked[key], position)
                if part is None:
                    self._fetches.append((key, position, waiting))  # farther on than this batch: the next one
                elif not waiting.done():
                    waiting.set_result(part)

    async def append(self, entry: Entry) -> Appended | None:
        """Append to a log, together with all who do so at the same time; None if it has ended."""
        return await self._appends.append(entry)

    # Tasks, which run while there is something to do

    def _run(self, name: str, work: Any) -> None:
        task = self._tasks.get(name)
        if (task is None or task.done()) and not self._is_closed:
            self._tasks[name] = asyncio.get_running_loop().create_task(work(), context=Context())

    async def close(self) -> None:
        """End the watch. Whoever still follows hears nothing any more."""
        self._is_closed = True
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        await self._appends.close()
        if self._watch is not None:
            await self._watch.close()
            self._watch = None


def _part(batch: Batch, asked: int, position: int) -> Batch | None:
    """Of a batch that was asked for from `asked` on, what follows `position`; None if that is farther on."""
    if position == asked:
        return batch
    if position == NOW:
        return Batch(batch.last, batch.last, (), batch.end, batch.head)
    last = batch.events[-1][0] if batch.events else batch.last
    is_all = len(batch.events) < _BATCH
    if position >= last and not is_all:
        return None
    before = max((number for number, _ in batch.events if number <= position), default=batch.start)
    events = [one for one in batch.events if one[0] > position]
    return Batch(before if events else batch.last, batch.last, events, batch.end, batch.head)
