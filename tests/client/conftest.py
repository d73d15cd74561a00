"""One live server for the client's tests, and clients of it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI

from fastapi_poto.client import PotoClient
from fastapi_poto.testing import LiveApp, serve

from .app import make_app


@pytest.fixture(scope="session")
def app() -> FastAPI:
    return make_app()


@pytest.fixture(scope="session")
def live(app: FastAPI) -> Iterator[LiveApp]:
    with serve(app) as live:
        yield live


@pytest.fixture
async def client(live: LiveApp) -> AsyncIterator[PotoClient]:
    """A client that has not signed in."""
    async with PotoClient(live.url + "/api") as client:
        yield client


@pytest.fixture
async def visitor(client: PotoClient) -> PotoClient:
    """The client, signed in as a visitor."""
    await client.sign_in_visitor()
    return client
