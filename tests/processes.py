"""Real uvicorn servers in processes of their own. `fastapi_poto.testing.serve` serves from a thread.

The listening socket is made before the server starts, so a client's first request waits in its backlog
until the server answers: nobody polls a port, and no port is taken twice.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import uvicorn

Loop = Literal["auto", "asyncio", "uvloop"]
Http = Literal["auto", "h11", "httptools"]

ROOT = Path(__file__).parent.parent
START_SECONDS = 120.0
STOP_SECONDS = 10.0

# A busy machine may leave a connection idle for more than uvicorn's 5 s: a client would find it closed under its hands.
_DEFAULTS = {"timeout_graceful_shutdown": 5, "timeout_keep_alive": 120}


def listen(host: str = "127.0.0.1") -> socket.socket:
    """A listening socket on a free port."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, 0))
    sock.listen(2048)
    return sock


def answer_of(url: str, path: str = "/openapi.json", timeout: float = START_SECONDS) -> bytes:
    """The head of the answer to one plain GET: any answer shows that the server is up."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=timeout) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return connection.recv(64)


@dataclass
class LiveProcess:
    """A uvicorn process. `url` has no trailing slash."""

    url: str
    process: subprocess.Popen[bytes]
    log_path: Path
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """What it wrote so far."""
        return self.log_path.read_text(errors="replace")

    def wait_ready(self) -> None:
        """Return when it answers; raise with its log when it died."""
        try:
            head = answer_of(self.url)
        except OSError as error:
            head = b""
            reason = f"{error!r}"
        else:
            reason = f"it answered {head!r}"
        if not head.startswith(b"HTTP/1.1"):
            self.kill()
            raise RuntimeError(f"The server did not start ({reason}):\n{self.log()}")

    def terminate(self, timeout: float = STOP_SECONDS) -> int:
        """SIGTERM, as a process manager sends it; the exit code. Raises TimeoutExpired if it does not go."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory is short."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        try:
            self.terminate()
        except subprocess.TimeoutExpired:
            self.kill()


def start(
    target: str,
    *,
    directory: Path,
    factory: bool = False,
    loop: Loop = "auto",
    http: Http = "auto",
    env: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    wait: bool = True,
    sock: socket.socket | None = None,
) -> LiveProcess:
    """Start `module:attribute` in a process; prefer `serve_process`, which also stops it."""
    arguments = {"loop": loop, "http": http, "factory": factory, **_DEFAULTS, **(options or {})}
    log = tempfile.NamedTemporaryFile(dir=directory, prefix="uvicorn-", suffix=".log", delete=False)  # noqa: SIM115
    with nullcontext(sock) if sock is not None else listen() as sock, log:
        host, port = sock.getsockname()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes", str(sock.fileno()), target, repr(arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[sock.fileno()],
        )
    live = LiveProcess(f"http://{host}:{port}", process, Path(log.name), arguments)
    if wait:
        live.wait_ready()
    return live


@contextmanager
def serve_process(target: str, **arguments: Any) -> Iterator[LiveProcess]:
    """A uvicorn process that serves `module:attribute`, ready and later stopped. Arguments: see `start`."""
    with serve_processes(target, 1, **arguments) as (live,):
        yield live


@contextmanager
def serve_processes(target: str, count: int, **arguments: Any) -> Iterator[Sequence[LiveProcess]]:
    """`count` processes of the same app, each on a port of its own: what is behind a load balancer.

    With `sock` they all accept on that socket, as workers do.
    """
    with ExitStack() as stack:
        if "directory" not in arguments:
            arguments["directory"] = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="live-")))
        lives: list[LiveProcess] = []
        for _ in range(count):
            live = start(target, wait=False, **arguments)
            stack.callback(live.stop)
            lives.append(live)
        for live in lives:
            live.wait_ready()
        yield lives


@contextmanager
def serve_shared(target: str, count: int, **arguments: Any) -> Iterator[LiveProcess]:
    """`count` workers behind one port: the first of them, whose `url` is everybody's."""
    with listen() as sock, serve_processes(target, count, sock=sock, **arguments) as lives:
        yield lives[0]


def _main(descriptor: str, target: str, arguments: str) -> None:
    import ast

    options = ast.literal_eval(arguments)
    config = uvicorn.Config(target, **{"log_level": "info", "lifespan": "on", **options})
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(descriptor))])


if __name__ == "__main__":
    _main(*sys.argv[1:])
