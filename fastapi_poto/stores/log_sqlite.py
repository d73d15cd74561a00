"""Event logs in an SQLite file, and the datagrams by which its processes wake each other."""

import asyncio
import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context
from itertools import count
from pathlib import Path
from typing import Final

from .base import check_name
from .log import MICROSECONDS, Appended, Entry, KeyedWatch, OnWake
from .log_sql import TRIM_EVERY, Flow, LogDriver, SqlLog, cuts, kept

_LOOK_SECONDS: Final = 1.0
"""Between two looks at whether anybody wrote, for wakes that were lost."""
_LOOK_WITHOUT_SOCKET: Final = 0.02
_MOST_BYTES: Final = 60_000
_QUEUE: Final = 10
"""Datagrams that wait for one reader (net.unix.max_dgram_qlen): with so many, further ones may have been dropped."""
_FOLDER_CLOCK: Final = 50_000_000
"""Nanoseconds within which two changes of a folder may have one time."""
_TRIM: Final = f"""
    DELETE FROM poto_events WHERE log = $1 AND id IN (
    SELECT e.id FROM poto_events e JOIN poto_logs l ON l.id = e.log
    WHERE l.id = $1 AND NOT {kept("e", "l", "$2")})"""  # noqa: S608 - constants
_FIND: Final = """
    SELECT floor, last, number, bytes, cut_number, cut_bytes, ended IS NOT NULL, head, expires_at <= $2
    FROM poto_logs WHERE key = $1"""
_PUT_LOG: Final = """
    INSERT INTO poto_logs
    (key, floor, previous, tip, last, number, bytes, cut_number, cut_bytes, life, expires_at, ended, head)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (key) DO UPDATE SET floor = $2, previous = $3, tip = $4, last = $5, number = $6, bytes = $7,
    cut_number = $8, cut_bytes = $9, life = $10, expires_at = $11, ended = $12, head = $13 RETURNING id"""
_PUT_EVENT: Final = "INSERT INTO poto_events (log, id, previous, number, begins, data) VALUES ($1, $2, $3, $4, $5, $6)"


class SqliteLog(SqlLog):
    """Keeps every promise of `EventLog` for the processes of one machine.

    Whoever appended sends a datagram to every process that watches, by sockets in a folder beside the file. Where
    there are none, or they are not shared, `PRAGMA data_version` is looked at.
    """

    def __init__(self, db: LogDriver, path: str, clock: Callable[[], float]) -> None:
        # `_clock` is the last argument of every statement; SQLite takes them by name.
        super().__init__(db, now="$3", each="json_each($1)", greatest="max")
        self._purge = self._purge.replace("$3", "$2")
        self._time = clock
        self._path = path
        self._sockets = _Sockets(path)

    def _clock(self) -> tuple[int, ...]:
        return (int(self._time() * MICROSECONDS),)

    async def append(self, entries: Sequence[Entry]) -> list[Appended | None]:
        for entry in entries:
            check_name(entry.key)
        appended: list[Appended | None] = await self._db.transact(self._append(entries))
        self._sockets.send({entry.key: done.last for entry, done in zip(entries, appended, strict=True) if done})
        return appended

    def _append(self, entries: Sequence[Entry]) -> Flow[list[Appended | None]]:
        appended: list[Appended | None] = []
        for entry in entries:
            done = yield from self._append_one(entry)
            appended.append(done)
        return appended

    def _append_one(self, entry: Entry) -> Flow[Appended | None]:
        (now,) = self._clock()
        floor = start = now - 1
        number = size = cut_number = cut_bytes = 0
        head = None
        rows = yield _FIND, (entry.key, now)
        if rows:
            floor, start, number, size, cut_number, cut_bytes, has_ended, head, is_expired = rows[0]
            if is_expired:
                floor = start = max(start, now - 1)
                head = None
            elif has_ended:
                return None
        first = max(start + 1, now)
        ids = len(entry.events) + (entry.end is not None)
        last = first + ids - 1 if ids else start
        count, cut = cuts(entry.events, entry.keep, entry.keep_bytes)
        [(log,)] = yield (
            _PUT_LOG,
            (
                *(
                    entry.key,
                    floor,
                    start,
                    first + len(entry.events) - 1 if entry.events else start,
                    last,
                    number + len(entry.events),
                    size + sum(map(len, entry.events)),
                ),
                *(max(cut_number, number + count), max(cut_bytes, size + cut)),
                *(int(entry.life * MICROSECONDS), now + int(entry.remember * MICROSECONDS)),
                *(entry.end, entry.head if head is None else head),
            ),
        )
        previous = start
        for place, event in enumerate(entry.events):
            yield _PUT_EVENT, (log, first + place, previous, number + place + 1, size, event)
            size += len(event)
            previous = first + place
        if (number + len(entry.events)) // TRIM_EVERY > number // TRIM_EVERY:
            yield _TRIM, (log, now)
        return Appended(start, last)

    async def watch(self, on_wake: OnWake) -> "_SqliteWatch":
        await self._db.read("SELECT 1", ())  # the file is there
        return _SqliteWatch(self._path, self._sockets, on_wake)


