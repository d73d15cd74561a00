"""Several processes on one store are one service: sign in at one, call another."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.caller import Caller, Refused, new_client
from tests.e2e.conftest import APP, MANY_VISITORS
from tests.processes import serve_processes
from tests.secret import SECRET
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.anyio

PROCESSES = 3


@pytest.fixture(scope="module", params=["sqlite", "redis", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("store")
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'poto.db'}"
    else:
        with (RedisServer if request.param == "redis" else PostgresServer)(folder) as running:
            yield f"{running.url}?timeout=15"  # these tests are about what is kept, not about slow machines


@pytest.fixture(scope="module")
def urls(store: str) -> Iterator[list[str]]:
    env = {**MANY_VISITORS, "POTO_STORE": store, "POTO_SECRET": SECRET}
    with serve_processes(APP, PROCESSES, factory=True, env=env) as lives:
        yield [live.url for live in lives]


@pytest.fixture
async def https(urls: list[str], anyio_backend: Any) -> AsyncIterator[list[httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(new_client(url)) for url in urls]


async def test_a_sign_in_holds_everywhere(https: list[httpx.AsyncClient]) -> None:
    """Calls and streams at every process are the visitor's, who registered at one."""
    visitor = await Caller.visitor(https[0])
    for http in https:
        assert await visitor.at(http).call("/Who/me") == visitor.id
        assert await visitor.at(http).items("/Who/names") == [visitor.id] * 3


async def test_a_session_is_one(https: list[httpx.AsyncClient]) -> None:
    """60 increments, 30 appends and 30 keys over all processes, 30 of them at any time: none lost."""
    visitor = await Caller.visitor(https[0])
    everywhere = [visitor.at(http) for http in https]
    operations: list[Any] = []
    for number, caller in zip(range(60), itertools.cycle(everywhere), strict=False):
        operations.append(caller.call("/Keep/add", key="sum"))
        if number % 2:
            operations.append(caller.call("/Keep/append", key="list", item=number))
            operations.append(caller.call("/Keep/set", key=f"key-{number}", value=number))
    limit = asyncio.Semaphore(30)

    async def one(operation: Any) -> None:
        async with limit:
            await operation

    await asyncio.gather(*(one(operation) for operation in operations))
    for caller in everywhere:
        kept = await caller.value("GET", "/Keep/all")
        assert kept.pop("sum") == 60
        assert sorted(kept.pop("list")) == list(range(1, 60, 2))
        assert kept == {f"key-{number}": number for number in range(1, 60, 2)}


async def test_a_logout_holds_everywhere(https: list[httpx.AsyncClient]) -> None:
    """A token that every process has seen is refused by every one after a logout at one."""
    visitor = await Caller.visitor(https[0])
    everywhere = [visitor.at(http) for http in https]
    await asyncio.gather(*(caller.call("/Keep/add", key="n") for caller in everywhere))
    await everywhere[1].value("POST", "/auth/logout")
    for caller in everywhere:
        with pytest.raises(Refused) as refused:
            await caller.call("/Who/me")
        assert refused.value.status == 401
    again = await Caller.login(https[2], visitor.id, visitor.pair["password"])
    assert await again.at(https[0]).value("GET", "/Keep/all") == {}


async def test_a_refresh_elsewhere(https: list[httpx.AsyncClient]) -> None:
    """A pair from one process is renewed at another, and the new one holds at the third."""
    visitor = await Caller.visitor(https[0])
    body = {"refresh_token": visitor.pair["refresh_token"]}
    fresh = Caller(https[2], await visitor.at(https[1]).value("POST", "/auth/refresh", json=body))
    assert await fresh.call("/Who/me") == visitor.id


async def test_a_name_is_given_once(https: list[httpx.AsyncClient]) -> None:
    """Of three visitors who want one name at three processes at once, one gets it."""
    visitors = [await Caller.visitor(http) for http in https]
    body = {"username": f"wanted-{visitors[0].id[-8:]}", "password": "long enough a password"}
    answers = await asyncio.gather(*(visitor.send("POST", "/auth/upgrade", json=body) for visitor in visitors))
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200, 409, 409], [answer.text for answer in answers]
    winner = visitors[statuses.index(200)]
    assert (await Caller.login(https[0], **body)).id == winner.id


async def test_many_users_at_many_processes(https: list[httpx.AsyncClient]) -> None:
    """20 users, each calling every process: no foreign id, no foreign value."""
    visitors = await asyncio.gather(*(Caller.visitor(http) for _, http in zip(range(20), https * 7, strict=False)))

    async def work(visitor: Caller) -> list[Any]:
        seen = []
        for http in https:
            caller = visitor.at(http)
            await caller.call("/Keep/set", key="mine", value=visitor.id)
            seen += [await caller.call("/Who/me"), *await caller.items("/Who/names")]
            seen.append(await caller.call("/Keep/value", key="mine"))
        return seen

    assert await asyncio.gather(*(work(visitor) for visitor in visitors)) == [[v.id] * 15 for v in visitors]
