"""Servers that share a store, on each kind of it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.processes import LiveProcess, serve_processes
from tests.servers import PostgresServer, RedisServer


@pytest.fixture(scope="module", params=["sqlite", "postgres", "redis"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LiveProcess, LiveProcess]]:
    """Two servers with one store."""
    folder = tmp_path_factory.mktemp("push")
    with ExitStack() as stack:
        if request.param == "redis":
            url = stack.enter_context(RedisServer(folder, durable=False)).url
        elif request.param == "postgres":
            url = stack.enter_context(PostgresServer(folder)).url
        else:
            url = f"sqlite:///{folder}/poto.db"
        url += "?timeout=5" if request.param != "sqlite" else ""
        servers = serve_processes("tests.push.apps:make_stored_app", 2, factory=True, env={"TEST_STORE": url})
        one, other = stack.enter_context(servers)
        yield one, other


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/poto.db"
    elif request.param == "redis":
        with RedisServer(tmp_path, durable=False) as redis:
            yield f"{redis.url}?timeout=5"
    else:
        with PostgresServer(tmp_path) as postgres:
            yield f"{postgres.url}?timeout=5"


def sign_in(url: str) -> tuple[str, dict[str, str]]:
    """A new visitor: its id, and its headers."""
    pair = httpx.post(f"{url}/auth/visitor", timeout=10).raise_for_status().json()
    return pair["user_id"], {"Authorization": f"Bearer {pair['access_token']}"}
