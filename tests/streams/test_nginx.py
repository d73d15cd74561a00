"""The streams through nginx as it comes, with its buffering on."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastapi_poto.testing import LiveApp
from tests.servers import accepts, free_port, wait_until
from tests.streams.client import Connection
from tests.streams.probe import Probe, wait_parked

pytestmark = pytest.mark.conformance

CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass {target}; }}
  }}
}}
"""


@pytest.fixture(scope="module")
def nginx(one: LiveApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """nginx before the server, with nothing set that is about streams: buffering on, HTTP/1.0 to the server."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert program is not None, "apt-get install nginx"
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o777)
    port = free_port()
    configuration = Path(folder / "nginx.conf")
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port, target=one.url))
    process = subprocess.Popen([program, "-c", str(configuration), "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: accepts(port), "nginx")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def test_items_come_one_by_one(nginx: str, tag: str) -> None:
    """A small item is not held back until there are more."""
    with Connection(nginx, "/Leaving/idle", query={"tag": tag}) as connection:
        began = time.monotonic()
        connection.read_until(b"data: 1\n\n")
        assert time.monotonic() - began < 0.5


def test_errors_keep_their_status(nginx: str) -> None:
    """A failure before the first item is a response with its status, behind a proxy as well."""
    with Connection(nginx, "/Wire/early", query={"kind": "poto"}, headers={"Connection": "close"}) as connection:
        while connection.read_some():
            pass
        assert connection.status == 409
        assert json.loads(connection.received.partition(b"\r\n\r\n")[2])["code"] == "sold_out"


def test_the_leaving_is_passed_on(nginx: str, tag: str, probe: Probe) -> None:
    """nginx drops its connection, and the generator is closed."""
    with Connection(nginx, "/Leaving/long_await", query={"tag": tag}) as connection:
        connection.read_until(b"data: 1\n\n")
        left = connection.leave()
    assert probe.wait("closed") - left < 0.5


def test_a_stalled_reader_stops_the_generator(nginx: str, tag: str, probe: Probe) -> None:
    """nginx does not swallow what its client does not read: that is what `X-Accel-Buffering: no` is for."""
    with Connection(nginx, "/Leaving/flood", query={"tag": tag}, receive_buffer=8192) as connection:
        wait_parked(probe, at_least=100)
        assert probe.count("item") * 1024 < 16 << 20
        connection.reset()
    probe.wait("closed")


def test_a_stream_ends_as_it_should(nginx: str) -> None:
    """To its last frame."""
    with Connection(nginx, "/Wire/items", query={"count": 100}, headers={"Connection": "close"}) as connection:
        while connection.read_some():
            pass
        assert connection.received.count(b"data: ") == 100
        assert b"id: ~end\nevent: close\ndata\n\n" in connection.received
