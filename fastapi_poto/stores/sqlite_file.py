"""An SQLite file that the processes of one machine share: its connections, its threads, its tables.

One thread reads and one writes; what several callers ask at the same time is done in one hop to the thread, and
what they write in one transaction.
"""

import os
import sqlite3
import stat
import time
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from ..errors import ConfigurationError, Unavailable
from .log_sql import TABLES as LOG_TABLES
from .log_sql import Flow, Rows
from .outage import Outage

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

SCHEMA_VERSION = 2

_MOST_TOGETHER = 100

# From each version of the tables to the next one; the first makes them.
_STEPS: Sequence[Sequence[str]] = (
    (
        "CREATE TABLE poto_records (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, expires_at DOUBLE PRECISION)",
        "CREATE INDEX poto_records_expires_at ON poto_records (expires_at)",
        """CREATE TABLE poto_fields
        (record BIGINT NOT NULL REFERENCES poto_records (id) ON DELETE CASCADE,
        field TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (record, field))""",
        "CREATE TABLE poto_schema (version BIGINT NOT NULL)",
        "INSERT INTO poto_schema VALUES (1)",
    ),
    (
        "ALTER TABLE poto_records ADD COLUMN ends_at DOUBLE PRECISION",
        "ALTER TABLE poto_records ADD COLUMN barred INTEGER NOT NULL DEFAULT 0",
        *(table.format(id_type="INTEGER PRIMARY KEY", bytes_type="BLOB", collation="") for table in LOG_TABLES),
        "UPDATE poto_schema SET version = 2",
    ),
)


class SqliteFile:
    """Runs work in the reading or in the writing thread. WAL mode: readers never wait for writers."""

    skip_locked = ""

    def __init__(self, path: Path, *, busy_timeout: float, synchronous: str) -> None:
        self.path = path
        self._busy_timeout = busy_timeout
        self._synchronous = synchronous
        self._guard = Lock()
        self._process = os.getpid()
        self._reader: _Worker | None = None
        self._writer: _Worker | None = None
        self._of_parent: list[object] = []

    async def reading(self, work: Work[T]) -> T:
        """Do what only reads."""
        return await self._workers()[0].run(work)

    async def writing(self, work: Work[T]) -> T:
        """Do it in a transaction, perhaps together with others' work; it is rolled back alone if it raises."""
        return await self._workers()[1].run(work)

    async def read(self, sql: str, arguments: Sequence[Any]) -> Rows:
        """Run one statement, with `$1` for the first argument."""
        return await self.reading(lambda db: db.execute(sql, _named(arguments)).fetchall())

    async def execute(self, sql: str, arguments: Sequence[Any]) -> Rows:
        """The same for one that writes."""
        return await self.writing(lambda db: db.execute(sql, _named(arguments)).fetchall())

    async def transact(self, flow: Flow[T]) -> T:
        """Run the statements of a flow in a transaction."""

        def work(db: sqlite3.Connection) -> T:
            with closing(flow):
                try:
                    sql, arguments = next(flow)
                    while True:
                        sql, arguments = flow.send(db.execute(sql, _named(arguments)).fetchall())
                except StopIteration as done:
                    result: T = done.value
                    return result

        return await self.writing(work)

    async def open(self) -> None:
        """Make what is missing. Raises `ConfigurationError` where there is no directory for it."""
        folder = self.path.resolve().parent
        if not folder.is_dir():
            raise ConfigurationError(
                f"The SQLite store {str(self.path)!r} needs the directory {str(folder)!r}: make it."
            )
        await self.reading(lambda db: db.execute("SELECT 1").fetchall())

    async def close(self) -> None:
        """Let go of connections and threads."""
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
                outage = Outage(f"The SQLite store {self.path}")
                self._writer = _Worker(self._connect, "poto-sqlite-writer", self._busy_timeout, outage, writes=True)
                self._reader = _Worker(self._connect, "poto-sqlite-reader", self._busy_timeout, outage, writes=False)
            return self._reader, self._writer

    def _connect(self) -> sqlite3.Connection:
        if not self.path.exists():
            with suppress(OSError):  # SQLite says it better
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, stat.S_IRUSR | stat.S_IWUSR))
        db = sqlite3.connect(self.path, timeout=self._busy_timeout, isolation_level=None)
        try:
            self._write_ahead(db)
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            db.execute("PRAGMA foreign_keys = on")
            if _version(db) != SCHEMA_VERSION:
                _migrate(db, self.path)
        except BaseException:
            db.close()
            raise
        return db

    def _write_ahead(self, db: sqlite3.Connection) -> None:
        # The first switch to WAL does not wait for others that try the same: it fails.
        end = time.monotonic() + self._busy_timeout
        while True:
            try:
                db.execute("PRAGMA journal_mode = wal")
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > end:
                    raise
                time.sleep(0.01)


