"""Event logs in PostgreSQL: one statement appends to any number of them, and NOTIFY wakes who listens."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import Context
from secrets import token_hex
from typing import Any, Final

from ..errors import Unavailable
from .base import check_name
from .log import MICROSECONDS, Appended, Entry, KeyedWatch, OnWake
from .log_sql import TRIM_EVERY, LogDriver, SqlLog, cuts, kept
from .per_loop import PerLoop

log = logging.getLogger("fastapi_poto")

CHANNEL: Final = "poto_log"
_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_EXPIRED: Final = "l.expires_at <= excluded.floor + 1"
"""Of a log that is appended to: by the clock as it was read for its row, so that all columns agree."""
_MOST_BYTES: Final = 7_000
"""Of one NOTIFY, which may have 8,000."""
_BEAT_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.05

# The row of a log is locked before its ids are given, so they rise in the order of commits. `count` events and
# perhaps an end have `ids` ids. What a concurrent append wrote is not seen by this statement's deletion: the next
# one finds it.
_APPEND: Final = f"""
    WITH given AS MATERIALIZED (
        SELECT g.*, count + (ended IS NOT NULL)::int AS ids, {_NOW} AS now FROM unnest($1::text[], $2::bigint[],
            $3::bigint[], $4::bytea[], $5::bytea[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
            AS g(key, count, size, ended, head, cut_number, cut_bytes, life, remember)
    ), held AS (
        INSERT INTO poto_logs AS l
            (key, floor, previous, tip, last, number, bytes, ended, head, cut_number, cut_bytes, life, expires_at)
        SELECT key, now - 1, now - 1, now - 1 + count, now - 1 + ids, count, size, ended, head,
            cut_number, cut_bytes, life, now + remember
        FROM given ORDER BY key
        ON CONFLICT (key) DO UPDATE SET
            floor = CASE WHEN {_EXPIRED} THEN greatest(l.last, excluded.floor) ELSE l.floor END,
            previous = CASE WHEN {_EXPIRED} THEN greatest(l.last, excluded.floor) ELSE l.last END,
            tip = CASE WHEN excluded.number > 0 THEN greatest(l.last, excluded.floor) + excluded.number
                WHEN {_EXPIRED} THEN greatest(l.last, excluded.floor) ELSE l.last END,
            last = CASE WHEN excluded.last = excluded.floor THEN l.last
                ELSE greatest(l.last, excluded.floor) + excluded.last - excluded.floor END,
            number = l.number + excluded.number, bytes = l.bytes + excluded.bytes, ended = excluded.ended,
            head = CASE WHEN {_EXPIRED} THEN excluded.head ELSE COALESCE(l.head, excluded.head) END,
            cut_number = greatest(l.cut_number, l.number + excluded.cut_number),
            cut_bytes = greatest(l.cut_bytes, l.bytes + excluded.cut_bytes), life = excluded.life,
            expires_at = excluded.expires_at
        WHERE l.ended IS NULL OR {_EXPIRED}
        RETURNING *
    ), put AS (
        INSERT INTO poto_events (log, id, previous, number, begins, data)
        SELECT h.id, h.last - g.ids + e.place, CASE WHEN e.place = 1 THEN h.previous ELSE h.last - g.ids + e.place - 1
            END, h.number - g.count + e.place, h.bytes - g.size + e.begins, e.data
        FROM unnest($10::text[], $11::bigint[], $12::bigint[], $13::bytea[]) AS e(key, place, begins, data)
        JOIN held h USING (key) JOIN given g USING (key)
    ), trimmed AS (
        DELETE FROM poto_events e USING held h, given g
        WHERE e.log = h.id AND g.key = h.key AND h.number / {TRIM_EVERY} > (h.number - g.count) / {TRIM_EVERY}
            AND NOT {kept("e", "h", "g.now")}
    )
    SELECT key, previous, last FROM held"""  # noqa: S608 - constants


class PostgresLog(SqlLog):
    """Keeps every promise of `EventLog` over many machines.

    NOTIFY comes after the commit, one at a time for each process: inside the transaction it would make all commits of
    the server wait for each other. Behind PgBouncer's transaction mode nothing can be listened to: that is noticed,
    and the logs that are followed are looked at every 50 ms.
    """

    def __init__(self, db: LogDriver, connect: Callable[[], Awaitable[Any]]) -> None:
        """`connect` gives a connection of asyncpg's for a watch alone."""
        super().__init__(db, now=_NOW, each="json_each_text($1::json)", greatest="greatest")
        self._connect = connect
        self._notifier = PerLoop(lambda: _Notifier(db))

    async def append(self, entries: Sequence[Entry]) -> list[Appended | None]:
        for entry in entries:
            check_name(entry.key)
        if not entries:
            return []
        rows = await self._db.execute(_APPEND, _columns(entries))
        self._notifier.get().tell({key: last for key, _, last in rows})
        appended = {key: Appended(previous, last) for key, previous, last in rows}
        return [appended.get(entry.key) for entry in entries]

    async def watch(self, on_wake: OnWake) -> "_PostgresWatch":
        await self._db.read("SELECT 1", ())

        async def notify(message: str) -> None:
            await self._db.execute("SELECT pg_notify($1, $2)", (CHANNEL, message))

        return _PostgresWatch(self._connect, notify, on_wake)

    async def close(self) -> None:
        """Send what is still to be told of this loop's appends."""
        notifier = self._notifier.pop()
        if notifier is not None:
            await notifier.finished()


def _columns(entries: Sequence[Entry]) -> list[list[Any]]:
    heads: list[Sequence[Any]] = []
    events: list[Sequence[Any]] = []
    for entry in entries:
        begins = 0
        for place, event in enumerate(entry.events, 1):
            events.append((entry.key, place, begins, event))
            begins += len(event)
        lives = int(entry.life * MICROSECONDS), int(entry.remember * MICROSECONDS)
        cut = cuts(entry.events, entry.keep, entry.keep_bytes)
        heads.append((entry.key, len(entry.events), begins, entry.end, entry.head, *cut, *lives))
    return [*map(list, zip(*heads, strict=True)), *(map(list, zip(*events, strict=True)) if events else ([],) * 4)]


class _Notifier:
    """Sends what is new, one NOTIFY at a time: what comes meanwhile goes out together."""

    def __init__(self, db: LogDriver) -> None:
        self._db = db
        self._news: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def tell(self, news: dict[str, int]) -> None:
        self._news |= news
        if self._news and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    async def finished(self) -> None:
        """Return when all has been sent."""
        if self._task is not None:
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while self._news:
            news, self._news = self._news, {}
            message = json.dumps(news)
            if len(message) > _MOST_BYTES:
                message = "{}"
            try:
                await self._db.execute("SELECT pg_notify($1, $2)", (CHANNEL, message))
            except Unavailable:
                return  # who listens looks by itself, too


class _PostgresWatch(KeyedWatch):
    """One connection that listens, for as long as it lives and again after that."""

    def __init__(
        self, connect: Callable[[], Awaitable[Any]], notify: Callable[[str], Awaitable[None]], on_wake: OnWake
    ) -> None:
        super().__init__(on_wake)
        self._connect = connect
        self._notify = notify
        self._nonce = token_hex(8)
        self._heard = asyncio.Event()
        self._warned = False
        self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while True:
            connection = None
            try:
                connection = await self._connect()
                await connection.add_listener(CHANNEL, self._hear)
                await self._listen(connection)
            except Exception as error:  # whatever the driver says: it is tried again
                log.debug("The connection that listens was lost: %s", error)
            finally:
                if connection is not None:
                    connection.terminate()
            self._wake_all()
            await asyncio.sleep(_BEAT_SECONDS / 4)

    async def _listen(self, connection: Any) -> None:
        """Return, or raise, when the connection is lost."""
        loop = asyncio.get_running_loop()
        while True:
            self._heard.clear()
            end = loop.time() + _BEAT_SECONDS
            async with asyncio.timeout(_BEAT_SECONDS):
                await connection.execute("SELECT 1")  # a connection whose other end is gone says nothing by itself
            # By another connection: what the listening one sends comes back to it even where nothing else does.
            await self._notify(self._nonce)
            self._wake_all()
            # Until what was sent has come back, nothing can be relied on to arrive.
            while not self._heard.is_set() and loop.time() < end:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_SECONDS):
                        await self._heard.wait()
                self._wake_all()
            await asyncio.sleep(max(0.0, end - loop.time()))
            if not self._heard.is_set() and not self._warned:
                self._warned = True
                log.warning(
                    "PostgreSQL's notifications do not arrive (PgBouncer in transaction mode?): logs that are followed "
                    "are looked at every %d ms. Give a URL past the pooler, or use its session mode.",
                    1000 * _POLL_SECONDS,
                )

    def _hear(self, connection: Any, sender: int, channel: str, message: str) -> None:
        if message == self._nonce:
            self._heard.set()
            return
        with suppress(ValueError):
            sent = json.loads(message)
            news = self._own(sent)
            if news or not sent:
                self._on_wake(news or None)
