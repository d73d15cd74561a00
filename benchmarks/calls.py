"""The time of one authenticated call, as ratios against the same call written by hand.

Benchmarks mislead when the opponents do not run side by side: here all are measured in turn, several
rounds over, in one process each round, and the median round counts. The machine's own speed cancels out.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.apps import BUILDERS

ROUNDS = 9
CALLS = 300


def in_process() -> None:
    """Microseconds of one ASGI call, without a server."""
    entries = {
        "mount (floor)": BUILDERS["mount"](1),
        "poto, 1 method": BUILDERS["poto"](1),
        "poto, 200 methods": BUILDERS["poto"](200),
        "poto, 1,000 methods": BUILDERS["poto"](1000),
        "FastAPI by hand, 1 route": BUILDERS["fastapi"](1),
        "FastAPI by hand, 200 routes": BUILDERS["fastapi"](200),
        "Litestar, 1 route": BUILDERS["litestar"](1),
        "Litestar, 200 routes": BUILDERS["litestar"](200),
    }
    samples = _measure(entries, "One authenticated POST, in process (a bearer token, 3 fields in, 4 fields out)")
    for label, one, other, wanted in (
        ("FastAPI / poto, 1 method", "FastAPI by hand, 1 route", "poto, 1 method", "at least 5"),
        ("FastAPI / poto, 200 methods", "FastAPI by hand, 200 routes", "poto, 200 methods", "at least 20"),
        ("poto, 1,000 / 1 method", "poto, 1,000 methods", "poto, 1 method", "at most 1.2"),
        ("poto / mount", "poto, 1 method", "mount (floor)", "at most 1.7"),
        ("Litestar / poto, 1 method", "Litestar, 1 route", "poto, 1 method", "no bound"),
    ):
        print(f"  {label:28} {_ratio(samples, one, other):8.2f}  ({wanted})")


def _measure(entries: dict[str, tuple[Any, str, str, bytes]], title: str) -> dict[str, list[float]]:
    """Seconds a call, of each entry in each round."""
    callers = {name: call_of(*entry) for name, entry in entries.items()}
    samples: dict[str, list[float]] = {name: [] for name in callers}
    with asyncio.Runner() as runner:
        for caller in callers.values():
            runner.run(repeat(caller, 50))
        for _ in range(ROUNDS):
            for name, caller in callers.items():
                samples[name].append(runner.run(repeat(caller, CALLS)))
    print(f"\n{title}")
    for name, times in samples.items():
        print(f"  {name:28} {statistics.median(times) * 1e6:8.1f} µs")
    return samples


def _ratio(samples: dict[str, list[float]], one: str, other: str) -> float:
    return statistics.median(a / b for a, b in zip(samples[one], samples[other], strict=True))


def call_of(app: Any, path: str, token: str, body: bytes) -> Callable[[], Any]:
    headers = [
        (b"host", b"localhost"),
        (b"authorization", f"Bearer {token}".encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    message = {"type": "http.request", "body": body, "more_body": False}
    statuses: list[int] = []

    async def receive() -> Any:
        return message

    async def send(event: Any) -> None:
        if event["type"] == "http.response.start":
            statuses.append(event["status"])

    async def call() -> None:
        await app(
            {
                "type": "http",
                "asgi": {"version": "3.0"},
                "http_version": "1.1",
                "method": "POST",
                "scheme": "http",
                "path": path,
                "raw_path": path.encode(),
                "root_path": "",
                "query_string": b"",
                "headers": headers,
                "client": ("127.0.0.1", 1),
                "server": ("127.0.0.1", 80),
                "state": {},
            },
            receive,
            send,
        )
        if statuses.pop() != 200:
            raise RuntimeError(f"{path} did not answer 200")

    return call


async def repeat(call: Callable[[], Any], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        await call()
    return (time.perf_counter() - start) / times


def traced() -> None:
    """The same in process with a tracer provider set, which is for good: in a process of its own."""
    command = [sys.executable, "-c", "from benchmarks.calls import _traced; _traced()"]
    subprocess.run(command, check=True)


def _traced() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class Exporter(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Exporter()))
    trace.set_tracer_provider(provider)
    samples = _measure(
        {name: BUILDERS[name](1) for name in ("mount", "poto", "fastapi")}, "The same with a tracer provider set"
    )
    for label, one, other, wanted in (
        ("FastAPI / poto", "fastapi", "poto", "at least 4"),
        ("poto / mount", "poto", "mount", "at most 1.3"),
    ):
        print(f"  {label:28} {_ratio(samples, one, other):8.2f}  ({wanted})")


SERVERS = {
    "uvicorn": ["uvicorn", "--log-level", "warning", "--no-access-log"],
    "granian": ["granian", "--interface", "asgi", "--log-level", "warning"],
}


def through_servers(seconds: int = 4, rounds: int = 3) -> None:
    """Requests per second of one worker under 32 connections of wrk."""
    entries = [
        *(("uvicorn", *one) for one in (("raw", 1), ("poto", 1), ("fastapi", 1), ("litestar", 1))),
        *(("uvicorn", *one) for one in (("poto", 200), ("fastapi", 200))),
        *(("granian", *one) for one in (("raw", 1), ("poto", 1), ("fastapi", 1))),
    ]
    results: dict[tuple[str, str, int], list[float]] = {entry: [] for entry in entries}
    for _ in range(rounds):
        for entry in entries:
            results[entry].append(_serve_and_load(*entry, seconds))
    print(f"\nOne worker, 32 connections of wrk, {rounds} rounds of {seconds} s")
    for (server, name, count), rates in results.items():
        print(f"  {server:8} {name:10} {count:4} methods {statistics.median(rates):8.0f} requests/s")
    for server, count, other, wanted in (
        ("uvicorn", 1, "fastapi", "at least 3.5"),
        ("uvicorn", 200, "fastapi", "no bound"),
        ("uvicorn", 1, "raw", "at least 0.5"),
        ("granian", 1, "fastapi", "no bound"),
        ("granian", 1, "raw", "no bound"),
    ):
        pairs = zip(results[server, "poto", count], results[server, other, count], strict=True)
        ratio = statistics.median(one / another for one, another in pairs)
        print(f"  {server}: poto / {other}, {count} methods {ratio:8.2f}  ({wanted})")


def _serve_and_load(server_name: str, name: str, count: int, seconds: int) -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "BENCH_APP": name, "BENCH_COUNT": str(count)}
    program, *options = SERVERS[server_name]
    command = [str(Path(sys.executable).parent / program), *options, "--factory", "--port", str(port)]
    server = subprocess.Popen([*command, "benchmarks.serve:app"], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        path, token = server.stdout.readline().split()
        _wait_for(port)
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(
                'wrk.method = "POST"\n'
                f"wrk.body = [[{BUILDERS['mount'](1)[3].decode()}]]\n"
                'wrk.headers["Content-Type"] = "application/json"\n'
                f'wrk.headers["Authorization"] = "Bearer {token}"\n'
            )
            script.flush()
            command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", script.name, f"http://127.0.0.1:{port}{path}"]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in output:
            raise RuntimeError(output)
        return float(output.split("Requests/sec:")[1].split()[0])
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main() -> None:
    in_process()
    traced()
    through_servers()


if __name__ == "__main__":
    main()
