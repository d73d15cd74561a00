"""Streams through a live uvicorn, as ratios against a raw ASGI loop with one write an item.

Benchmarks mislead when the opponents meet different weather: all of them are served by one process, one application
each round in turn, read by one client that only counts bytes, and the median round counts.
"""

import argparse
import asyncio
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter

ROUNDS = 7
READY_ITEMS = 40_000
TURN_ITEMS = 20_000
STREAMS = 100
ITEMS_OF_EACH = 300
MEGABYTES = 10
DOWNLOADS = 10
"""One takes a few milliseconds, too few to be a sample."""
CHUNK = b"x" * 65536
IDLE = 1000
SHORT = 3
CALLS = 1000


class Line(BaseModel):
    sku: str
    quantity: int
    note: str


def line(number: int) -> Line:
    return Line(sku="sku-000001", quantity=number, note="a note")


_line = TypeAdapter(Line)


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """What one would write without any framework."""
    _, _, mode, count = scope["path"].split("/")
    head = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    if mode == "bytes":
        for _ in range(int(count)):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    elif mode == "idle":
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    else:
        for number in range(int(count)):
            if mode == "turn":
                await asyncio.sleep(0)
            body = b"data: " + _line.dump_json(line(number)) + b"\n\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def ready(count: int) -> AsyncIterator[Line]:
    for number in range(count):
        yield line(number)


async def turn(count: int) -> AsyncIterator[Line]:
    for number in range(count):
        await asyncio.sleep(0)
        yield line(number)


async def idle(count: int) -> AsyncIterator[Line]:
    yield line(count)
    await asyncio.sleep(3600)


def frameworks() -> Any:  # noqa: C901 - an application a framework, side by side
    """One FastAPI application with the three others."""
    from fastapi import FastAPI
    from fastapi.sse import EventSourceResponse as FastapiEvents
    from sse_starlette import EventSourceResponse

    from fastapi_poto import PotoModule, poto_router, public

    @public
    class Poto(PotoModule):
        route = "poto"

        async def get_ready(self, count: int) -> AsyncIterator[Line]:
            for number in range(count):
                yield line(number)

        async def get_turn(self, count: int) -> AsyncIterator[Line]:
            for number in range(count):
                await asyncio.sleep(0)
                yield line(number)

        async def get_idle(self, count: int) -> AsyncIterator[Line]:
            yield line(count)
            await asyncio.sleep(3600)

        async def get_bytes(self, count: int) -> AsyncIterator[bytes]:
            for _ in range(count):
                yield CHUNK

    app = FastAPI()
    app.include_router(poto_router(Poto))

    @app.get("/fastapi/ready", response_class=FastapiEvents)
    async def fastapi_ready(count: int) -> AsyncIterator[Line]:
        async for item in ready(count):
            yield item

    @app.get("/fastapi/turn", response_class=FastapiEvents)
    async def fastapi_turn(count: int) -> AsyncIterator[Line]:
        async for item in turn(count):
            yield item

    @app.get("/fastapi/idle", response_class=FastapiEvents)
    async def fastapi_idle(count: int) -> AsyncIterator[Line]:
        async for item in idle(count):
            yield item

    async def events(items: AsyncIterator[Line]) -> AsyncIterator[dict[str, str]]:
        async for item in items:
            yield {"data": _line.dump_json(item).decode()}

    for make in (ready, turn, idle):

        def endpoint(count: int, make: Callable[[int], AsyncIterator[Line]] = make) -> EventSourceResponse:
            return EventSourceResponse(events(make(count)))

        app.get(f"/sse-starlette/{make.__name__}")(_with_count(endpoint))
    return app


def _with_count(endpoint: Callable[[int], Any]) -> Any:
    async def answer(count: int) -> Any:
        return endpoint(count)

    return answer


class App:
    """The raw loop on its own, everything else through FastAPI."""

    def __init__(self) -> None:
        self.frameworks = frameworks()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (raw if scope.get("path", "").startswith("/raw/") else self.frameworks)(scope, receive, send)


# The client


