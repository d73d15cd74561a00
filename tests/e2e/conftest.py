"""Servers that a test process keeps, and users who call them."""

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import httpx
import pytest

from tests.e2e.caller import Caller, new_client
from tests.processes import LiveProcess, serve_process, serve_shared
from tests.secret import SECRET

APP = "tests.e2e.app:make_app"
# These suites make more visitors an hour than one address is allowed.
MANY_VISITORS = {"POTO_VISITORS_PER_HOUR": "none"}
PROCESSES = int(os.environ.get("E2E_PROCESSES", "1"))
"""Of the application behind one port: `make suites` runs all of this with several."""

ServerOf = Callable[[str, str], LiveProcess]


@pytest.fixture(scope="session")
def server_of() -> Iterator[ServerOf]:
    """Gives the server with a pair of uvicorn's parts and a path: started when first asked for, then kept."""
    with ExitStack() as stack:

        @cache
        def start(parts: str, path: str) -> LiveProcess:
            loop, http = parts.split("-")
            env = {**MANY_VISITORS, "E2E_PATH": path}
            if PROCESSES == 1:
                return stack.enter_context(serve_process(APP, factory=True, env=env, loop=loop, http=http))
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            env |= {"POTO_STORE": f"sqlite:///{folder}/poto.db", "POTO_SECRET": SECRET}
            return stack.enter_context(serve_shared(APP, PROCESSES, factory=True, env=env, loop=loop, http=http))

        yield start


@pytest.fixture(params=["fast path", "dependency path"])
def path(request: pytest.FixtureRequest) -> str:
    """The way to a method's arguments: without FastAPI's solver, or through it."""
    name: str = request.param
    return name


@pytest.fixture
def server(server_of: ServerOf, path: str) -> LiveProcess:
    return server_of("uvloop-httptools", path)


@pytest.fixture(params=["uvloop-httptools", "asyncio-h11"])
def either_server(request: pytest.FixtureRequest, server_of: ServerOf, path: str) -> LiveProcess:
    """Both of uvicorn's pairs: contextvars leak on each in a way of its own."""
    return server_of(request.param, path)


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
