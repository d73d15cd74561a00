"""Records in an SQLite file: a row for each record, a row for each of its fields.

Plain sqlite3, not SQLAlchemy: on the same work that took two to six times as long (see docs/sessions.md).
"""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from ..errors import ConfigurationError
from ..settings import wall_clock
from .base import Life, Page, Terms, Wanted, check_name, check_room, life_left, life_of, range_of, take_number
from .local import Changes, LocalStore, Plan
from .log import EventLog
from .log_sqlite import SqliteLog
from .sqlite_file import SqliteFile

_SYNCHRONOUS = {"off", "normal", "full", "extra"}

# Only constants of this module and placeholders are ever put together here, hence:
# ruff: noqa: S608

_LIVE = "(r.expires_at IS NULL OR r.expires_at > ?)"
_FIND = f"SELECT r.id, r.barred FROM poto_records r WHERE r.name = ? AND {_LIVE}"
_READ = f"""
    SELECT f.field, f.value FROM poto_records r LEFT JOIN poto_fields f ON f.record = r.id {{only}}
    WHERE r.name = ? AND {_LIVE} AND NOT r.barred"""
_CREATE = "INSERT INTO poto_records (name, expires_at, ends_at) VALUES (?, ?, ?)"
_PROLONG = "UPDATE poto_records SET expires_at = CASE WHEN ends_at < :at THEN ends_at ELSE :at END WHERE id = :row"
_UPSERT = "INSERT INTO poto_fields VALUES (?, ?, ?) ON CONFLICT (record, field) DO UPDATE SET value = excluded.value"
_NAMES = f"""
    SELECT r.name FROM poto_records r WHERE r.name >= ? AND r.name < ? AND {_LIVE} AND NOT r.barred
    ORDER BY r.name LIMIT ?"""
_LIFE = f"SELECT r.expires_at, r.ends_at FROM poto_records r WHERE r.name = ? AND {_LIVE} AND NOT r.barred"
_PURGE = """
    DELETE FROM poto_records WHERE id IN
    (SELECT id FROM poto_records WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"""


