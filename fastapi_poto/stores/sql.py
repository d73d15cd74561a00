"""Records in SQL: a row for each record, a row for each of its fields.

The statements are the same for both databases; a driver (sqlite.py, postgres.py) runs them. What needs several
statements is written as a flow: a generator that yields statements, gets their rows, and knows nothing of I/O.
Plain drivers, not SQLAlchemy: on the same work that took two to six times as long (see docs/sessions.md).
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from ..errors import ConfigurationError, TooLarge
from .base import check_integer, check_name, parse_integer
from .log import EventLog
from .log_sql import TABLES as LOG_TABLES

T = TypeVar("T")
Statement = tuple[str, Sequence[Any]]
Rows = Sequence[Sequence[Any]]
Flow = Generator[Statement, Rows, T]

SCHEMA_VERSION = 1

# Only constants of this module and placeholders are ever put together here, hence:
# ruff: noqa: S608

_LIVE = "(r.expires_at IS NULL OR r.expires_at > $2)"
_FIND = f"SELECT r.id FROM poto_records r WHERE r.name = $1 AND {_LIVE}"
_READ = f"""
    SELECT f.field, f.value FROM poto_records r LEFT JOIN poto_fields f ON f.record = r.id {{only}}
    WHERE r.name = $1 AND {_LIVE}"""
_SET_ONE = f"""
    UPDATE poto_fields SET value = $4 FROM poto_records r
    WHERE poto_fields.record = r.id AND poto_fields.field = $3 AND r.name = $1 AND {_LIVE}"""
_CREATE = "INSERT INTO poto_records (name, expires_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING id"
_PROLONG = "UPDATE poto_records SET expires_at = $2 WHERE id = $1"
_REMOVE_EXPIRED = "DELETE FROM poto_records WHERE name = $1 AND expires_at <= $2"
_DELETE = "DELETE FROM poto_records WHERE name = $1 RETURNING expires_at"
_RENAME = f"""
    UPDATE poto_records SET name = $3 WHERE id IN ({_FIND} {{lock}})
    AND NOT EXISTS (SELECT 1 FROM poto_records WHERE name = $3) RETURNING id"""
_VALUE = "SELECT f.value FROM poto_fields f WHERE f.record = $1 AND f.field = $2 {lock}"
_UPSERT = """
    INSERT INTO poto_fields (record, field, value) VALUES {rows}
    ON CONFLICT (record, field) DO UPDATE SET value = excluded.value"""
_REMOVE = "DELETE FROM poto_fields WHERE record = $1 AND field IN ({fields})"
_SCAN = f"SELECT r.name FROM poto_records r WHERE substr(r.name, 1, length($1)) = $1 AND {_LIVE} LIMIT $3"
_PURGE = """
    DELETE FROM poto_records WHERE id IN
    (SELECT id FROM poto_records WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 {skip_locked}) RETURNING id"""
_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS poto_records
    (id {id_type}, name TEXT {collation} NOT NULL UNIQUE, expires_at DOUBLE PRECISION)""",
    "CREATE INDEX IF NOT EXISTS poto_records_expires_at ON poto_records (expires_at)",
    """
    CREATE TABLE IF NOT EXISTS poto_fields
    (record BIGINT NOT NULL REFERENCES poto_records (id) ON DELETE CASCADE,
    field TEXT {collation} NOT NULL, value {bytes_type} NOT NULL, PRIMARY KEY (record, field))""",
    "CREATE TABLE IF NOT EXISTS poto_schema (version BIGINT NOT NULL)",
    *LOG_TABLES,
)


class NameTakenError(Exception):
    """The driver met the unique index of names."""


