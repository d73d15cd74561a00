"""Connections to PostgreSQL, by asyncpg: what callers ask goes out together, and every wait has an end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from contextvars import Context
from functools import partial
from math import ceil
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlunsplit

import asyncpg

from ..errors import ConfigurationError
from . import postgres_schema as schema
from .base import take_number
from .batches import Batches
from .deadline import Deadline, within
from .log_sql import Flow, Rows
from .outage import Outage
from .per_loop import PerLoop
from .server_url import split_url
from .wait_queue import WaitQueue

T = TypeVar("T")

logger = logging.getLogger("fastapi_poto.stores")

# What says that the server is not there, going, full, or overtaken: never that a statement is wrong.
_UNREACHABLE = (
    TimeoutError,
    OSError,
    EOFError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    asyncpg.PostgresIOError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.TargetServerAttributeNotMatched,
)
# What libpq knows and asyncpg does not, and what nobody misses: `timeout` ends every wait.
_LIBPQ_ONLY = {
    *("connect_timeout", "gssencmode", "gsslib", "krbsrvname", "keepalives", "keepalives_idle", "keepalives_interval"),
    *("keepalives_count", "tcp_user_timeout", "sslcompression", "sslsni", "requirepeer", "fallback_application_name"),
    *("client_encoding", "load_balance_hosts", "channel_binding"),
}
_MIGRATION_SECONDS = 60.0
_OBEYED = "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'"
_BATCHES_AT_ONCE = 2


class PostgresPool:
    """At most `pool_size` connections for each event loop. Works behind PgBouncer, in transaction mode too."""

    skip_locked = "FOR UPDATE SKIP LOCKED"

    def __init__(self, url: str) -> None:
        """A libpq URL, several hosts included, whose `pool_size` and `timeout` (seconds) are ours."""
        parts = split_url(url)
        query = dict(parse_qsl(parts.query))
        try:
            self._timeout = take_number(query, "timeout", 0.5)
            self._size = ceil(take_number(query, "pool_size", 10))
        except ValueError as error:
            raise ConfigurationError(f"{parts.scheme}://…?{parts.query}: {error}") from None
        if query.get("channel_binding") == "require":
            logger.warning(
                "channel_binding=require is left out: asyncpg has none. sslmode=verify-full knows the server."
            )
        if "," in parts.netloc or "," in query.get("host", ""):
            query.setdefault("target_session_attrs", "read-write")
        query = {name: value for name, value in query.items() if name not in _LIBPQ_ONLY}
        self._dsn = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(query), ""))
        self._outage = Outage(f"The PostgreSQL store at {parts.netloc.rpartition('@')[2]}{parts.path}")
        self._connected = PerLoop(lambda: _Connected(self._size, self._timeout))
        self._ready = False
        self._pooled = False
        """Whether a pooler is in between, which takes no settings and forgets statements."""

    async def read(self, sql: str, arguments: Sequence[Any]) -> Rows:
        """The rows of one statement."""
        rows: Rows = await self.run(lambda db: db.fetch(sql, *arguments))
        return rows

    execute = read

    async def transact(self, flow: Flow[T]) -> T:
        """Run the statements of a flow in a transaction."""

        async def work(db: Any) -> T:
            async with db.transaction():
                try:
                    sql, arguments = next(flow)
                    while True:
                        sql, arguments = flow.send(await db.fetch(sql, *arguments))
                except StopIteration as done:
                    result: T = done.value
                    return result

        return await self.run(work)

    async def open(self) -> None:
        """Make the tables, or bring them to this release's version."""
        found = await self._run(schema.version)
        if found != schema.SCHEMA_VERSION:
            try:
                await self._run(schema.migrate, patience=_MIGRATION_SECONDS)
            except asyncpg.InsufficientPrivilegeError as error:
                raise ConfigurationError(
                    f"The tables of poto are {'not there' if not found else 'of an older release'}, and this role may"
                    f" not change that ({error}). Start the application once with a role that may create tables."
                ) from error
        self._ready = True

    async def close(self) -> None:
        """Let go of this loop's connections, when nobody works with them or makes one, or does so for too long."""
        self._ready = False
        connected = self._connected.pop()
        if connected is None:
            return
        connected.closed = True
        await connected.quiet(within=self._timeout)
        while connected.idle:
            db = connected.idle.pop()
            try:
                await db.close(timeout=self._timeout)
            except _UNREACHABLE:
                db.terminate()

    async def ask(self, sql: str, arguments: Sequence[Any]) -> Any:
        """The one row that a statement gives, whose first argument is a record's name."""
        return await (await self._batches(sql)).ask(arguments)

    async def ask_many(self, sql: str, asked: Sequence[Sequence[Any]]) -> list[Any]:
        """The rows of one statement for several arguments."""
        return await (await self._batches(sql)).ask_many(asked)

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Work with a connection of one's own."""
        if not self._ready:
            await self.open()
        return await self._run(work)

    async def _batches(self, sql: str) -> "Batches[Sequence[Any]]":
        if not self._ready:
            await self.open()
        connected = self._connected.get()
        batches = connected.batches.get(sql)
        if batches is None:
            fetch, at_once = partial(self._fetch, connected, sql), min(_BATCHES_AT_ONCE, self._size)
            batches = connected.batches[sql] = Batches(fetch, self._outage, at_once=at_once, patience=self._timeout)
        return batches

    async def _fetch(self, connected: "_Connected", sql: str, jobs: list[Sequence[Any]]) -> Sequence[Any]:
        results: list[Any] = [None] * len(jobs)
        for wave in [range(len(jobs))] if sql is schema.READ else _waves(jobs):
            work = partial(_fetch, sql=sql, jobs=[jobs[number] for number in wave])
            for number, row in zip(wave, await self._use(connected, work, nullcontext), strict=True):
                results[number] = row
        return results

    async def _run(self, work: Callable[[Any], Awaitable[T]], *, patience: float | None = None) -> T:
        def limit(end: float) -> Deadline:
            return Deadline(end, self._timeout / 5) if patience is None else within(patience)

        return await self._use(self._connected.get(), work, limit)

    async def _use(
        self,
        connected: "_Connected",
        work: Callable[[Any], Awaitable[T]],
        limit: Callable[[float], AbstractAsyncContextManager[Any]],
    ) -> T:
        """Work with a connection. One that fails is dropped at once: a polite end waits for a server that is gone."""
        try:
            async with connected.line.turn() as end, limit(end):
                db = connected.take() or await self.connect()
                try:
                    result = await work(db)
                except BaseException as error:
                    if isinstance(error, _UNREACHABLE) or not isinstance(error, asyncpg.PostgresError):
                        db.terminate()
                    raise
                finally:
                    connected.put_back(db)
            self._outage.answered()
            return result
        except asyncpg.ClientConfigurationError:
            raise
        except _UNREACHABLE as error:
            raise self._outage.failed(error) from error

    async def connect(self) -> Any:
        """A new connection, made in a task: asyncpg leaves a failed future behind where a caller gives up midway."""
        # In an empty context: a connection keeps the one that it was made in.
        connecting = asyncio.get_running_loop().create_task(self._dial(), context=Context())
        dials = self._connected.get().dials
        dials.add(connecting)
        connecting.add_done_callback(dials.discard)
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_hang_up)
            raise

    async def _dial(self) -> Any:
        settings = {"application_name": "fastapi_poto"}
        # Statements are few and stay: the timer of one that does not would keep the context of whoever asked first.
        options: Any = {"timeout": self._timeout, "max_cached_statement_lifetime": 0}
        if not self._pooled:
            # What a server does for us ends when we have given up, not before: its clock also runs while it waits for
            # this process to send on. And it is told which level this is written for.
            timeout = str(ceil(self._timeout * 2000))
            more = {"statement_timeout": timeout, "default_transaction_isolation": "read committed"}
            try:
                db = await asyncpg.connect(self._dsn, server_settings=settings | more, **options)
                is_obeyed = False
                try:
                    with suppress(asyncpg.PostgresError):
                        is_obeyed = await db.fetchval(_OBEYED, timeout=self._timeout) == timeout
                finally:
                    if not is_obeyed:
                        db.terminate()
                if is_obeyed:
                    return db
            except asyncpg.ProtocolViolationError as error:
                if "startup parameter" not in str(error):
                    raise
            self._pooled = True  # PgBouncer, which refuses or swallows settings
        return await asyncpg.connect(self._dsn, server_settings=settings, statement_cache_size=0, **options)


