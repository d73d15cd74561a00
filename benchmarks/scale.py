"""What one call, stream, sign-in and user costs: the units that `benchmarks.hour` and docs/scaling.md multiply.

    python -m benchmarks.scale

Costs are those of this machine: of one uvicorn worker, and of Redis (without a file) and PostgreSQL (fsync on).
"""

import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import psutil
from fastapi import FastAPI

from fastapi_poto import Poto, PotoModule, poto_router, public, rpc
from fastapi_poto.stores import Entry, Life, MemoryStore, store_from_url
from tests.processes import serve_process
from tests.secret import SECRET
from tests.servers import PostgresServer, RedisServer

CONNECTIONS = 32
SECONDS = 1.5
STREAMS = 1_000
PASSWORD = "correct horse battery"


class Bench(PotoModule):
    async def call(self, number: int) -> int:
        return number

    async def read(self) -> int:
        value: int = await self.session.get("n", 0)
        return value

    async def count(self) -> int:
        return await self.session.increment("n")

    async def stream(self) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    @rpc(resumable=True)
    async def resumable(self) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    @public
    async def get_idle(self) -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(3600)

    @public
    async def get_ticks(self, seconds: float) -> AsyncIterator[int]:
        for number in range(1_000_000):
            yield number
            await asyncio.sleep(seconds)


def make_app(store: Any = None) -> FastAPI:
    app = FastAPI()
    poto = Poto(SECRET, store=store or os.environ["POTO_STORE"], visitors_per_hour=None, streams_per_user=None)
    app.include_router(poto_router(Bench, poto=poto))
    app.state.poto = poto
    return app


# Measured


async def operations() -> dict[str, Counter[str]]:
    """What each action asks of the store, once the caller is known to the process."""
    store, found = MemoryStore(), Counter[str]()

    def counted(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        async def count(*args: Any, **kwargs: Any) -> Any:
            found[name] += 1
            return await operation(*args, **kwargs)

        return count

    for name in ("read", "write", "add", "swap", "delete"):
        setattr(store, name, counted(name, getattr(store, name)))
    for name in ("append", "read"):
        setattr(store.log, name, counted(f"log {name}", getattr(store.log, name)))
    app = make_app(store)
    poto: Poto = app.state.poto
    shown: dict[str, Counter[str]] = {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bench") as client:
        await poto.accounts.create("ada", PASSWORD)
        pair = (await client.post("/auth/visitor")).json()
        headers = {"Authorization": f"Bearer {pair['access_token']}"}
        form = {"username": "ada", "password": PASSWORD}
        actions: dict[str, Callable[[], Any]] = {
            "a visitor comes": lambda: client.post("/auth/visitor"),
            "a sign-in with a password": lambda: client.post("/auth/login", data=form),
            "a call": lambda: client.post("/Bench/call", json={"number": 1}, headers=headers),
            "a call that reads the session": lambda: client.post("/Bench/read", headers=headers),
            "a call that counts in it": lambda: client.post("/Bench/count", headers=headers),
            "a stream begins": lambda: client.post("/Bench/stream", headers=headers),
            "a resumable stream of 3 items": lambda: client.post("/Bench/resumable", headers=headers),
            "a refresh": lambda: client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]}),
        }
        for name, action in actions.items():
            if "call" in name or "stream" in name:
                await action()
                await asyncio.sleep(0.3)
            found.clear()
            answer = await action()
            assert answer.status_code == 200, (name, answer.text)
            await asyncio.sleep(0.3)
            shown[name] = found.copy()
    await poto.close()
    return shown


def cpu_of(pids: Sequence[int]) -> float:
    spent = 0.0
    for pid in pids:
        times = psutil.Process(pid).cpu_times()
        spent += times.user + times.system
    return spent


async def load(url: str, request: bytes, seconds: float) -> int:
    """Answers to one request on connections that are kept, as fast as they come."""
    host, port = url.removeprefix("http://").split(":")
    end, done = time.monotonic() + seconds, 0

    async def connection() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection(host, int(port))
        with closing(writer):
            while time.monotonic() < end:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 20"), head
                if b"chunked" in head:
                    await reader.readuntil(b"0\r\n\r\n")
                else:
                    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                    await reader.readexactly(int(length))
                done += 1

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return done


