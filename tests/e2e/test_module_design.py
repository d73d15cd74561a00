"""State on the class, the module or the process races; the session, the context and ids of their own do not."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fastapi_poto.audit import audit
from tests.e2e.anti_patterns import make_app
from tests.e2e.caller import Caller, new_client
from tests.e2e.conftest import MANY_VISITORS
from tests.processes import serve_process, serve_processes
from tests.secret import SECRET

pytestmark = pytest.mark.anyio

APP = "tests.e2e.anti_patterns:make_app"
CALLERS = 20


@pytest.fixture(scope="module")
def url() -> Any:
    with serve_process(APP, factory=True, env=MANY_VISITORS) as live:
        yield live.url


@pytest.fixture
async def http(url: str, anyio_backend: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with new_client(url) as client:
        yield client


async def at_once(callers: list[Caller], path: str) -> list[Any]:
    """All call the method, and are in it at the same time."""
    body = {"meet": uuid.uuid4().hex, "of": len(callers)}
    return await asyncio.gather(*(caller.call(path, **body) for caller in callers))


Callers = Callable[[], Awaitable[list[Caller]]]


@pytest.fixture
def visitors(http: httpx.AsyncClient) -> Callers:
    async def make() -> list[Caller]:
        return list(await asyncio.gather(*(Caller.visitor(http) for _ in range(CALLERS))))

    return make


async def test_counting(http: httpx.AsyncClient) -> None:
    """20 calls of one user: in a dictionary of the class one of them is counted, in the session all."""
    visitor = await Caller.visitor(http)
    await at_once([visitor] * CALLERS, "/Shared/count")
    assert await visitor.value("GET", "/Shared/count") == 1
    counted = await at_once([visitor] * CALLERS, "/Apart/count")
    assert sorted(counted) == list(range(1, CALLERS + 1))
    assert await visitor.value("GET", "/Apart/count") == CALLERS


async def test_ids(visitors: Callers) -> None:
    """20 orders at once: a counter of the class gives them all one number."""
    callers = await visitors()
    assert len(set(await at_once(callers, "/Shared/order"))) == 1
    assert len(set(await at_once(callers, "/Apart/order"))) == CALLERS


async def test_the_caller(visitors: Callers) -> None:
    """20 users at once: a global names one of them to all, the context each to themselves."""
    callers = await visitors()
    assert len(set(await at_once(callers, "/Shared/whoami"))) == 1
    assert await at_once(callers, "/Apart/whoami") == [caller.id for caller in callers]


async def test_over_two_processes(tmp_path: Path) -> None:
    """Each process has a class of its own; the session is one."""
    env = {**MANY_VISITORS, "POTO_STORE": f"sqlite:///{tmp_path}/poto.db", "POTO_SECRET": SECRET}
    with serve_processes(APP, 2, factory=True, env=env) as lives:
        async with new_client(lives[0].url) as one, new_client(lives[1].url) as two:
            visitor = await Caller.visitor(one)
            for http in (one, two, two):
                await at_once([visitor.at(http)], "/Shared/count")
                await at_once([visitor.at(http)], "/Apart/count")
            shared = [await visitor.at(http).value("GET", "/Shared/count") for http in (one, two)]
            apart = [await visitor.at(http).value("GET", "/Apart/count") for http in (one, two)]
    assert (shared, apart) == ([1, 2], [3, 3])


def test_what_the_audit_says() -> None:
    """Every piece of shared state of the one, nothing of the other."""
    found = {(finding.level, finding.where) for finding in audit(make_app()).findings if finding.where != "Poto"}
    assert found == {
        ("error", "Shared.counts"),
        ("error", "Shared.next_number"),
        ("warning", "tests.e2e.anti_patterns.orders"),
        ("warning", "tests.e2e.anti_patterns.last_caller"),
    }
