"""The same calls on both paths."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI

from fastapi_poto import Poto, PotoModule, poto_router
from tests.secret import SECRET


async def nothing() -> None:
    """A dependency of the router: with it, calls need FastAPI's solver."""


class Served:
    """An application in this process, and a client of it."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient, poto: Poto) -> None:
        self.app = app
        self.client = client
        self.poto = poto

    async def sign_in(self) -> dict[str, str]:
        """The headers of a new visitor."""
        answer = await self.client.post("/auth/visitor")
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def signed_in(self) -> httpx.AsyncClient:
        self.client.headers.update(await self.sign_in())
        return self.client


Serve = Callable[..., Served]


@pytest.fixture(params=["fast path", "dependency path"])
def path(request: pytest.FixtureRequest) -> str:
    """Which path calls take."""
    return str(request.param)


@pytest.fixture
async def serve(path: str) -> AsyncIterator[Serve]:
    """`serve(Module, …)` gives an application in which the modules' methods take the path."""
    clients: list[httpx.AsyncClient] = []
    potos: list[Poto] = []

    def make(*modules: type[PotoModule], app: FastAPI | None = None, prefix: str = "", **arguments: Any) -> Served:
        app = app or FastAPI()
        poto = arguments.pop("poto", None) or Poto(SECRET)
        dependencies = arguments.pop("dependencies", [])
        if path == "dependency path":
            dependencies = [Depends(nothing), *dependencies]
        app.include_router(poto_router(*modules, poto=poto, dependencies=dependencies, **arguments), prefix=prefix)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://test")
        clients.append(client)
        potos.append(poto)
        return Served(app, client, poto)

    yield make
    for client in clients:
        await client.aclose()
    for poto in potos:
        await poto.close()
