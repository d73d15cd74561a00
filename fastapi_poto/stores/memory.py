"""Records in this process's memory."""

import heapq
from collections.abc import Callable, Sequence
from math import inf
from threading import Lock
from typing import Any

from ..settings import wall_clock
from .base import Life, Page, Terms, Wanted, check_name, check_room, life_left, life_of
from .local import LocalStore, Plan
from .log import EventLog
from .log_memory import MemoryLog


class _Record:
    """`expires_at` never passes `ends_at`. A barred one does not exist, and keeps others from making it."""

    __slots__ = ("barred", "ends_at", "expires_at", "fields", "queued_at")

    def __init__(self) -> None:
        self.fields: dict[str, bytes] = {}
        self.expires_at = self.ends_at = self.queued_at = inf
        self.barred = False


class MemoryStore(LocalStore):
    """Keeps every promise of `Store` within one process, for all its event loops and threads; ends with it.

    Other processes see nothing of it: with several workers, every worker would know other sessions.
    """

    def __init__(self, *, clock: Callable[[], float] = wall_clock) -> None:
        self._clock = clock
        self.log: EventLog = MemoryLog(clock)
        self._records: dict[str, _Record] = {}
        self._queue: list[tuple[float, str]] = []
        # Held for dictionary operations only, never over an await.
        self._lock = Lock()

    def _find(self, name: str) -> _Record | None:
        record = self._records.get(name)
        if record is None or (record.expires_at == inf and not record.barred):
            return record
        if record.expires_at <= self._clock():
            del self._records[name]
            return None
        return None if record.barred else record

    def _obtain(self, name: str, create: bool | Life) -> _Record | None:
        found = self._find(name)
        return _Record() if found is None and create and name not in self._records else found

    def _keep(self, name: str, record: _Record, create: bool | Life, expires_in: float | None) -> None:
        if self._records.get(name) is not record:
            self._records[name] = record
            expires_in, ends_in = life_of(create, expires_in)
            record.ends_at = inf if ends_in is None else self._clock() + ends_in
        if expires_in is not None:
            self._expire(name, record, min(self._clock() + expires_in, record.ends_at))

    def _expire(self, name: str, record: _Record, at: float) -> None:
        record.expires_at = at
        # One queue entry a record, moved on when it comes up: a life that is prolonged often costs nothing.
        if at < record.queued_at:
            self._queue_up(at, name, record)

    def _queue_up(self, at: float, name: str, record: _Record) -> None:
        record.queued_at = at
        heapq.heappush(self._queue, (at, name))
        if len(self._queue) > 2 * len(self._records) + 1_000:  # of records that were deleted since
            self._queue = [(one.queued_at, key) for key, one in self._records.items() if one.queued_at < inf]
            heapq.heapify(self._queue)

    # Reads need no lock: a record's dictionary is never changed, but replaced.

    async def read(self, record: str, fields: Sequence[str] | None = None) -> dict[str, bytes] | None:
        return self._read(record, fields, self._clock())

    async def read_many(self, wanted: Sequence[Wanted]) -> list[dict[str, bytes] | None]:
        now, found = self._clock(), []
        for record, fields in wanted:
            found.append(self._read(record, fields, now))
        return found

    def _read(self, record: str, fields: Sequence[str] | None, now: float) -> dict[str, bytes] | None:
        found = self._records.get(record)
        if found is None:
            check_name(record)
            return None
        if found.barred or found.expires_at <= now:
            return None
        kept = found.fields
        if fields is None:
            return kept.copy()
        read = {}
        for field in fields:  # a comprehension would be a function more in every call
            if field in kept:
                read[field] = kept[field]
        return read

    async def _change(self, record: str, plan: Plan, terms: Terms) -> Any:
        check_name(record)
        create, most = terms.get("create", False), terms.get("max_fields")
        with self._lock:
            found = self._obtain(record, create)
            if found is None:
                return None
            fields = found.fields
            result, changes = plan(fields.get)
            if changes is None:
                return result
            if most is not None and len(fields) + len(changes) > most:
                check_room(fields, changes, most)
            found.fields = {name: value for name, value in {**fields, **changes}.items() if value is not None}
            self._keep(record, found, create, terms.get("expires_in"))
            return result

    async def delete(self, record: str, *, bar_for: float = 0.0) -> bool:
        check_name(record)
        with self._lock:
            found = self._find(record)
            if found is not None:
                del self._records[record]
            if bar_for:
                bar = _Record()
                bar.barred = True
                self._records[record] = bar  # now, for those who read without the lock
                self._expire(record, bar, self._clock() + bar_for)
            return found is not None

    async def names(self, prefix: str, *, cursor: str | None = None, limit: int = 1000) -> Page:
        with self._lock:
            after = [name for name in self._records if name.startswith(prefix) and (cursor is None or name > cursor)]
            found = heapq.nsmallest(limit, after)
            return Page(
                [name for name in found if self._find(name) is not None], found[-1] if len(after) > limit else None
            )

    async def life(self, record: str) -> Life | None:
        check_name(record)
        with self._lock:
            found = self._find(record)
            return None if found is None else life_left(self._clock(), found.expires_at, found.ends_at)

    async def purge(self, *, limit: int = 500) -> int:
        removed = 0
        with self._lock:
            now = self._clock()
            while removed < limit and self._queue and self._queue[0][0] <= now:
                _, name = heapq.heappop(self._queue)
                record = self._records.get(name)
                if record is None:
                    continue
                if record.expires_at <= now:
                    del self._records[name]
                    removed += 1
                elif record.queued_at <= now:
                    self._queue_up(record.expires_at, name, record)
        return removed + await self.log.purge(limit=limit)

    async def ping(self) -> None:
        return None

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None
