"""PostgreSQL for `SqlStore`, by asyncpg: a pool for each event loop, and an end to every wait."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from ..errors import ConfigurationError, Unavailable
from .base import take_number
from .log import EventLog
from .log_postgres import PostgresLog
from .per_loop import PerLoop
from .sql import Flow, NameTakenError, Rows, check_version, schema
from .wait_queue import WaitQueue

T = TypeVar("T")

# What says that the server is not there, going, or full: never that a statement is wrong.
_UNREACHABLE = (
    TimeoutError,
    OSError,
    EOFError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresIOError,
)
_SCHEMA_LOCK = 0x706F746F  # "poto"


class PostgresDriver:
    """A PostgreSQL server that many machines share. What was acknowledged is committed, as durable as the server is.

    An operation ends when the server has not answered for `timeout` seconds: then its connection is dropped, not
    waited for. Dead connections are replaced when they are next needed. At most `pool_size` connections for each
    process and event loop; who finds them busy waits in line.
    """

    lock = "FOR NO KEY UPDATE"
    skip_locked = "FOR UPDATE SKIP LOCKED"
    optimistic = True
    add_one: str | None = (
        "UPDATE poto_fields SET value = convert_to((convert_from(value, 'UTF8')::bigint + $4::bigint)::text, 'UTF8')"
        " FROM poto_records r WHERE poto_fields.record = r.id AND poto_fields.field = $3 AND r.name = $1"
        " AND (r.expires_at IS NULL OR r.expires_at > $2) RETURNING convert_from(value, 'UTF8')"
    )

    def __init__(self, dsn: str, *, timeout: float = 0.5, pool_size: int = 10) -> None:
        self._dsn = dsn
        self._timeout = timeout
        self._pool_size = pool_size
        self._connected = PerLoop(self._connect)
        self._ready = False

    @classmethod
    def from_url(cls, url: str) -> "PostgresDriver":
        """A libpq URL, whose `pool_size` and `timeout` (seconds) are ours."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        try:
            timeout = take_number(query, "timeout", 0.5)
            pool_size = ceil(take_number(query, "pool_size", 10))
        except ValueError as error:
            raise ConfigurationError(f"{parts.scheme}://…?{parts.query}: {error}") from None
        dsn = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(query), ""))
        return cls(dsn, timeout=timeout, pool_size=pool_size)

    def event_log(self, clock: Callable[[], float]) -> EventLog:
        return PostgresLog(self, lambda: _connect(self._dsn, timeout=self._timeout))

    async def read(self, sql: str, arguments: Sequence[Any]) -> Rows:
        return await self.execute(sql, arguments)

    async def execute(self, sql: str, arguments: Sequence[Any]) -> Rows:
        if not self._ready:
            await self.open()
        return await self._run(lambda connection: _fetch(connection, sql, arguments))

    async def transact(self, flow: Flow[T]) -> T:
        if not self._ready:
            await self.open()
        return await self._run(lambda connection: _transact(connection, flow))

    async def open(self) -> None:
        def work() -> Flow[int]:
            # Two processes that create the same table at once fail on the catalogue.
            yield "SELECT pg_advisory_xact_lock($1)", (_SCHEMA_LOCK,)
            return (yield from schema("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "BYTEA", 'COLLATE "C"'))

        flow = work()
        check_version(await self._run(lambda connection: _transact(connection, flow)))
        self._ready = True

    async def close(self) -> None:
        self._ready = False
        connected = self._connected.pop()
        if connected is not None:
            try:
                async with asyncio.timeout(self._timeout):
                    await connected.pool.close()
            except _UNREACHABLE:
                connected.pool.terminate()

    async def _run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        connected = self._connected.get()
        pool = connected.pool
        connection: Any = None
        sound = False
        try:
            deadline = await connected.wait_queue.take()
        except TimeoutError as error:
            raise Unavailable("The session store cannot be reached") from error
        try:
            await pool  # connects nothing: it has no least size
            async with asyncio.timeout_at(deadline):
                connection = await pool.acquire()
                result = await work(connection)
            sound = True
            return result
        except asyncpg.ClientConfigurationError:
            raise
        except (*_UNREACHABLE, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise Unavailable("The session store cannot be reached") from error
        except asyncpg.UniqueViolationError as error:
            sound = True
            raise NameTakenError from error
        except asyncpg.DataError as error:
            sound = True
            raise ValueError("the field does not hold an integer of 64 bits") from error
        except Exception:
            sound = True
            raise
        finally:
            try:
                if connection is not None:
                    # Of a connection that was lost the pool knows already, and says so.
                    with suppress(*_UNREACHABLE, asyncpg.InterfaceError, asyncpg.InternalClientError):
                        if not sound:
                            connection.terminate()  # at once: a polite cancel waits for a server that may be gone
                        await pool.release(connection)
            finally:  # the caller may be cancelled just there
                connected.wait_queue.give_back(answered=sound)

    def _connect(self) -> "_Connected":
        pool = asyncpg.create_pool(
            self._dsn,
            min_size=0,
            max_size=self._pool_size,
            timeout=self._timeout,
            reset=_leave_as_is,
            connect=_connect,
            server_settings={"application_name": "fastapi_poto"},
        )
        return _Connected(pool, WaitQueue(self._pool_size, self._timeout))


@dataclass(frozen=True, slots=True)
class _Connected:
    """A pool, for one event loop, and the line before it."""

    pool: Any
    wait_queue: WaitQueue


async def _connect(*arguments: Any, **options: Any) -> Any:
    """Connect in a task of its own: asyncpg leaves a failed future behind where a caller gives up in the middle."""
    connecting = asyncio.ensure_future(asyncpg.connect(*arguments, **options))
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        connecting.add_done_callback(_hang_up)
        raise


def _hang_up(connecting: "asyncio.Future[Any]") -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().terminate()


async def _leave_as_is(connection: Any) -> None:
    """We set nothing on a connection: asyncpg's reset would be a round trip for each use."""


async def _fetch(connection: Any, sql: str, arguments: Sequence[Any]) -> Rows:
    rows: Rows = await connection.fetch(sql, *arguments)
    return rows


async def _transact(connection: Any, flow: Flow[T]) -> T:
    with closing(flow):
        await connection.execute("BEGIN")
        try:
            sql, arguments = next(flow)
            while True:
                sql, arguments = flow.send(await connection.fetch(sql, *arguments))
        except StopIteration as done:
            await connection.execute("COMMIT")
            result: T = done.value
            return result
        except Exception:
            await connection.execute("ROLLBACK")
            raise
