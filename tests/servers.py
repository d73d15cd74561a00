"""Real servers for tests: each on a free port, in its own folder, stopped, killed or paused at will.

with RedisServer(tmp_path) as redis:
    store = store_from_url(redis.url)
    redis.kill()       # kill -9
    redis.start()      # on the same port, with the same data
"""

import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 20.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened on a moment ago."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def find_program(name: str) -> str:
    """The path of a server's program; an error, not a skip, if it is not installed."""
    found = shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), None)
    if found is None:
        raise RuntimeError(f"{name} is not installed: `make servers` does that")
    return found


def wait_until(ready: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Return when `ready()`; raise `TimeoutError` after `seconds`."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


def accepts(port: int) -> bool:
    """Whether somebody listens on the port."""
    with closing(socket.socket()) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A process, with its children, that a test owns."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        return accepts(self.port)

    def start(self) -> Self:
        """Start, on the same port and data as before, and return when it answers."""
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self.process = self._launch(self.command(), output.fileno())
        process = self.process

        def ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{self.command()[0]} ended:\n{log.read_text(errors='replace')[-2000:]}")
            return self.ready()

        wait_until(ready, f"{type(self).__name__} on {self.port}")
        return self

    def _launch(self, command: Sequence[str], output: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)

    def processes(self) -> list[int]:
        """The server's process and its children, the parent first."""
        found = [self.process.pid] if self.process is not None and self.process.poll() is None else []
        for pid in found:
            with suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def send(self, number: int) -> None:
        """Send a signal to all of the server's processes."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9, children included."""
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    stop_signal = signal.SIGTERM

    def stop(self) -> None:
        """An orderly end."""
        if self.process is None or self.process.poll() is not None:
            return
        self.resume()
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def restart(self) -> None:
        """An orderly end, and up again."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume()
        self.kill()


class RedisServer(Server):
    """Debian's redis-server. `durable`: an acknowledged write survives kill -9."""

    def __init__(self, folder: Path, *, port: int | None = None, durable: bool = True) -> None:
        super().__init__(folder, port)
        self.durable = durable
        self.socket = folder / "redis.sock"
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.unix_url = f"redis+unix://{self.socket}"

    def command(self) -> Sequence[str]:
        append = ["--appendonly", "yes", "--appendfsync", "always"] if self.durable else []
        return [
            find_program("redis-server"),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", str(self.socket)),
            *("--save", "", "--dir", str(self.folder), *append),
        ]

    def ready(self) -> bool:
        try:
            with closing(socket.create_connection(("127.0.0.1", self.port), 0.5)) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class PostgresServer(Server):
    """Debian's PostgreSQL, run by the user `postgres` where the tests are root's. `durable`: fsync is on."""

    stop_signal = signal.SIGINT  # the fast shutdown: it waits for no client

    def __init__(self, folder: Path, *, port: int | None = None, durable: bool = False, connections: int = 200) -> None:
        super().__init__(folder, port)
        self.durable = durable
        self.connections = connections
        # Not below pytest's folder: that one is closed to the user postgres again at the start of every other run.
        self.home = Path(tempfile.mkdtemp(prefix="postgres-"))
        weakref.finalize(self, shutil.rmtree, self.home, ignore_errors=True)
        self.data = self.home / "data"
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._user = "postgres" if os.geteuid() == 0 else None
        self._make_data()

    def _make_data(self) -> None:
        if self._user is not None:
            shutil.chown(self.home, self._user, self._user)
        with (self.folder / "initdb.log").open("wb") as output:
            process = self._launch(
                [
                    find_program("initdb"),
                    "-D",
                    str(self.data),
                    "-U",
                    "postgres",
                    "-A",
                    "trust",
                    "-N",
                    "--no-instructions",
                ],
                output.fileno(),
            )
        if process.wait() != 0:
            raise RuntimeError((self.folder / "initdb.log").read_text(errors="replace"))

    def _launch(self, command: Sequence[str], output: int) -> "subprocess.Popen[bytes]":
        groups: list[str] | None = [] if self._user else None
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=self.home,
            user=self._user,
            group=self._user,
            extra_groups=groups,
        )

    def command(self) -> Sequence[str]:
        return [
            find_program("postgres"),
            *("-D", str(self.data), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"),
            *("-c", f"unix_socket_directories={self.home}", "-c", f"max_connections={self.connections}"),
            *("-c", "shared_buffers=32MB", "-c", f"fsync={'on' if self.durable else 'off'}"),
        ]

    def ready(self) -> bool:
        """It accepts connections before it accepts queries: ask it for one."""
        request = b"\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
        try:
            with closing(socket.create_connection(("127.0.0.1", self.port), 0.5)) as connection:
                connection.sendall((len(request) + 4).to_bytes(4, "big") + request)
                return connection.recv(1) == b"R"
        except OSError:
            return False


class PgBouncer(Server):
    """PgBouncer in transaction mode, before a PostgreSQL; Debian's own, or the one that `program` starts."""

    def __init__(self, folder: Path, postgres: PostgresServer, program: Sequence[str] = (), **settings: str) -> None:
        super().__init__(folder)
        self.program = program
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        # It will not run as root; what PostgreSQL's user may read is below its own folder.
        self.home = postgres.home / f"bouncer-{self.port}"
        self.home.mkdir()
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": "3",
            "unix_socket_dir": "",
        } | settings
        lines = "\n".join(f"{name} = {value}" for name, value in options.items())
        database = f"postgres = host=127.0.0.1 port={postgres.port} user=postgres dbname=postgres"
        (self.home / "bouncer.ini").write_text(f"[databases]\n{database}\n[pgbouncer]\n{lines}\n")
        self.postgres = postgres

    def command(self) -> Sequence[str]:
        return [*(self.program or [find_program("pgbouncer")]), str(self.home / "bouncer.ini")]

    def _launch(self, command: Sequence[str], output: int) -> "subprocess.Popen[bytes]":
        return self.postgres._launch(command, output)