def _named(arguments: Sequence[Any]) -> dict[str, Any]:
    # To SQLite $1 is a name; ?1 too in Python 3.12.0 to 3.12.3, which warn of a sequence for it.
    return {str(number): argument for number, argument in enumerate(arguments, 1)}


def _version(db: sqlite3.Connection) -> int:
    """The version of the tables; 0 if there are none."""
    try:
        return int(db.execute("SELECT version FROM poto_schema").fetchone()[0])
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return 0
        raise


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or bring them to this release's version, in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    try:
        found = _version(db)
        if found > SCHEMA_VERSION:
            raise ConfigurationError(
                f"{path} holds poto tables of version {found}; this release knows {SCHEMA_VERSION}."
                " Use the release that made them."
            )
        for step in _STEPS[found:]:
            for statement in step:
                db.execute(statement)
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def _is_outage(error: Exception) -> bool:
    """Whether the file cannot be used; any other error is the caller's."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@dataclass(slots=True, eq=False)
class _Job:
    work: Work[Any]
    loop: AbstractEventLoop
    done: "Future[Any]"
    asked_at: float
    result: Any = None

    def try_on(self, db: sqlite3.Connection) -> bool:
        """Do the work; False if it failed, which is its result. Raises what says that the file cannot be used."""
        try:
            self.result = self.work(db)
        except Exception as error:
            if _is_outage(error):
                raise
            self.result = error
            return False
        return True


class _Worker:
    """A thread with a connection, which is made when it is first needed and again after it broke."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], name: str, patience: float, outage: Outage, *, writes: bool
    ) -> None:
        self._connect = connect
        self._patience = patience
        self._outage = outage
        self._do = self._in_transaction if writes else self._one_by_one
        self._worked_at = 0.0
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None
        self._lock = Lock()
        self._jobs: deque[_Job] = deque()
        self._running = False

    async def run(self, work: Work[T]) -> T:
        loop = get_running_loop()
        job = _Job(work, loop, loop.create_future(), time.monotonic())
        with self._lock:
            self._jobs.append(job)
            start = not self._running
            self._running = True
        if start:
            self._executor.submit(self._drain)
        result: T = await job.done
        return result

    def _drain(self) -> None:
        while True:
            with self._lock:
                batch = [self._jobs.popleft() for _ in range(min(len(self._jobs), _MOST_TOGETHER))]
                if not batch:
                    self._running = False
                    return
            self._work(batch)
            for loop in {job.loop for job in batch}:
                with suppress(RuntimeError):  # it was closed: nobody waits any more
                    loop.call_soon_threadsafe(_settle, [job for job in batch if job.loop is loop])

    def _work(self, batch: Sequence[_Job]) -> None:
        # Whoever waited in line while the file was locked is not to wait for it all over again.
        begun = time.monotonic()
        late = [job for job in batch if begun - max(job.asked_at, self._worked_at) > self._patience]
        for job in late:
            job.result = Unavailable("The store is busy")
        jobs = [job for job in batch if job not in late] if late else batch
        if not jobs:
            return
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._do(self._connection, jobs)
        except Exception as error:
            if not _is_busy(error):
                self._drop()
            for job in jobs:
                job.result = self._outage.failed(error) if _is_outage(error) else error
        else:
            self._worked_at = time.monotonic()
            self._outage.answered()

    def _one_by_one(self, db: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            job.try_on(db)

    def _in_transaction(self, db: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
        # IMMEDIATE: a lock taken later could fail without waiting.
        db.execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                db.execute("SAVEPOINT job")
                if not job.try_on(db):
                    db.execute("ROLLBACK TO job")
                db.execute("RELEASE job")
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def close(self) -> None:
        await get_running_loop().run_in_executor(self._executor, self._drop)
        self._executor.shutdown(wait=False)


def _settle(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        if job.done.done():
            continue
        if isinstance(job.result, Exception):
            job.done.set_exception(job.result)
        else:
            job.done.set_result(job.result)
