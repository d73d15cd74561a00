"""Servers that are told to stop while streams are open: each stream hears of it, and every generator is closed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.deployments

ROOT = Path(__file__).parents[2]
APP = "tests.deployments.streaming_app:app"
BIN = Path(sys.executable).parent

COMMANDS = {
    "uvicorn": ["uvicorn", APP, "--port", "PORT"],
    "hypercorn": ["hypercorn", APP, "--bind", "127.0.0.1:PORT"],
    "hypercorn-uvloop": ["hypercorn", APP, "--bind", "127.0.0.1:PORT", "--worker-class", "uvloop"],
    "granian": ["granian", APP, "--interface", "asgi", "--host", "127.0.0.1", "--port", "PORT"],
    "gunicorn-uvicorn": ["gunicorn", APP, "--bind", "127.0.0.1:PORT", "-k", "uvicorn_worker.UvicornWorker"],
    "gunicorn-asgi": ["gunicorn", APP, "--bind", "127.0.0.1:PORT", "--worker-class", "asgi"],
}
HTTP_2 = ("hypercorn", "granian")


@contextmanager
def served(server: str, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log"
    name, *arguments = (part.replace("PORT", str(port)) for part in COMMANDS[server])
    with log.open("wb") as out:
        process = subprocess.Popen(
            [BIN / name, *arguments],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 30
        while True:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{url}/openapi.json").status_code == 200:
                    break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield url, process, log
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


class Reader:
    """One open stream on a connection of its own, read by curl: httpx takes a server's GOAWAY for an error."""

    def __init__(self, url: str, name: str, *, http2: bool) -> None:
        version = "--http2-prior-knowledge" if http2 else "--http1.1"
        command = ["curl", "-sN", version, f"{url}/Ticks/{name}"]
        self.curl = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.curl.stdout is not None
        self.text = self.curl.stdout.read(1)
        self.ended_at = 0.0

    def finish(self) -> None:
        rest, _ = self.curl.communicate(timeout=20)
        self.text += rest
        self.ended_at = time.monotonic()


def stop_with_open_streams(url: str, process: subprocess.Popen[bytes], *, http2: bool) -> dict[str, Reader]:
    readers = {name: Reader(url, name, http2=http2) for name in ("slow", "sync", "bytes")}
    told_at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    for reader in readers.values():
        reader.finish()
        reader.ended_at -= told_at
    return readers


EVERY_WAY = pytest.mark.parametrize(
    ("server", "http2"), [*((server, False) for server in COMMANDS), *((server, True) for server in HTTP_2)]
)


@EVERY_WAY
def test_pauses(server: str, http2: bool, tmp_path: Path) -> None:
    """Bytes that are silent for a while do not end there."""
    with served(server, tmp_path) as (url, _, _):
        reader = Reader(url, "pauses", http2=http2)
        reader.finish()
    assert reader.text == b"012"


@EVERY_WAY
def test_told_to_stop(server: str, http2: bool, tmp_path: Path) -> None:
    """SIGTERM: `shutting_down` and closed generators within a second, and then the server goes."""
    with served(server, tmp_path) as (url, process, log):
        readers = stop_with_open_streams(url, process, http2=http2)
        code = process.wait(15)
        said = log.read_text()
    for name in ("slow", "sync"):
        assert b'"shutting_down"' in readers[name].text, (name, readers[name].text[-300:], said)
        assert readers[name].ended_at < 1, (name, readers[name].ended_at)
    for name in ("async", "sync", "bytes"):
        assert f"{name} closed" in said, said
    assert code in (0, -signal.SIGTERM, 1 if server == "granian" else 0), said
    assert "Traceback" not in said, said
