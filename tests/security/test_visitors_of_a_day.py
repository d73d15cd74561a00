"""Threat 38: a day with very many visitors. The full size is measured by `python -m benchmarks visitors`."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from fastapi_poto import Poto
from fastapi_poto.errors import Unavailable
from fastapi_poto.settings import DAY
from fastapi_poto.testing import Clock
from tests.secret import SECRET
from tests.servers import PostgresServer, RedisServer

VISITORS = 600


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres", "redis"])
def test_38_the_visitors_of_one_day(kind: str, tmp_path: Path) -> None:
    """Threat 38: all are removed with what they left, others are served meanwhile, and a bad day stops no other."""
    with ExitStack() as stack:
        if kind in ("postgres", "redis"):
            url = stack.enter_context((PostgresServer if kind == "postgres" else RedisServer)(tmp_path)).url
        else:
            url = "memory://" if kind == "memory" else f"sqlite:///{tmp_path}/poto.db"
        removed, left, served = anyio.run(_purge, url)
    assert VISITORS <= removed <= VISITORS + 16  # those who went before the failure are tried again
    assert left == []
    assert served >= 5


async def _purge(url: str) -> tuple[int, list[str], int]:
    clock = Clock()
    poto = Poto(SECRET, store=url, clock=clock, visitors_per_hour=None)
    await poto.open()
    gone = []
    for _ in range(0, VISITORS, 20):
        gone += [pair.user_id for pair in await asyncio.gather(*(poto.sign_in.visitor("a") for _ in range(20)))]
    clock.advance(days=1)
    # Another day's record is of no use: junk where the shards are to be.
    bad_day = int(clock() // DAY)
    await poto.store.write(f"visitor_shards:{bad_day}", {"junk": b""}, create=True)
    clock.advance(days=40)
    stays = await poto.sign_in.visitor("a")
    fail_on = gone[0]

    async def remove(user_id: str) -> None:
        if user_id == fail_on:
            raise Unavailable
        await poto.accounts.remove_visitor(user_id)

    first = await poto.visitors.purge(remove)
    assert first < VISITORS
    purging = asyncio.create_task(poto.visitors.purge(poto.accounts.remove_visitor))
    served = 0
    while not purging.done():
        await poto.sign_in.refresh(stays.refresh_token, "a")
        served += 1
        await asyncio.sleep(0)
    mine, left = set(gone), list[str]()
    cursor: str | None = None
    while True:
        page = await poto.store.names("", cursor=cursor)
        left += [name for name in page.names if any(part in mine for part in name.split(":"))]
        cursor = page.cursor
        if cursor is None:
            break
    assert await poto.users.get(stays.user_id) is not None
    removed = first + purging.result()
    await poto.close()
    return removed, left, served
