"""Live servers for streams, on both event loops and both HTTP parsers."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from fastapi_poto.testing import LiveApp, serve
from tests.processes import LiveProcess, serve_process
from tests.streams.apps import make_app
from tests.streams.client import Connection
from tests.streams.probe import PROBES, Probe

KINDS = [("asyncio", "h11"), ("uvloop", "httptools")]


@pytest.fixture(scope="session", params=KINDS, ids="-".join)
def live(request: pytest.FixtureRequest) -> Iterator[LiveApp]:
    """The application behind one combination of loop and parser."""
    loop, http = request.param
    with serve(make_app(), loop=loop, http=http) as server:
        yield server


@pytest.fixture(scope="session")
def one() -> Iterator[LiveApp]:
    """The application behind uvicorn as it comes, for what does not depend on the loop."""
    with serve(make_app()) as server:
        yield server


@pytest.fixture(scope="session", params=KINDS, ids="-".join)
def process(request: pytest.FixtureRequest) -> Iterator[LiveProcess]:
    """The same in a process of its own, for what the test's own threads would disturb."""
    loop, http = request.param
    with serve_process("tests.streams.apps:make_app", factory=True, loop=loop, http=http) as server:
        yield server


@pytest.fixture
def tag() -> str:
    """The name of this test's probe."""
    return uuid.uuid4().hex


@pytest.fixture
def probe(tag: str) -> Iterator[Probe]:
    yield PROBES[tag]
    del PROBES[tag]


Connect = Callable[..., Connection]


@pytest.fixture
def connect(live: LiveApp) -> Iterator[Connect]:
    """`connect(path, query=…)`: a connection that is closed with the test."""
    yield from _connector(live)


@pytest.fixture
def connect_one(one: LiveApp) -> Iterator[Connect]:
    yield from _connector(one)


def _connector(server: LiveApp) -> Iterator[Connect]:
    made: list[Connection] = []

    def connect(path: str, **arguments: Any) -> Connection:
        made.append(Connection(server.url, path, **arguments))
        return made[-1]

    yield connect
    for connection in made:
        connection.leave()


def sign_in(url: str) -> dict[str, str]:
    """The headers of a new visitor."""
    answer = httpx.post(f"{url}/auth/visitor")
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}
