"""SIGTERM with open streams."""

import json
import time

import pytest

from fastapi_poto.testing import serve
from tests.processes import Http, Loop, serve_process
from tests.streams.apps import make_app
from tests.streams.client import SHUTTING_DOWN, Connection
from tests.streams.conftest import KINDS
from tests.streams.probe import limit


@pytest.mark.parametrize(("loop", "http"), KINDS)
def test_a_hundred_open_streams(loop: Loop, http: Http) -> None:
    """Each gets a last frame, generators close before the lifespan ends, the process is gone within 0.5 s."""
    with serve_process("tests.streams.apps:make_app", factory=True, loop=loop, http=http) as server:
        paths = ["/Leaving/idle", "/Leaving/sync_ticks", "/Leaving/long_await", "/Resuming/count"]
        queries = [{"tag": "t", **({"pause": 60} if "count" in paths[n % 4] else {})} for n in range(100)]
        connections = [Connection(server.url, paths[n % 4], query=queries[n]) for n in range(100)]
        waiting = Connection(server.url, "/Leaving/dozing", query={"tag": "w"})
        for connection in connections:
            connection.read_until(b"data: ")
        began = time.monotonic()
        code = server.terminate()
        took = time.monotonic() - began
        for connection in connections:
            connection.read_all()
            assert connection.is_complete
            assert connection.body.endswith(SHUTTING_DOWN), connection.body[-300:]
            assert b"~end" not in connection.body  # a client may try another server
        waiting.read_all()
        assert waiting.status == 503
        assert json.loads(waiting.received.partition(b"\r\n\r\n")[2])["code"] == "shutting_down"
        assert b"retry-after: 1" in waiting.received.lower()
        log = server.log()
        for connection in [*connections, waiting]:
            connection.leave()
    assert took < 10 * limit()
    assert code == 0 or code == -15
    assert "lifespan ends, 0 generators open" in log
    for word in ("Traceback", "ERROR", "Error", "Cancelled", "Exception", "timeout graceful shutdown exceeded"):
        assert word not in log, log


def test_a_download_of_known_length_is_finished_first() -> None:
    """Such an answer has an end; bytes without one are cut, as nothing can be said in them."""
    with serve_process("tests.streams.apps:make_app", factory=True) as server:
        download = Connection(server.url, "/Wire/slow_download", query={"length": 50})
        endless = Connection(server.url, "/Wire/slow_download")
        for connection in (download, endless):
            connection.read_until(b"\r\n\r\n")
            connection.read_until(b"x")
        server.terminate()
        download.read_until(b"\r\n\r\n" + b"x" * 50)
        while endless.read_some():
            pass
        assert not endless.is_complete
        download.leave()
        endless.leave()


def test_a_server_in_a_thread(tag: str) -> None:
    """Without signals, too: a server that is told to stop ends its streams."""
    with serve(make_app(), timeout_graceful_shutdown=None) as server:
        connection = Connection(server.url, "/Leaving/long_await", query={"tag": tag})
        connection.read_until(b"data: ")
    connection.read_all()
    assert connection.body.endswith(SHUTTING_DOWN)
    connection.leave()