def connect(port: int, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    return connection


def url(opponent: str, mode: str, count: int) -> str:
    return f"/raw/{mode}/{count}" if opponent == "raw" else f"/{opponent}/{mode}?count={count}"


def drain(connections: list[socket.socket], expected: int) -> float:
    """Seconds until all have been read to their ends; each has to have brought `expected` bytes at least."""
    began = time.perf_counter()
    selector = selectors.DefaultSelector()
    read = dict.fromkeys(connections, 0)
    for connection in connections:
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
    while selector.get_map():
        for key, _ in selector.select(30):
            data = key.fileobj.recv(262_144)  # type: ignore[union-attr]
            if data:
                read[key.fileobj] += len(data)  # type: ignore[index]
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
    seconds = time.perf_counter() - began
    if min(read.values()) < expected:
        raise RuntimeError(f"a stream brought only {min(read.values())} bytes")
    return seconds


def rate(port: int, opponent: str, mode: str, count: int, streams: int = 1) -> float:
    """Items a second."""
    connections = [connect(port, url(opponent, mode, count)) for _ in range(streams)]
    expected = count * (len(CHUNK) if mode == "bytes" else 40)
    return count * streams / drain(connections, expected)


class Server:
    def __init__(self, *, loop: str, http: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.streams", "--serve", str(self.port), "--loop", loop, "--http", http],
            env={**os.environ, "POTO_SECRET": "kZ3nQ0vT8rW5yB1xF6hJ9mL2pS4uD7aE-gC_iKoNqRt"},
        )
        for _ in range(200):
            try:
                drain([connect(self.port, url("raw", "ready", 1))], 1)
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the server did not start")

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def resident(self) -> int:
        """Bytes of memory."""
        import psutil

        return int(psutil.Process(self.process.pid).memory_info().rss)

    def processor_seconds(self) -> float:
        import psutil

        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)


