"""One server a test process, and users who call it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.caller import Caller, new_client
from tests.live import LiveProcess, serve

APP = "tests.e2e.app:make_app"
# These suites make more visitors an hour than one address is allowed.
MANY_VISITORS = {"POTO_VISITORS_PER_HOUR": "0"}


@pytest.fixture(scope="session")
def server() -> Iterator[LiveProcess]:
    with serve(APP, factory=True, env=MANY_VISITORS, loop="uvloop", http="httptools") as live:
        yield live


@pytest.fixture(scope="session", params=["uvloop-httptools", "asyncio-h11"])
def either_server(request: pytest.FixtureRequest) -> Iterator[LiveProcess]:
    """Both of uvicorn's pairs: contextvars leak on each in a way of its own."""
    loop, http = request.param.split("-")
    with serve(APP, factory=True, env=MANY_VISITORS, loop=loop, http=http) as live:
        yield live


@pytest.fixture
async def http(server: LiveProcess, anyio_backend: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with new_client(server.url) as client:
        yield client


@pytest.fixture
async def visitor(http: httpx.AsyncClient) -> Caller:
    return await Caller.visitor(http)


@pytest.fixture
def new_visitor(http: httpx.AsyncClient) -> Callable[[], Awaitable[Caller]]:
    return lambda: Caller.visitor(http)
