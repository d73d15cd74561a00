"""Event logs in SQL: a row for each log, a row for each event. What both databases share.

An event's row has its number and the bytes of all events before it, and a log's row the first of both that are kept:
what is not kept any more is invisible at once, and is deleted when there is time.
"""

import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from .base import check_name
from .log import DAY, MICROSECONDS, Batch

T = TypeVar("T")
Rows = Sequence[Sequence[Any]]
Flow = Generator[tuple[str, Sequence[Any]], Rows, T]

# Only constants of this module and placeholders are ever put together here, hence:

TRIM_EVERY: Final = 64
"""Events of one log between two deletions of those that are not kept."""
_NEVER: Final = -(1 << 60)


def kept(event: str, log: str, now: str) -> str:
    """The condition under which an event of a log is kept, in SQL."""
    return f"""({event}.id > {log}.floor AND {event}.id > {now} - {log}.life
        AND {event}.number > {log}.cut_number AND {event}.begins >= {log}.cut_bytes)"""


def cuts(events: Sequence[bytes], keep: int, keep_bytes: int) -> tuple[int, int]:
    """The number and the bytes before the first event that is kept, counted from the first of these events."""
    if not events:
        return _NEVER, _NEVER
    size = len(events[-1])
    if size > keep_bytes:  # the newest is kept, and nothing beside it
        return len(events) - 1, sum(map(len, events)) - size
    return len(events) - keep, sum(map(len, events)) - keep_bytes


# `$1` is {"key": position, …}, `$2` the most events of a log less 1. Of a log that is not there: a row of NULLs.
_READ: Final = """
    SELECT w.key, l.last, l.tip, l.ended, l.head, e.previous, e.id, e.data
    FROM {each} AS w
    LEFT JOIN poto_logs l ON l.key = w.key AND l.expires_at > {now}
    LEFT JOIN poto_events e ON e.log = l.id AND e.id > CAST(w.value AS BIGINT) AND {kept}
        AND e.id <= COALESCE((
            SELECT o.id FROM poto_events o WHERE o.log = l.id AND o.id > CAST(w.value AS BIGINT) AND {kept_of_others}
            ORDER BY o.id LIMIT 1 OFFSET $2), l.last)
    WHERE l.id IS NULL OR l.last <> CAST(w.value AS BIGINT)
    ORDER BY l.id, e.id"""
# `$1` is {"key": …}, `$2` how long the log is remembered.
# The clock is read once: a log that begins is empty, all its positions are the same.
_BEGIN: Final = """
    INSERT INTO poto_logs AS l (key, floor, previous, tip, last, number, bytes, cut_number, cut_bytes, life, expires_at)
    SELECT w.key, n.t - 1, n.t - 1, n.t - 1, n.t - 1, 0, 0, 0, 0, 0, n.t + $2
    FROM {each} AS w CROSS JOIN (SELECT {now} AS t) AS n WHERE true ORDER BY w.key
    ON CONFLICT (key) DO UPDATE SET last = {greatest}(l.last, excluded.last), floor = {greatest}(l.last, excluded.last),
        previous = {greatest}(l.last, excluded.last), tip = {greatest}(l.last, excluded.last),
        ended = NULL, head = NULL, expires_at = excluded.expires_at
        WHERE l.expires_at <= {now}"""
_PURGE: Final = """
    DELETE FROM poto_logs WHERE id IN
    (SELECT id FROM poto_logs WHERE expires_at <= {now} ORDER BY expires_at LIMIT $1 {skip_locked}) RETURNING id"""

TABLES: Final = (
    """
    CREATE TABLE IF NOT EXISTS poto_logs
    (id {id_type}, key TEXT {collation} NOT NULL UNIQUE, floor BIGINT NOT NULL, previous BIGINT NOT NULL,
    tip BIGINT NOT NULL, last BIGINT NOT NULL, number BIGINT NOT NULL, bytes BIGINT NOT NULL,
    cut_number BIGINT NOT NULL, cut_bytes BIGINT NOT NULL, life BIGINT NOT NULL, expires_at BIGINT NOT NULL,
    ended {bytes_type}, head {bytes_type})""",
    "CREATE INDEX IF NOT EXISTS poto_logs_expires_at ON poto_logs (expires_at)",
    """
    CREATE TABLE IF NOT EXISTS poto_events
    (log BIGINT NOT NULL REFERENCES poto_logs (id) ON DELETE CASCADE, id BIGINT NOT NULL, previous BIGINT NOT NULL,
    number BIGINT NOT NULL, begins BIGINT NOT NULL, data {bytes_type} NOT NULL, PRIMARY KEY (log, id))""",
)


class LogDriver(Protocol):
    """What logs need of a database (see `sql.Driver`)."""

    skip_locked: str

    async def read(self, sql: str, arguments: Sequence[Any]) -> Rows: ...

    async def execute(self, sql: str, arguments: Sequence[Any]) -> Rows: ...

    async def transact(self, flow: Flow[T]) -> T: ...


class SqlLog:
    """Reading and purging, for both databases. `now` is the clock's microseconds in SQL."""

    def __init__(self, db: LogDriver, *, now: str, each: str, greatest: str) -> None:
        self._db = db
        parts = {"now": now, "each": each, "greatest": greatest, "skip_locked": db.skip_locked}
        parts |= {"kept": kept("e", "l", now), "kept_of_others": kept("o", "l", now)}
        self._read, self._begin, self._purge = (sql.format(**parts) for sql in (_READ, _BEGIN, _PURGE))

    def _clock(self) -> tuple[int, ...]:
        """The arguments that `now` stands for."""
        return ()

    async def read(self, after: Mapping[str, int], *, limit: int = 256, begin: bool = True) -> dict[str, Batch]:
        for key in after:
            check_name(key)
        while True:
            rows = await self._db.read(self._read, (json.dumps(after), limit - 1, *self._clock()))
            missing = {key: 0 for key, last, *_ in rows if last is None}
            if not missing or not begin:
                return _batches(rows, limit)
            await self._db.execute(self._begin, (json.dumps(missing), int(DAY * MICROSECONDS), *self._clock()))

    async def purge(self, *, limit: int = 500) -> int:
        return len(await self._db.execute(self._purge, (limit, *self._clock())))


def _batches(rows: Rows, limit: int) -> dict[str, Batch]:
    found: dict[str, list[Sequence[Any]]] = {}
    for row in rows:
        if row[1] is not None:
            found.setdefault(row[0], []).append(row)
    batches = {}
    for key, own in found.items():
        _, last, tip, ended, head, previous, *_ = own[0]
        events = [(number, bytes(data)) for *_, number, data in own if number is not None]
        batches[key] = Batch(
            tip if previous is None else previous,
            last,
            events,
            None if ended is None or len(events) >= limit else bytes(ended),
            None if head is None else bytes(head),
        )
    return batches
