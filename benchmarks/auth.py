"""What knowing the caller costs, and what a hundred sign-ins at once do to the other calls.

The look-up on every call is measured against the same look-up without it: python-jose's bare decode, which knows
nothing of users who were disabled or signed out since. The flood is sent over connections that stand already,
by plain sockets, so that the client's own work is no part of what another caller waits.
"""

import asyncio
import contextlib
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from fastapi import FastAPI
from jose import jwt

from fastapi_poto import Poto, PotoModule, poto_router, public
from fastapi_poto.errors import Unauthenticated
from fastapi_poto.stores import store_from_url

SECRET = "b3nchm4rk-0nly-5Xq2RvT8yWz1LpK6dJ9f"
NAME, PASSWORD = "ann", "correct horse battery"
ROUNDS, CALLS = 9, 2_000
LOGINS = 100


class Bench(PotoModule):
    """Something to call while others sign in."""

    @public
    async def get_status(self) -> str:
        return "open"


def app() -> FastAPI:
    """The application of the flood, with one user."""
    poto = Poto(SECRET, failures_per_address=None)
    thread = threading.Thread(target=lambda: asyncio.run(poto.accounts.create(NAME, PASSWORD)))
    thread.start()
    thread.join()
    application = FastAPI()
    application.include_router(poto_router(Bench, poto=poto))
    return application


# The look-up on every call


