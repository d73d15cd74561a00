"""Every store that the contract is held to, on real servers that this test process owns."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fastapi_poto.stores import Store, store_from_url
from tests.servers import PostgresServer, RedisServer

STORES = ["memory", "sqlite", "postgres", "redis"]
SHARED_STORES = STORES[1:]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


def url_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of a store of this kind; Redis and PostgreSQL keep what earlier tests left.

    Patient: these suites are about what is kept. How soon a server that is away is noticed, others say.
    """
    match kind:
        case "memory":
            return "memory://"
        case "sqlite":
            return f"sqlite:///{folder / 'poto.db'}"
        case "postgres":
            postgres: PostgresServer = request.getfixturevalue("postgres_server")
            return f"{postgres.url}?timeout=5"
        case _:
            redis: RedisServer = request.getfixturevalue("redis_server")
            return f"{redis.url}?timeout=5"


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, request, tmp_path)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    opened = store_from_url(store_url)
    await opened.open()
    yield opened
    await opened.close()


async def until_gone(store: Store, record: str) -> None:
    """Wait for a record to expire."""
    while await store.read(record) is not None:
        await asyncio.sleep(0.01)
