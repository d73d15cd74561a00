"""A thousand streams on which nothing happens."""

import time
from contextlib import ExitStack

import psutil

from tests.processes import serve_process
from tests.streams.client import Connection

STREAMS = 1000
KIBIBYTES_EACH = 30


def test_what_idle_streams_cost() -> None:
    """Memory and processor time of a worker with a thousand of them, one timer for all."""
    with (
        ExitStack() as stack,
        serve_process("tests.streams.apps:make_app", factory=True, loop="uvloop", http="httptools") as server,
    ):
        process = psutil.Process(server.pid)
        connections: list[Connection] = []

        def open_streams(count: int) -> None:
            for _ in range(count):
                connection = Connection(server.url, "/Leaving/idle", query={"tag": "t"})
                connections.append(stack.enter_context(connection))
            for connection in connections[-count:]:
                connection.read_until(b"data: ")

        open_streams(50)
        before = process.memory_info().rss
        open_streams(STREAMS)
        each = (process.memory_info().rss - before) / STREAMS / 1024
        time.sleep(1.2)  # the visits at which first items would have been given up
        busy = process.cpu_times()
        time.sleep(1)
        spent = sum(process.cpu_times()[:2]) - sum(busy[:2])
    assert each < KIBIBYTES_EACH
    assert spent < 0.05  # 5 % of a core