class SqliteStore(LocalStore):
    """Records in a file that the processes of one machine share, in WAL mode: readers never wait for writers.

    A write waits for those of other processes, until nothing could be written for `busy_timeout` seconds. What was
    acknowledged survives the death of any process; a power cut may take the last moments with it unless
    `synchronous=full`. The file is made with mode 0600; tables are made, or brought up to date, at the first use.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = wall_clock) -> None:
        """`sqlite:///relative.db`, `sqlite:////absolute.db`; `?busy_timeout=5&synchronous=full`."""
        location, _, query = url.partition("://")[2].partition("?")
        options = dict(parse_qsl(query))
        if location and not location.startswith("/"):
            raise ConfigurationError(f"{url!r}: write three slashes, sqlite:///file.db, or four for /an/absolute/path.")
        path = unquote(location[1:])
        if not path or path.startswith(":memory:"):
            raise ConfigurationError("An SQLite store needs a file: sqlite:///file.db. In memory is memory://.")
        synchronous = options.pop("synchronous", "normal")
        if synchronous.lower() not in _SYNCHRONOUS:
            raise ConfigurationError(f"synchronous={synchronous!r}: one of {', '.join(sorted(_SYNCHRONOUS))}.")
        try:
            busy_timeout = take_number(options, "busy_timeout", 5.0)
        except ValueError as error:
            raise ConfigurationError(f"{url!r}: {error}") from None
        if options:
            raise ConfigurationError(f"{url!r}: the options are busy_timeout and synchronous.")
        self._clock = clock
        self._file = SqliteFile(Path(path), busy_timeout=busy_timeout, synchronous=synchronous)
        self.log: EventLog = SqliteLog(self._file, path, clock)

    async def read(self, record: str, fields: Sequence[str] | None = None) -> dict[str, bytes] | None:
        check_name(record)
        return await self._file.reading(partial(_read, record=record, fields=fields, now=self._clock()))

    async def read_many(self, wanted: Sequence[Wanted]) -> list[dict[str, bytes] | None]:
        now = self._clock()
        for record, _ in wanted:
            check_name(record)

        def work(db: sqlite3.Connection) -> list[dict[str, bytes] | None]:
            return [_read(db, record=record, fields=fields, now=now) for record, fields in wanted]

        return await self._file.reading(work)

    async def _change(self, record: str, plan: Plan, terms: Terms) -> Any:
        check_name(record)
        expires_in, most = terms.get("expires_in"), terms.get("max_fields")

        def work(db: sqlite3.Connection) -> Any:
            row, made = self._hold(db, record, terms.get("create", False), expires_in)
            if row is None:
                return None
            result, changes = plan(partial(_value, db, row))
            if changes is None:
                if made:
                    db.execute("DELETE FROM poto_records WHERE id = ?", (row,))
                return result
            if most is not None:
                _check_room(db, row, changes, most)
            if expires_in is not None and not made:
                db.execute(_PROLONG, {"at": self._clock() + expires_in, "row": row})
            for field, value in changes.items():
                if value is None:
                    db.execute("DELETE FROM poto_fields WHERE record = ? AND field = ?", (row, field))
                else:
                    db.execute(_UPSERT, (row, field, value))
            return result

        return await self._file.writing(work)

    async def delete(self, record: str, *, bar_for: float = 0.0) -> bool:
        check_name(record)

        def work(db: sqlite3.Connection) -> bool:
            now = self._clock()
            found = db.execute(_FIND, (record, now)).fetchone()
            if found is None or not found[1] or bar_for:
                db.execute("DELETE FROM poto_records WHERE name = ?", (record,))
            if bar_for:
                bar = "INSERT INTO poto_records (name, expires_at, barred) VALUES (?, ?, 1)"
                db.execute(bar, (record, now + bar_for))
            return found is not None and not found[1]

        return await self._file.writing(work)

    async def names(self, prefix: str, *, cursor: str | None = None, limit: int = 1000) -> Page:
        arguments = (*range_of(prefix, cursor), self._clock(), limit)
        rows = await self._file.reading(lambda db: db.execute(_NAMES, arguments).fetchall())
        return Page([name for (name,) in rows], rows[-1][0] if len(rows) == limit else None)

    async def life(self, record: str) -> Life | None:
        check_name(record)
        now = self._clock()
        found = await self._file.reading(lambda db: db.execute(_LIFE, (record, now)).fetchone())
        return None if found is None else life_left(now, *found)

    async def purge(self, *, limit: int = 500) -> int:
        removed = await self._file.writing(lambda db: db.execute(_PURGE, (self._clock(), limit)).rowcount)
        return removed + await self.log.purge(limit=limit)

    async def ping(self) -> None:
        await self.write("probe", {"at": b"%d" % self._clock()}, create=True)

    async def open(self) -> None:
        await self._file.open()

    async def close(self) -> None:
        await self._file.close()

    # In the writer's thread

    def _hold(
        self, db: sqlite3.Connection, record: str, create: bool | Life, expires_in: float | None
    ) -> tuple[int | None, bool]:
        """The record's row, and whether it was made here; none if there is no record, or its name is barred."""
        now = self._clock()
        found = db.execute(_FIND, (record, now)).fetchone()
        if found is not None:
            return None if found[1] else found[0], False
        if not create:
            return None, False
        db.execute("DELETE FROM poto_records WHERE name = ?", (record,))  # an expired one
        life, end = (None if one is None else now + one for one in life_of(create, expires_in))
        return db.execute(_CREATE, (record, life, end)).lastrowid, True


def _read(db: sqlite3.Connection, *, record: str, fields: Sequence[str] | None, now: float) -> dict[str, bytes] | None:
    only = f"AND f.field IN ({', '.join('?' * len(fields))})" if fields else ""
    rows = db.execute(_READ.format(only=only), (*(fields or ()), record, now)).fetchall()
    if not rows:
        return None
    if fields is not None and not fields:
        return {}
    return {field: bytes(value) for field, value in rows if field is not None}


def _value(db: sqlite3.Connection, row: int, field: str) -> bytes | None:
    found = db.execute("SELECT value FROM poto_fields WHERE record = ? AND field = ?", (row, field)).fetchone()
    return None if found is None else bytes(found[0])


def _check_room(db: sqlite3.Connection, row: int, changes: Changes, most: int) -> None:
    [count] = db.execute("SELECT count(*) FROM poto_fields WHERE record = ?", (row,)).fetchone()
    if count + len(changes) > most:
        fields = db.execute("SELECT field FROM poto_fields WHERE record = ?", (row,)).fetchall()
        check_room([field for (field,) in fields], changes, most)