async def processor(name: str, url: str, store_pids: Callable[[], Sequence[int]], folder: Path) -> None:
    """Microseconds of a worker, and of the store's server, for each action."""
    with serve_process("benchmarks.scale:make_app", factory=True, directory=folder, env={"POTO_STORE": url}) as live:
        pair = httpx.post(f"{live.url}/auth/visitor").json()
        for path, body in (
            ("/Bench/call", b'{"number":1}'),
            ("/Bench/read", b""),
            ("/Bench/count", b""),
            ("/Bench/stream", b""),
            ("/auth/visitor", b""),
        ):
            head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {pair['access_token']}\r\n"
            if path == "/auth/visitor":
                head = f"POST {path} HTTP/1.1\r\nhost: x\r\n"
            request = f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
            await load(live.url, request, 0.5)
            worker, stores = cpu_of([live.pid]), cpu_of(store_pids())
            done = await load(live.url, request, SECONDS)
            worker, stores = cpu_of([live.pid]) - worker, cpu_of(store_pids()) - stores
            print(f"  {name:11} {path:17} {worker / done * 1e6:7.0f} µs worker {stores / done * 1e6:7.0f} µs store")
        if name == "memory":
            await idle(live.url, live.pid)


async def idle(url: str, pid: int) -> None:
    """Memory of a stream that is open, and the processor's time of an item that comes alone."""
    host, port = url.removeprefix("http://").split(":")
    for path, pause in (("/Bench/idle", 0.0), ("/Bench/ticks?seconds=1", 1.0)):
        before = psutil.Process(pid).memory_info().rss
        opened = []
        for _ in range(STREAMS):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            await reader.readuntil(b"data: ")
            opened.append(writer)
        after = psutil.Process(pid).memory_info().rss
        await asyncio.sleep(2)
        spent = cpu_of([pid])
        await asyncio.sleep(4)
        spent = cpu_of([pid]) - spent
        if pause:
            print(f"  an item that comes alone: {spent / 4 / STREAMS * 1e6:.0f} µs")
        else:
            print(
                f"  a stream: {(after - before) / STREAMS / 1024:.0f} KiB;"
                f" idle, {STREAMS} take {spent / 4:.2%} of a core"
            )
        for writer in opened:
            writer.close()
        await asyncio.sleep(0.5)


async def sizes(name: str, url: str, size: Callable[[], int], count: int = 2_000) -> None:
    """Bytes in the store of what users leave there."""
    store = store_from_url(f"{url}?timeout=5" if "sqlite" not in url else url)
    await store.open()
    values = {f"value{number}": b"x" * 100 for number in range(10)}
    events = [b"x" * 200] * 100

    async def make(kind: str, number: int) -> None:
        if kind == "a sign-in":
            fields = {f"{number:016x}{field}": b"x" * 70 for field in ("a", "b")}
            await store.write(f"auth:{number:032x}", fields, create=Life(86_400 * 30))
        elif kind.startswith("a session"):
            await store.write(f"session:{number:032x}", values, create=Life(86_400))
        elif kind.startswith("a log"):
            await store.log.append([Entry(key=f"log:{number}", events=events)])

    for kind in ("a sign-in", "a session of 10 values of 100 bytes", "a log of 100 events of 200 bytes"):
        before = size()
        for begin in range(0, count, 100):
            await asyncio.gather(*(make(kind, number) for number in range(begin, begin + 100)))
        print(f"  {name:11} {kind:36} {(size() - before) / count:8,.0f} bytes")
    await store.close()


def main() -> None:
    print("What actions ask of the store")
    for action, found in asyncio.run(operations()).items():
        print(f"  {action:32} {', '.join(f'{count} {name}' for name, count in found.items()) or 'nothing'}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-scale-")))
        redis = stack.enter_context(RedisServer(folder / "redis", durable=False))
        postgres = stack.enter_context(PostgresServer(folder / "postgres", durable=True))
        print("Processor")
        stores: tuple[tuple[str, str, Callable[[], Sequence[int]]], ...] = (
            ("memory", "memory://", list),
            ("Redis", redis.url, redis.processes),
            ("PostgreSQL", postgres.url, postgres.processes),
            ("SQLite", f"sqlite:///{folder / 'poto.db'}", list),
        )
        for name, url, pids in stores:
            asyncio.run(processor(name, url, pids, folder))
        print("Bytes")

        def in_redis() -> int:
            import redis as driver

            return int(driver.Redis.from_url(redis.url).info("memory")["used_memory"])

        def in_postgres() -> int:
            import asyncpg

            async def ask() -> int:
                db = await asyncpg.connect(postgres.url)
                await db.execute("CHECKPOINT")
                size = await db.fetchval("SELECT pg_database_size(current_database())")
                await db.close()
                return int(size)

            return asyncio.run(ask())

        def in_sqlite() -> int:
            import sqlite3

            with closing(sqlite3.connect(folder / "sizes.db")) as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return (folder / "sizes.db").stat().st_size

        asyncio.run(sizes("Redis", redis.url, in_redis))
        asyncio.run(sizes("SQLite", f"sqlite:///{folder / 'sizes.db'}", in_sqlite))
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            asyncio.run(sizes("PostgreSQL", postgres.url, lambda: pool.submit(in_postgres).result()))


if __name__ == "__main__":
    main()