class _Sockets:
    """The folder `<file>-wake`, with a datagram socket of each watch."""

    def __init__(self, path: str) -> None:
        self.folder = Path(f"{path}-wake")
        self._names: list[str] = []
        self._listed_at = -1
        self._numbers = count()

    def bind(self) -> socket.socket:
        """A socket that hears what is sent. Raises `OSError` where there can be none."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            listener.setblocking(False)
            with self._prefix() as prefix:
                listener.bind(f"{prefix}/{os.getpid()}-{id(self):x}-{next(self._numbers)}")
        except OSError:
            listener.close()
            raise
        return listener

    def unbind(self, listener: socket.socket) -> None:
        name = os.path.basename(listener.getsockname())
        listener.close()
        with suppress(OSError):
            (self.folder / name).unlink()

    def send(self, news: Mapping[str, int]) -> None:
        """Tell every watch. Nothing that goes wrong here is an error: readers look by themselves, too."""
        with suppress(OSError, AttributeError):
            names = self._listed()
            if not news or not names:
                return
            message = json.dumps(news).encode()
            if len(message) > _MOST_BYTES:
                message = b"{}"
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, self._prefix() as prefix:
                sender.setblocking(False)
                for name in names:
                    self._send_to(sender, f"{prefix}/{name}", message)

    def _send_to(self, sender: socket.socket, path: str, message: bytes) -> None:
        try:
            sender.sendto(message, path)
        except ConnectionRefusedError:  # its process was killed
            with suppress(OSError):
                os.unlink(path)
        except OSError:
            pass  # whoever does not read has enough to wake up for

    def _listed(self) -> list[str]:
        changed_at = os.stat(self.folder).st_mtime_ns
        if changed_at != self._listed_at or time.time_ns() - changed_at < _FOLDER_CLOCK:
            self._names, self._listed_at = os.listdir(self.folder), changed_at
        return self._names

    @contextmanager
    def _prefix(self) -> Iterator[str]:
        """The folder, by a path that is short: a socket's may have 108 bytes."""
        path = str(self.folder)
        if len(os.fsencode(path)) < 60 or not os.path.isdir("/proc/self/fd"):
            yield path
            return
        folder = os.open(path, os.O_PATH)
        try:
            yield f"/proc/self/fd/{folder}"
        finally:
            os.close(folder)


class _SqliteWatch(KeyedWatch):
    """A datagram socket, and a look at the file from time to time."""

    def __init__(self, path: str, sockets: _Sockets, on_wake: OnWake) -> None:
        super().__init__(on_wake)
        self._sockets = sockets
        self._connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        self._version = self._look()
        self._listener: socket.socket | None = None
        self._every = _LOOK_WITHOUT_SOCKET
        self._loop = asyncio.get_running_loop()
        with suppress(OSError, AttributeError):
            self._listener = sockets.bind()
            self._loop.add_reader(self._listener, self._hear)
            self._every = _LOOK_SECONDS
        self._timer = self._loop.call_later(self._every, self._on_time, context=Context())

    def _hear(self) -> None:
        news: dict[str, int] = {}
        is_all = False
        for heard in count(1):
            try:
                sent = json.loads(self._listener.recv(2 * _MOST_BYTES)) if self._listener is not None else {}
            except (OSError, ValueError):
                break
            is_all = is_all or not sent or heard >= _QUEUE
            news |= {key: max(last, news.get(key, 0)) for key, last in self._own(sent).items()}
        if is_all:
            self._on_wake(None)
        elif news:
            self._on_wake(news)

    def _look(self) -> int:
        [version] = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def _on_time(self) -> None:
        self._timer = self._loop.call_later(self._every, self._on_time, context=Context())
        with suppress(sqlite3.Error):
            version = self._look()
            if version != self._version:
                self._version = version
                self._wake_all()

    async def close(self) -> None:
        self._timer.cancel()
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._sockets.unbind(self._listener)
            self._listener = None
        self._connection.close()