class _Connected:
    """Connections of one event loop, and what waits for them."""

    def __init__(self, size: int, patience: float) -> None:
        self.line = WaitQueue(size, patience)
        self._size = size
        self.dials: set[asyncio.Future[Any]] = set()
        """Connections that are being made, which goes on even where nobody waits for it any more."""
        self.idle: list[Any] = []
        self.batches: dict[str, Batches[Sequence[Any]]] = {}
        """By their statement."""
        self.closed = False

    def take(self) -> Any:
        """A connection that is open; None if there is none."""
        while self.idle:
            db = self.idle.pop()
            if not db.is_closed():
                return db
        return None

    def put_back(self, db: Any) -> None:
        if self.closed:
            db.terminate()
        elif not db.is_closed():
            self.idle.append(db)

    async def quiet(self, *, within: float) -> None:
        """Return when no connection is in use or being made, or after so many seconds.

        A loop that ends before that cancels the driver in midair, which leaves a task and a socket behind.
        """
        held = 0
        try:
            async with asyncio.timeout(within):
                while held < self._size:
                    await self.line.take()
                    held += 1
                if self.dials:
                    await asyncio.wait(self.dials)
        except TimeoutError:
            pass
        finally:
            for _ in range(held):
                self.line.give_back(answered=False)


def _hang_up(connecting: "asyncio.Future[Any]") -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().terminate()


def _waves(jobs: Sequence[Sequence[Any]]) -> list[list[int]]:
    """Writes that may share a transaction, by their numbers.

    Each record once and in the order of the names: then transactions never wait for each other in a circle.
    """
    waves: list[dict[str, int]] = []
    for number, job in enumerate(jobs):
        wave = next((wave for wave in waves if job[0] not in wave), None)
        if wave is None:
            waves.append(wave := {})
        wave[job[0]] = number
    return [[wave[name] for name in sorted(wave)] for wave in waves]


async def _fetch(db: Any, sql: str, jobs: Sequence[Sequence[Any]]) -> Sequence[Any]:
    if len(jobs) == 1:
        rows: Sequence[Any] = await db.fetch(sql, *jobs[0])
    else:
        rows = await db.fetchmany(sql, jobs)
    return rows
