"""SQLite for `SqlStore`: one thread that reads and one that writes, a transaction to a hop."""

import os
import sqlite3
import time
from asyncio import get_running_loop
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

from ..errors import ConfigurationError, Unavailable
from .base import take_number
from .log import EventLog
from .log_sqlite import SqliteLog
from .sql import Flow, Rows, check_version, schema

T = TypeVar("T")

_SYNCHRONOUS = {"off", "normal", "full", "extra"}


class SqliteDriver:
    """A file that the processes of one machine share, in WAL mode: readers never wait for writers.

    A write waits for those of other processes, until nothing could be written for `busy_timeout` seconds. What was
    acknowledged survives the death of any process; a power cut may take the last moments with it unless
    `synchronous=full`.
    """

    lock = ""  # a transaction begins with the lock of the whole file
    skip_locked = ""
    optimistic = False
    add_one: str | None = None

    def __init__(self, path: str, *, busy_timeout: float = 5.0, synchronous: str = "normal") -> None:
        if not path or path.startswith(":memory:"):
            raise ConfigurationError("An SQLite store needs a file: sqlite:///file.db. In memory is memory://.")
        if synchronous.lower() not in _SYNCHRONOUS:
            raise ConfigurationError(f"synchronous={synchronous!r}: one of {', '.join(sorted(_SYNCHRONOUS))}.")
        self._path = path
        self._busy_timeout = busy_timeout
        self._synchronous = synchronous
        self._guard = Lock()
        self._process = os.getpid()
        self._reader: _Worker | None = None
        self._writer: _Worker | None = None
        self._of_parent: list[object] = []

    @classmethod
    def from_url(cls, url: str) -> "SqliteDriver":
        """`sqlite:///relative.db`, `sqlite:////absolute.db`; `?busy_timeout=5&synchronous=full`."""
        location, _, query = url.partition("://")[2].partition("?")
        options = dict(parse_qsl(query))
        if location and not location.startswith("/"):
            raise ConfigurationError(f"{url!r}: write three slashes, sqlite:///file.db, or four for /an/absolute/path.")
        try:
            busy_timeout = take_number(options, "busy_timeout", 5.0)
        except ValueError as error:
            raise ConfigurationError(f"{url!r}: {error}") from None
        synchronous = options.pop("synchronous", "normal")
        if options:
            raise ConfigurationError(f"{url!r}: the options are busy_timeout and synchronous.")
        return cls(unquote(location[1:]), busy_timeout=busy_timeout, synchronous=synchronous)

    def event_log(self, clock: Callable[[], float]) -> EventLog:
        return SqliteLog(self, self._path, clock)

    async def read(self, sql: str, arguments: Sequence[Any]) -> Rows:
        reader, _ = self._workers()
        return await reader.run(lambda connection: connection.execute(sql, _named(arguments)).fetchall())

    async def execute(self, sql: str, arguments: Sequence[Any]) -> Rows:
        _, writer = self._workers()
        return await writer.run(lambda connection: connection.execute(sql, _named(arguments)).fetchall())

    async def transact(self, flow: Flow[T]) -> T:
        _, writer = self._workers()
        return await writer.run(lambda connection: _transact(connection, flow))

    async def open(self) -> None:
        await self.read("SELECT 1", ())

    async def close(self) -> None:
        with self._guard:
            workers = [worker for worker in (self._reader, self._writer) if worker is not None]
            self._reader = self._writer = None
        for worker in workers:
            await worker.close()

    def _workers(self) -> "tuple[_Worker, _Worker]":
        reader, writer = self._reader, self._writer
        if reader is not None and writer is not None and self._process == os.getpid():
            return reader, writer
        with self._guard:
            if self._process != os.getpid():
                # A fork lacks its parent's threads, and may not even close its connections (sqlite.org/howtocorrupt).
                self._process = os.getpid()
                self._of_parent += (self._reader, self._writer)
                self._reader = self._writer = None
            if self._writer is None or self._reader is None:
                self._writer = _Worker(self._connect, "poto-sqlite-writer", self._busy_timeout)
                self._reader = _Worker(self._connect, "poto-sqlite-reader", self._busy_timeout)
            return self._reader, self._writer

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=self._busy_timeout, isolation_level=None)
        try:
            self._write_ahead(connection)
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute("PRAGMA foreign_keys = on")
            check_version(_version(connection))
        except BaseException:
            connection.close()
            raise
        return connection

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        # The first switch to WAL does not wait for others that try the same: it fails.
        end = time.monotonic() + self._busy_timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = wal")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)


class _Worker:
    """A thread with a connection, which is made when it is first needed and again after it broke."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], name: str, patience: float) -> None:
        self._connect = connect
        self._patience = patience
        self._worked_at = 0.0
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await get_running_loop().run_in_executor(self._executor, self._work, work, time.monotonic())

    def _work(self, work: Callable[[sqlite3.Connection], T], asked_at: float) -> T:
        # Whoever waited in line while the file was locked is not to wait for it all over again.
        if time.monotonic() - max(asked_at, self._worked_at) > self._patience:
            raise Unavailable("The session store is busy")
        try:
            if self._connection is None:
                self._connection = self._connect()
            result = work(self._connection)
            self._worked_at = time.monotonic()
            return result
        except sqlite3.OperationalError as error:
            raise Unavailable("The session store is busy or cannot be written") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.DataError):
                raise
            self._drop()
            raise Unavailable("The session store cannot be read") from error

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def close(self) -> None:
        await get_running_loop().run_in_executor(self._executor, self._drop)
        self._executor.shutdown(wait=False)


def _transact(connection: sqlite3.Connection, flow: Flow[T]) -> T:
    """Run a flow under the file's write lock. IMMEDIATE: a lock taken later could fail without waiting."""
    with closing(flow):
        connection.execute("BEGIN IMMEDIATE")
        try:
            sql, arguments = next(flow)
            while True:
                sql, arguments = flow.send(connection.execute(sql, _named(arguments)).fetchall())
        except StopIteration as done:
            connection.execute("COMMIT")
            result: T = done.value
            return result
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise


def _version(connection: sqlite3.Connection) -> int:
    """The version of the tables, which are created if they are not there; without a lock if they are."""
    try:
        rows = connection.execute("SELECT version FROM poto_schema").fetchall()
    except sqlite3.OperationalError:
        rows = []
    return int(rows[0][0]) if rows else _transact(connection, schema("INTEGER PRIMARY KEY", "BLOB", ""))


def _named(arguments: Sequence[Any]) -> dict[str, Any]:
    # To SQLite $1 is a name; ?1 too in Python 3.12.0 to 3.12.3, which warn of a sequence for it.
    return {str(number): argument for number, argument in enumerate(arguments, 1)}
