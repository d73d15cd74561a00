"""Who is refused: whoever a server does not answer, and nobody else."""

import asyncio
import time

import asyncpg
import pytest

from fastapi_poto.stores import Store, store_from_url
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.anyio


async def _waiting(db: "asyncpg.Connection[asyncpg.Record]", count: int) -> None:
    """Until so many statements wait for a lock."""
    async with asyncio.timeout(10):
        while await db.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") < count:
            await asyncio.sleep(0.01)


async def test_who_swaps_too_late_blocks_nobody(postgres_server: PostgresServer) -> None:
    """One swaps a field that another changes at the same time, while a third writes it and prolongs the record."""
    stores = [store_from_url(f"{postgres_server.url}?timeout=20") for _ in range(2)]
    late, third = stores
    watching, other = [await asyncpg.connect(postgres_server.url) for _ in range(2)]
    try:
        await late.write("crossing", {"field": b"old"}, create=True, expires_in=60)
        await third.read("crossing")
        change = other.transaction()
        await change.start()
        await other.execute(
            "UPDATE poto_fields SET value = 'new' WHERE record = (SELECT id FROM poto_records WHERE name LIKE $1)",
            "%crossing",
        )
        swap = asyncio.create_task(late.swap("crossing", "field", b"old", b"mine"))
        await _waiting(watching, 1)
        write = asyncio.create_task(third.write("crossing", {"field": b"third"}, expires_in=60))
        await _waiting(watching, 2)
        await change.commit()
        assert await swap is False
        assert await write is True
        assert await late.read("crossing") == {"field": b"third"}
    finally:
        for db in (watching, other):
            await db.close()
        for store in stores:
            await store.close()


@pytest.fixture(params=["postgres", "redis"])
def impatient(request: pytest.FixtureRequest) -> Store:
    """A store that waits for 0.5 s."""
    server: PostgresServer | RedisServer = request.getfixturevalue(f"{request.param}_server")
    return store_from_url(server.url)


async def test_a_process_that_stands_still_hears_the_answer(impatient: Store) -> None:
    """The process does something else for longer than its patience, and the answer is there before it looks."""
    await impatient.write("still", {"field": b"1"}, create=True)
    for _ in range(3):  # connected, and the statement prepared
        await impatient.add("still", "field", 1)
    asking = asyncio.create_task(impatient.add("still", "field", 1))
    for _ in range(3):  # the runner begins, and sends
        await asyncio.sleep(0)
    time.sleep(0.8)
    assert await asking == 5
    await impatient.close()