def speeds(loop: str, http: str, rounds: int) -> None:
    with Server(loop=loop, http=http) as server:
        everybody = ("raw", "poto", "sse-starlette", "fastapi")
        cases: list[tuple[str, str, int, int, tuple[str, ...], float]] = [
            ("items ready", "ready", READY_ITEMS, 1, everybody, 1.5),
            ("one per loop turn", "turn", TURN_ITEMS, 1, everybody, 0.5),
            ("100 streams, one per loop turn", "turn", ITEMS_OF_EACH, STREAMS, everybody, 0.5),
            (f"{MEGABYTES} MB of bytes", "bytes", MEGABYTES * 16, 1, ("raw", "poto"), 0.8),
        ]
        for title, mode, count, streams, opponents, target in cases:
            samples: dict[str, list[float]] = {name: [] for name in opponents}
            for number in range(rounds + 1):
                for name in opponents:
                    slow = 4 if name in ("sse-starlette", "fastapi") else 1
                    times = DOWNLOADS if mode == "bytes" else 1
                    rates = [rate(server.port, name, mode, max(1, count // slow), streams) for _ in range(times)]
                    if number:
                        samples[name].append(statistics.harmonic_mean(rates))
            print(f"\n{title}" + (f" ({len(CHUNK) // 1024} KiB chunks)" if mode == "bytes" else ""))
            for name, rates in samples.items():
                ratio = statistics.median(a / b for a, b in zip(rates, samples["raw"], strict=True))
                wanted = f"  (at least {target})" if name == "poto" else ""
                print(f"  {name:16} {statistics.median(rates):12,.0f} /s {ratio:8.2f} of raw{wanted}")
            for name in ("sse-starlette", "fastapi"):
                if name in samples:
                    ratio = statistics.median(a / b for a, b in zip(samples["poto"], samples[name], strict=True))
                    print(f"  poto / {name:16} {ratio:8.1f}  (at least 2)")


def short(loop: str, http: str, rounds: int, seconds: int = 2) -> None:
    """Streams of three items: a call's processor time without a server, and behind one under 32 connections of wrk."""
    everybody = ("raw", "poto", "sse-starlette", "fastapi")
    alone: dict[str, list[float]] = {name: [] for name in everybody}
    served: dict[str, list[float]] = {name: [] for name in everybody}
    rates: dict[str, list[float]] = {name: [] for name in everybody}
    app = App()
    with Server(loop=loop, http=http) as server:
        for number in range(rounds + 1):
            for name in everybody:
                one = asyncio.run(_called(app, url(name, "ready", SHORT)))
                before = server.processor_seconds()
                count, each = _loaded(server.port, url(name, "ready", SHORT), seconds)
                if number:
                    alone[name].append(one)
                    served[name].append((server.processor_seconds() - before) / count)
                    rates[name].append(each)
    print(f"\nstreams of {SHORT} items, microseconds of a processor: in process, behind a server; streams/s")
    for name in everybody:
        in_process, behind = (statistics.median(samples[name]) * 1e6 for samples in (alone, served))
        print(f"  {name:16} {in_process:8.1f} {behind:8.1f} {statistics.median(rates[name]):10,.0f} /s")
    for samples, where in ((alone, "in process"), (served, "behind a server")):
        for name in everybody:
            ratio = statistics.median(a / b for a, b in zip(samples["poto"], samples[name], strict=True))
            if name != "poto":
                print(f"  poto / {name:16} {ratio:8.2f} of its time {where}")


async def _called(app: Any, target: str) -> float:
    """Seconds of the processor for one call."""
    path, _, query = target.partition("?")
    began = time.process_time()
    for _ in range(CALLS):
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(b"host", b"bench")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
        }  # fmt: skip
        requests = [{"type": "http.request", "body": b"", "more_body": False}]
        sent: list[Any] = []

        async def receive(requests: list[Any] = requests) -> Any:
            return requests.pop() if requests else await asyncio.get_running_loop().create_future()

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        await app(scope, receive, send)
        if b"".join(message.get("body", b"") for message in sent).count(b"data: {") != SHORT:
            raise RuntimeError(f"a stream brought only {sent}")
    return (time.process_time() - began) / CALLS


def _loaded(port: int, target: str, seconds: int) -> tuple[int, float]:
    """How many requests were answered, and how many of them a second."""
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", f"http://127.0.0.1:{port}{target}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output:
        raise RuntimeError(output)
    return int(output.split(" requests in ")[0].split()[-1]), float(output.split("Requests/sec:")[1].split()[0])


def memory(loop: str, http: str) -> None:
    print(f"\n{IDLE} idle streams")
    for name in ("raw", "poto", "sse-starlette", "fastapi"):
        with Server(loop=loop, http=http) as server:
            first = [connect(server.port, url(name, "idle", 1)) for _ in range(50)]
            for connection in first:
                while b"data:" not in connection.recv(4096):
                    pass
            before = server.resident()
            connections = [connect(server.port, url(name, "idle", 1)) for _ in range(IDLE)]
            for connection in connections:
                while b"data:" not in connection.recv(4096):
                    pass
            each = (server.resident() - before) / IDLE / 1024
            time.sleep(2)  # until the last of the opening is done
            busy = server.processor_seconds()
            time.sleep(3)
            share = (server.processor_seconds() - busy) / 3 * 100
            wanted = "  (at most 30)" if name == "poto" else ""
            print(f"  {name:16} {each:8.1f} KiB each, {share:.1f} % of a core at rest{wanted}")
            for connection in first + connections:
                connection.close()


def main(given: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", type=int)
    parser.add_argument("--loop", default="auto")
    parser.add_argument("--http", default="auto")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=("short", "speed", "memory"))
    arguments = parser.parse_args(given)
    if arguments.serve:
        import uvicorn

        server = {"loop": arguments.loop, "http": arguments.http, "log_level": "critical", "access_log": False}
        uvicorn.run(App(), port=arguments.serve, **server)
        return
    if arguments.only in (None, "short"):
        short(arguments.loop, arguments.http, min(3, arguments.rounds))
    if arguments.only in (None, "speed"):
        speeds(arguments.loop, arguments.http, arguments.rounds)
    if arguments.only in (None, "memory"):
        memory(arguments.loop, arguments.http)


if __name__ == "__main__":
    main(sys.argv[1:])
