"""300,000 visitors of one day, purged on each store, and how long other calls wait meanwhile.

The visitors are written as `Visitors.note` and the sign-in routes write them, many at once. Redis and PostgreSQL are
servers of their own, started here; a quarter as many are purged with `VISITORS=75000`.
"""

import asyncio
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from fastapi_poto import Poto
from fastapi_poto.testing import Clock
from tests.secret import SECRET
from tests.servers import PostgresServer, RedisServer

VISITORS = int(os.environ.get("VISITORS", "300000"))
STORES = os.environ.get("STORES", "sqlite redis postgres").split()


async def purge(url: str) -> None:
    clock = Clock()
    poto = Poto(SECRET, store=url, clock=clock, visitors_per_hour=None)
    await poto.open()
    began = time.perf_counter()
    for _ in range(0, VISITORS, 100):
        await asyncio.gather(*(poto.sign_in.visitor("a") for _ in range(100)))
    made = time.perf_counter() - began
    clock.advance(days=40)
    stays = await poto.sign_in.visitor("a")
    waits: list[float] = []

    async def call() -> None:
        start = time.perf_counter()
        await poto.token_families.is_active(stays.user_id, "x", 0)
        waits.append(time.perf_counter() - start)

    for _ in range(200):
        await call()
    alone, waits[:] = max(waits), []
    began = time.perf_counter()
    purging = asyncio.create_task(poto.visitors.purge(poto.accounts.remove_visitor))
    while not purging.done():
        await call()
        await asyncio.sleep(0.01)
    took = time.perf_counter() - began
    waits.sort()
    worst, median = waits[-1] * 1e3, statistics.median(waits) * 1e3
    print(f"  made in {made:.0f} s; {purging.result():,} purged in {took:.0f} s, {VISITORS / took:,.0f} a second")
    print(f"  another call waits {median:.1f} ms in the median, {worst:.0f} at worst; alone {alone * 1e3:.0f} at worst")
    await poto.close()


def main() -> None:
    for kind in STORES:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            if kind == "sqlite":
                url = f"sqlite:///{folder}/poto.db"
            else:
                url = stack.enter_context((PostgresServer if kind == "postgres" else RedisServer)(folder / kind)).url
            print(f"{kind}, {VISITORS:,} visitors of one day", flush=True)
            asyncio.run(purge(url))
