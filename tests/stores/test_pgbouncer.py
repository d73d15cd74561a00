"""Behind PgBouncer: in session mode notifications arrive, in transaction mode they do not, and that is noticed."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastapi_poto.stores import Entry, store_from_url
from fastapi_poto.streaming.tails import NOW, Tails
from tests.servers import PgBouncer, PostgresServer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_both_modes(
    mode: str, postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is published is heard in either; a warning says once that it takes a look every 50 ms."""
    settings = {"pool_mode": mode, "ignore_startup_parameters": "extra_float_digits,search_path"}
    settings["default_pool_size"] = "20"  # in session mode a connection is its client's
    with PgBouncer(tmp_path, postgres, **settings) as bouncer, caplog.at_level(logging.WARNING):
        mine, other = (store_from_url(f"{bouncer.url}?timeout=5") for _ in range(2))
        tails = Tails(mine.log)
        reader = tails.reader(f"bouncer:{mode}")
        await reader.begin(NOW)
        await asyncio.sleep(0.3)
        for number in range(5):
            await other.log.append([Entry(key=f"bouncer:{mode}", events=[b"%d" % number])])
            async with asyncio.timeout(1.0):
                step = await reader.step()
            assert [event for _, event in step.events] == [b"%d" % number]
        if mode == "transaction":
            async with asyncio.timeout(10):
                while "PgBouncer" not in caplog.text:
                    await asyncio.sleep(0.05)
        reader.close()
        await tails.close()
        await mine.close()
        await other.close()
    told = [record for record in caplog.records if "PgBouncer" in record.getMessage()]
    assert len(told) == (mode == "transaction")