class Driver(Protocol):
    """One database. Every method raises `Unavailable` if it cannot be reached."""

    lock: str
    """What makes a SELECT hold its rows until the transaction ends."""
    skip_locked: str
    """What makes it leave out rows that others hold."""
    optimistic: bool
    """Whether one statement on its own is worth trying before a transaction."""
    add_one: str | None
    """A statement that adds `$4` to the integer `$3` of the record `$1`, if the database can."""

    async def read(self, sql: str, arguments: Sequence[Any]) -> Rows:
        """Run one statement that only reads."""
        ...

    async def execute(self, sql: str, arguments: Sequence[Any]) -> Rows:
        """Run one statement on its own."""
        ...

    async def transact(self, flow: Flow[T]) -> T:
        """Run a flow in a transaction."""
        ...

    def event_log(self, clock: Callable[[], float]) -> EventLog:
        """The logs in this database."""
        ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class SqlStore:
    """Records in an SQLite file or in PostgreSQL. Keeps every promise of `SessionStore` over many processes.

    Writes to a record wait for each other on its row, which a write without `create` never makes. What was
    acknowledged is committed: see the drivers for what that survives. Tables are created by `open`, or when the
    store is first used.
    """

    def __init__(self, driver: Driver, *, clock: Callable[[], float] = time.time) -> None:
        self._db = driver
        self._clock = clock
        self.log: EventLog = driver.event_log(clock)

    async def read(self, record: str, fields: Sequence[str] | None = None) -> dict[str, bytes] | None:
        check_name(record)
        only = f"AND f.field IN ({_numbered(3, len(fields))})" if fields else ""
        rows = await self._db.read(_READ.format(only=only), (record, self._clock(), *(fields or ())))
        if not rows:
            return None
        if fields is not None and not fields:
            return {}
        return {field: bytes(value) for field, value in rows if field is not None}

    async def write(
        self,
        record: str,
        changes: Mapping[str, bytes | None],
        *,
        create: bool = False,
        expires_in: float | None = None,
        max_fields: int | None = None,
    ) -> bool:
        check_name(record)
        if self._db.optimistic and expires_in is None and len(changes) == 1:
            [(field, value)] = changes.items()
            if value is not None and await self._db.execute(
                f"{_SET_ONE} RETURNING 1", (record, self._clock(), field, value)
            ):
                return True
        return await self._db.transact(self._write(record, changes, create, expires_in, max_fields))

    async def add(
        self,
        record: str,
        field: str,
        by: int,
        *,
        create: bool = False,
        expires_in: float | None = None,
        max_fields: int | None = None,
    ) -> int | None:
        check_name(record)
        check_integer(by)
        if self._db.add_one is not None:
            rows = await self._db.execute(self._db.add_one, (record, self._clock(), field, by))
            if rows:
                return int(rows[0][0])
        return await self._db.transact(self._add(record, field, by, create, expires_in, max_fields))

    async def swap(
        self,
        record: str,
        field: str,
        old: bytes | None,
        new: bytes | None,
        *,
        create: bool = False,
        expires_in: float | None = None,
        max_fields: int | None = None,
    ) -> bool | None:
        check_name(record)
        if (
            self._db.optimistic
            and expires_in is None
            and old is not None
            and new is not None
            and await self._db.execute(
                f"{_SET_ONE} AND poto_fields.value = $5 RETURNING 1", (record, self._clock(), field, new, old)
            )
        ):
            return True
        return await self._db.transact(self._swap(record, field, old, new, create, expires_in, max_fields))

    async def delete(self, record: str) -> bool:
        check_name(record)
        rows = await self._db.execute(_DELETE, (record,))
        return bool(rows) and (rows[0][0] is None or rows[0][0] > self._clock())

    async def rename(self, record: str, new: str) -> bool:
        check_name(record)
        check_name(new)
        try:
            return await self._db.transact(self._rename(record, new))
        except NameTakenError:
            return False

    async def scan(self, prefix: str, *, limit: int = 1000) -> list[str]:
        rows = await self._db.read(
            _SCAN,
            (prefix, self._clock(), limit),
        )
        return [name for (name,) in rows]

    async def purge(self, *, limit: int = 500) -> int:
        sql = _PURGE.format(skip_locked=self._db.skip_locked)
        return len(await self._db.execute(sql, (self._clock(), limit))) + await self.log.purge(limit=limit)

    async def ping(self) -> None:
        await self._db.read("SELECT 1", ())

    async def open(self) -> None:
        await self._db.open()

    async def close(self) -> None:
        await self._db.close()

    # Flows

    def _write(
        self,
        record: str,
        changes: Mapping[str, bytes | None],
        create: bool,
        expires_in: float | None,
        max_fields: int | None,
    ) -> Flow[bool]:
        row, made = yield from self._hold(record, create, expires_in)
        if row is None:
            return False
        if expires_in is not None and not made:
            yield _PROLONG, (row, self._clock() + expires_in)
        if max_fields is not None:
            yield from self._check_room(row, changes, max_fields)
        yield from self._change(row, changes)
        return True

    def _add(
        self, record: str, field: str, by: int, create: bool, expires_in: float | None, max_fields: int | None
    ) -> Flow[int | None]:
        row, _ = yield from self._hold(record, create, expires_in)
        if row is None:
            return None
        value = yield from self._value(row, field)
        total = check_integer((0 if value is None else parse_integer(value)) + by)
        if value is None and max_fields is not None:
            yield from self._check_room(row, {field: b""}, max_fields)
        yield from self._change(row, {field: b"%d" % total})
        return total

    def _swap(
        self,
        record: str,
        field: str,
        old: bytes | None,
        new: bytes | None,
        create: bool,
        expires_in: float | None,
        max_fields: int | None,
    ) -> Flow[bool | None]:
        # Only a swap from "absent" can succeed on a record that is not there yet.
        row, made = yield from self._hold(record, create and old is None, expires_in)
        if row is None:
            return False if create else None
        value = yield from self._value(row, field)
        if value != old:
            return False
        if expires_in is not None and not made:
            yield _PROLONG, (row, self._clock() + expires_in)
        if old is None and new is not None and max_fields is not None:
            yield from self._check_room(row, {field: new}, max_fields)
        yield from self._change(row, {field: new})
        return True

    def _rename(self, record: str, new: str) -> Flow[bool]:
        yield _REMOVE_EXPIRED, (new, self._clock())
        rows = yield _RENAME.format(lock=self._db.lock), (record, self._clock(), new)
        return bool(rows)

    def _hold(self, record: str, create: bool, expires_in: float | None) -> Flow[tuple[int | None, bool]]:
        """The record's row, held until the transaction ends, and whether it was made here."""
        while True:
            now = self._clock()
            rows = yield f"{_FIND} {self._db.lock}", (record, now)
            if rows:
                return rows[0][0], False
            if not create:
                return None, False
            yield _REMOVE_EXPIRED, (record, now)
            rows = yield _CREATE, (record, None if expires_in is None else now + expires_in)
            if rows:
                return rows[0][0], True
            # Somebody else made it in between: it is found now.

    def _value(self, row: int, field: str) -> Flow[bytes | None]:
        rows = yield _VALUE.format(lock=self._db.lock), (row, field)
        return bytes(rows[0][0]) if rows else None

    def _check_room(self, row: int, changes: Mapping[str, bytes | None], max_fields: int) -> Flow[None]:
        added = sum(value is not None for value in changes.values())
        [(count,)] = yield "SELECT count(*) FROM poto_fields WHERE record = $1", (row,)
        if count + added <= max_fields:
            return
        rows = yield "SELECT field FROM poto_fields WHERE record = $1", (row,)
        before = {field for (field,) in rows}
        after = {field for field in before if changes.get(field, b"") is not None}
        after |= {field for field, value in changes.items() if value is not None}
        if len(after) > max_fields and len(after) > len(before):
            raise TooLarge(f"More than {max_fields} fields")

    def _change(self, row: int, changes: Mapping[str, bytes | None]) -> Flow[None]:
        kept = [(field, value) for field, value in changes.items() if value is not None]
        removed = [field for field, value in changes.items() if value is None]
        if kept:
            rows = ", ".join(f"($1, ${2 + 2 * number}, ${3 + 2 * number})" for number in range(len(kept)))
            yield _UPSERT.format(rows=rows), (row, *(item for pair in kept for item in pair))
        if removed:
            yield _REMOVE.format(fields=_numbered(2, len(removed))), (row, *removed)


def _numbered(first: int, count: int) -> str:
    return ", ".join(f"${number}" for number in range(first, first + count))


def schema(id_type: str, bytes_type: str, collation: str) -> Flow[int]:
    """Create what is missing, and give the version of what is there."""
    for table in _TABLES:
        yield table.format(id_type=id_type, bytes_type=bytes_type, collation=collation), ()
    rows = yield "SELECT version FROM poto_schema", ()
    if not rows:
        rows = yield "INSERT INTO poto_schema (version) VALUES ($1) RETURNING version", (SCHEMA_VERSION,)
    return int(rows[0][0])


def check_version(found: int) -> None:
    """Refuse tables of another release's layout."""
    if found != SCHEMA_VERSION:
        raise ConfigurationError(
            f"The database holds poto tables of version {found}; this release knows {SCHEMA_VERSION}."
            " Use the release that made them, or drop the tables poto_*."
        )