async def _time(call: Callable[[], Awaitable[Any]], calls: int) -> float:
    """Seconds for one, the median of the rounds."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            await call()
        rounds.append((time.perf_counter() - start) / calls)
    return statistics.median(rounds)


def _request(token: str) -> dict[str, Any]:
    headers = [(b"host", b"x"), (b"accept", b"*/*"), (b"content-type", b"application/json")]
    return {"type": "http", "headers": [*headers, (b"authorization", f"Bearer {token}".encode())]}


async def _look_ups(folder: Path) -> dict[str, float]:
    measured = {}
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{folder}/auth.db"}
    if os.environ.get("POTO_BENCH_REDIS"):
        urls["redis"] = os.environ["POTO_BENCH_REDIS"]
    for name, url in urls.items():
        store = store_from_url(url)
        poto = Poto(SECRET, store=store)
        await poto.open()
        pair = await poto.sign_in.visitor("192.0.2.1")
        request = _request(pair.access_token)
        authenticate = poto.authenticator.authenticate
        measured[name] = await _time(lambda ask=authenticate, of=request: ask(of), CALLS if name == "memory" else 100)
        if name == "memory":
            tokens, token = poto.access_tokens, pair.access_token

            async def strict(tokens: Any = tokens, token: str = token) -> None:
                tokens.verify(token)

            async def bare(token: str = token) -> None:
                jwt.decode(token, SECRET, algorithms=["HS256"], audience="poto", issuer="poto")

            measured["a new token, strict parser"] = await _time(strict, 500)
            measured["python-jose's decode alone"] = await _time(bare, 500)
        await poto.close()
    return measured


def look_ups() -> None:
    with tempfile.TemporaryDirectory() as folder:
        measured = asyncio.run(_look_ups(Path(folder)))
    print("\nWho is calling, asked on every call (sign-in, user and roles as of now)")
    for name, seconds in measured.items():
        print(f"  {name:28} {seconds * 1e6:8.1f} µs")
    ratio = measured["python-jose's decode alone"] / measured["memory"]
    print(f"  python-jose alone / memory    {ratio:6.1f}")


# What the time of a refusal tells


async def _refusals(rounds: int = 60) -> dict[str, float]:
    """Milliseconds of one refused sign-in, the median, of each kind in turn."""
    poto = Poto(SECRET, free_failures=10**6, failures_per_address=None, store="memory://")
    await poto.accounts.create(NAME, PASSWORD)
    gone = await poto.accounts.create("gone", PASSWORD)
    await poto.users.set_disabled(gone.id)  # type: ignore[attr-defined]
    kinds = {
        "wrong": (NAME, "wrong"),
        "unknown": ("nobody", "wrong"),
        "disabled, wrong": ("gone", "wrong"),
        "disabled, right": ("gone", PASSWORD),
    }
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in random.sample(sorted(kinds), len(kinds)):
            start = time.perf_counter()
            with contextlib.suppress(Unauthenticated):
                await poto.sign_in.login(*kinds[kind], "192.0.2.1")
            taken[kind].append((time.perf_counter() - start) * 1e3)
    return {kind: statistics.median(times) for kind, times in taken.items()}


def refusals() -> None:
    medians = asyncio.run(_refusals())
    print("\nA refused sign-in, whatever the reason")
    for kind, milliseconds in medians.items():
        print(f"  {kind:28} {milliseconds:8.1f} ms")
    print(f"  longest / shortest           {max(medians.values()) / min(medians.values()):8.2f} (at most 1.1)")


# Visitors


async def _visitors() -> float:
    poto = Poto(SECRET)
    start = time.perf_counter()
    await asyncio.gather(*(poto.sign_in.visitor("192.0.2.1") for _ in range(100)))
    return time.perf_counter() - start


# The flood


def serve(port: int) -> None:
    uvicorn.run(app(), host="127.0.0.1", port=port, log_level="warning", access_log=False)


def flood() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    # Not uvicorn's --fd: what it makes of a descriptor has no TCP_NODELAY, and every answer would wait 40 ms.
    server = subprocess.Popen([sys.executable, "-c", f"from benchmarks.auth import serve; serve({address[1]})"])
    try:
        _wait_for(address)
        results = [_flood(address, psutil.Process(server.pid)) for _ in range(3)]
    finally:
        server.terminate()
        server.wait()
    print(f"\n{LOGINS} sign-ins with a password in one moment, one worker")
    for name in results[0]:
        values = [result[name] for result in results]
        print(f"  {name:28} {'  '.join(f'{value:8.1f}' for value in values)}")
    print("  (memory up by less than 150 MiB, others' worst wait below 250 ms, the excess 503)")


def _flood(address: tuple[str, int], process: psutil.Process) -> dict[str, float]:
    body = f"username={NAME}&password={PASSWORD.replace(' ', '+')}".encode()
    head = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(body)
    answers: list[bytes] = []

    def read() -> None:
        for connection in connections:
            with connection:
                answer = b""
                while chunk := connection.recv(65_536):
                    answer += chunk
                answers.append(answer)

    with socket.create_connection(address, timeout=60) as caller:
        _call(caller)
        connections = [socket.create_connection(address, timeout=60) for _ in range(LOGINS)]
        before = process.memory_info().rss
        waits, memory = [], []
        reader = threading.Thread(target=read)
        start = time.perf_counter()
        for connection in connections:
            connection.sendall(head + form + body)
        reader.start()
        while reader.is_alive():
            waits.append(_call(caller))
            memory.append(process.memory_info().rss - before)
            time.sleep(0.002)
        reader.join()
    statuses = [answer.split(b" ", 2)[1] for answer in answers]
    return {
        "signed in": statuses.count(b"200"),
        "503": statuses.count(b"503"),
        "all answered, ms": (time.perf_counter() - start) * 1e3,
        "memory up, MiB": max(memory) / 2**20,
        "others' worst wait, ms": max(waits) * 1e3,
        "others' median wait, ms": statistics.median(waits) * 1e3,
    }


def _wait_for(address: tuple[str, int]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(address, timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _call(caller: socket.socket) -> float:
    start = time.perf_counter()
    caller.sendall(b"GET /Bench/status HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b'"open"'):
        answer += caller.recv(4_096)
    return time.perf_counter() - start


def main() -> None:
    look_ups()
    refusals()
    print(f"\n100 visitors at once, in memory: {asyncio.run(_visitors()) * 1e3:.0f} ms (all within 1 s)")
    flood()


if __name__ == "__main__":
    main()
