"""Event logs in this process's memory."""

import heapq
from asyncio import AbstractEventLoop, get_running_loop
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from threading import Lock

from .base import check_name
from .log import DAY, MICROSECONDS, Appended, Batch, Entry, KeyedWatch, News, OnWake


class _Log:
    __slots__ = ("bytes", "end", "events", "expires_at", "floor", "head", "last", "life", "tip")

    def __init__(self, last: int, expires_at: float) -> None:
        self.events: deque[tuple[int, bytes]] = deque()
        self.bytes = 0
        self.floor = self.tip = self.last = last
        self.end: bytes | None = None
        self.head: bytes | None = None
        self.life = 0.0
        self.expires_at = expires_at

    def append(self, entry: Entry, now: int) -> Batch:
        start, first = self.last, max(self.last + 1, now)
        events = list(enumerate(entry.events, first))
        self.events.extend(events)
        self.bytes += sum(map(len, entry.events))
        self.end = entry.end
        self.head = entry.head if self.head is None else self.head
        self.life = entry.life
        if events:
            self.tip = events[-1][0]
        if count := len(events) + (entry.end is not None):
            self.last = first + count - 1
        while events and (len(self.events) > entry.keep or (self.bytes > entry.keep_bytes and len(self.events) > 1)):
            self._drop()
        return Batch(start, self.last, events, self.end, self.head)

    def expire(self, now: int) -> None:
        while self.events and self.events[0][0] <= now - self.life * MICROSECONDS:
            self._drop()

    def _drop(self) -> None:
        self.floor, event = self.events.popleft()
        self.bytes -= len(event)

    def after(self, position: int, limit: int) -> Batch:
        events: list[tuple[int, bytes]] = []
        start = self.floor
        for number, event in reversed(self.events):  # who reads is mostly near the end
            if number <= position:
                start = number
                break
            events.append((number, event))
        events.reverse()
        end = self.end if len(events) < limit else None
        return Batch(start if events else self.tip, self.last, events[:limit], end, self.head)


class MemoryLog:
    """Keeps every promise of `EventLog` within one process, for all its event loops and threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logs: dict[str, _Log] = {}
        self._queue: list[tuple[float, str]] = []
        self._lock = Lock()
        self._watches: set[_MemoryWatch] = set()

    def _find(self, key: str, now: float, life: float) -> _Log:
        check_name(key)
        log = self._logs.get(key)
        if log is None or log.expires_at <= now:
            last = int(now * MICROSECONDS) - 1
            log = self._logs[key] = _Log(last if log is None else max(last, log.last), now + life)
            self._queue_up(key, log)
        return log

    def _queue_up(self, key: str, log: _Log) -> None:
        heapq.heappush(self._queue, (log.expires_at, key))
        if len(self._queue) > 4 * len(self._logs) + 1_000:
            self._queue = [(one.expires_at, name) for name, one in self._logs.items()]
            heapq.heapify(self._queue)

    async def append(self, entries: Sequence[Entry]) -> list[Appended | None]:
        appended: list[Appended | None] = []
        news: dict[str, int | Batch] = {}
        with self._lock:
            now = self._clock()
            for entry in entries:
                log = self._find(entry.key, now, entry.remember)
                if log.end is not None:
                    appended.append(None)
                    continue
                batch = log.append(entry, int(now * MICROSECONDS))
                log.expires_at = now + entry.remember
                self._queue_up(entry.key, log)
                appended.append(Appended(batch.start, batch.last))
                news[entry.key] = log.last if entry.key in news else batch
            watches = tuple(self._watches)
        for watch in watches:
            watch.tell(news)
        return appended

    async def read(self, after: Mapping[str, int], *, limit: int = 256, begin: bool = True) -> dict[str, Batch]:
        found: dict[str, Batch] = {}
        with self._lock:
            now = self._clock()
            for key, position in after.items():
                if not begin and key not in self._logs:
                    continue
                log = self._find(key, now, DAY)
                log.expire(int(now * MICROSECONDS))
                if log.last != position:
                    found[key] = log.after(position, limit)
        return found

    async def watch(self, on_wake: OnWake) -> "_MemoryWatch":
        return _MemoryWatch(self._watches, on_wake)

    async def purge(self, *, limit: int = 500) -> int:
        removed = 0
        with self._lock:
            now = self._clock()
            while removed < limit and self._queue and self._queue[0][0] <= now:
                _, key = heapq.heappop(self._queue)
                log = self._logs.get(key)
                if log is not None and log.expires_at <= now:
                    del self._logs[key]
                    removed += 1
        return removed


class _MemoryWatch(KeyedWatch):
    """Hears of appends of all loops and threads of the process."""

    def __init__(self, watches: "set[_MemoryWatch]", on_wake: OnWake) -> None:
        super().__init__(on_wake)
        self._loop: AbstractEventLoop = get_running_loop()
        self._watches = watches
        watches.add(self)

    def tell(self, news: News) -> None:
        if own := self._own(news):
            with suppress(RuntimeError):  # a loop that was closed without its watch
                self._loop.call_soon_threadsafe(self._on_wake, own, context=Context())

    async def close(self) -> None:
        self._watches.discard(self)
