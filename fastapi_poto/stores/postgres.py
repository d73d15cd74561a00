"""Records in PostgreSQL: each operation is one round trip."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

from ..errors import TooLarge
from ..settings import wall_clock
from . import postgres_schema as schema
from .base import Life, Page, Terms, Wanted, check_integer, check_name, life_left, life_of, range_of
from .log import EventLog
from .log_postgres import PostgresLog
from .postgres_pool import PostgresPool


class PostgresStore:
    """Records in a PostgreSQL server that many machines share. Keeps every promise of `Store` over many processes.

    What was acknowledged is committed, as durable as the server is. An operation ends when the server has not
    answered for `timeout` seconds, and on the server soon after. At most `pool_size` connections for each process and
    event loop; what callers ask meanwhile goes out together. Works behind PgBouncer, in transaction mode too.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = wall_clock) -> None:
        """`url` is `PostgresPool`'s."""
        self._clock = clock
        self._pool = PostgresPool(url)
        self._log = PostgresLog(self._pool, self._pool.connect)
        self.log: EventLog = self._log

    async def read(self, record: str, fields: Sequence[str] | None = None) -> dict[str, bytes] | None:
        return _record(await self._ask(schema.READ, record, None if fields is None else list(fields)))

    async def read_many(self, wanted: Sequence[Wanted]) -> list[dict[str, bytes] | None]:
        asked = [self._arguments(record, list(fields)) for record, fields in wanted]
        return list(map(_record, await self._pool.ask_many(schema.READ, asked)))

    async def write(self, record: str, changes: Mapping[str, bytes | None], **terms: Unpack[Terms]) -> bool:
        kept = {field: value for field, value in changes.items() if value is not None}
        removed = [field for field, value in changes.items() if value is None]
        (status,) = await self._ask(schema.WRITE, record, *_arguments(terms), list(kept), list(kept.values()), removed)
        return _done(status, terms) == 1

    async def add(self, record: str, field: str, by: int, **terms: Unpack[Terms]) -> int | None:
        check_integer(by)
        status, total = await self._ask(schema.ADD, record, *_arguments(terms), field, by)
        if status == -2:
            raise ValueError("the field does not hold an integer of 64 bits")
        return total if _done(status, terms) == 1 else None

    async def swap(
        self, record: str, field: str, old: bytes | None, new: bytes | None, **terms: Unpack[Terms]
    ) -> bool | None:
        (status,) = await self._ask(schema.SWAP, record, *_arguments(terms), field, old, new)
        return {0: None, 1: True, 2: False}[_done(status, terms)]

    async def delete(self, record: str, *, bar_for: float = 0.0) -> bool:
        (lived,) = await self._ask(schema.DELETE, record, bar_for)
        return bool(lived)

    async def names(self, prefix: str, *, cursor: str | None = None, limit: int = 1000) -> Page:
        first, last = range_of(prefix, cursor)
        rows = await self._pool.run(lambda db: db.fetch(schema.NAMES, first, last, self._clock(), limit))
        return Page([name for (name,) in rows], rows[-1][0] if len(rows) == limit else None)

    async def life(self, record: str) -> Life | None:
        check_name(record)
        now = self._clock()
        found = await self._pool.run(lambda db: db.fetchrow(schema.LIFE, record, now))
        return None if found is None else life_left(now, *found)

    async def purge(self, *, limit: int = 500) -> int:
        removed = await self._pool.run(lambda db: db.fetch(schema.PURGE, self._clock(), limit))
        return len(removed) + await self.log.purge(limit=limit)

    async def ping(self) -> None:
        await self.write("probe", {"at": b"%d" % self._clock()}, create=True)

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._log.close()
        await self._pool.close()

    async def _ask(self, sql: str, record: str, *arguments: Any) -> Any:
        return await self._pool.ask(sql, self._arguments(record, *arguments))

    def _arguments(self, record: str, *arguments: Any) -> tuple[Any, ...]:
        check_name(record)
        return record, self._clock(), *arguments


def _record(row: Any) -> dict[str, bytes] | None:
    count, names, values = row
    if not count:
        return None
    return {name: value for name, value in zip(names, values, strict=True) if name is not None}


def _arguments(terms: Terms) -> tuple[Any, ...]:
    create, expires_in = terms.get("create", False), terms.get("expires_in")
    return bool(create), *life_of(create, expires_in), expires_in, terms.get("max_fields")


def _done(status: int, terms: Terms) -> int:
    if status == -1:
        raise TooLarge(f"More than {terms.get('max_fields')} fields")
    return status
