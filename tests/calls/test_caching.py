"""What was made for one caller is kept from caches."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Response
from starlette.testclient import TestClient

from fastapi_poto import CurrentUser, Poto, PotoModule, poto_router, public
from tests.secret import SECRET


class Kept(PotoModule):
    async def get_mine(self) -> str:
        return self.user.id

    async def get_mine_by_dependency(self, response: Response) -> str:
        response.headers["X-More"] = "1"
        return self.user.id

    async def get_for_a_minute(self, response: Response) -> str:
        response.headers["Cache-Control"] = "private, max-age=60"
        return self.user.id

    async def get_file(self) -> Response:
        return Response(b"mine")

    async def get_refused(self) -> str:
        raise KeyError

    async def get_items(self) -> AsyncIterator[str]:
        yield self.user.id

    @public
    async def get_everybodys(self) -> str:
        return "same"


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.include_router(poto_router(Kept, poto=Poto(SECRET)))

    @app.get("/Kept/plain_route")
    async def plain(user: CurrentUser) -> str:
        return user.id

    @app.get("/Kept/plain_for_a_minute")
    async def plain_for_a_minute(user: CurrentUser, response: Response) -> str:
        response.headers["Cache-Control"] = "private, max-age=60"
        return user.id

    client = TestClient(app, raise_server_exceptions=False)
    token = client.post("/auth/visitor").json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    return client


@pytest.mark.parametrize("path", ["mine", "mine_by_dependency", "file", "refused", "items", "plain_route"])
def test_an_answer_to_a_caller_is_private(client: TestClient, path: str) -> None:
    """Whatever kind it is, and an error too: no store, and it varies with who asks."""
    response = client.get(f"/Kept/{path}")
    assert "no-store" in response.headers["cache-control"]
    assert response.headers.get_list("cache-control") == [response.headers["cache-control"]]
    assert response.headers["vary"] == "Authorization, Cookie, X-API-Key"


@pytest.mark.parametrize("path", ["for_a_minute", "plain_for_a_minute"])
def test_a_method_may_say_otherwise(client: TestClient, path: str) -> None:
    """Its own `Cache-Control` stands alone."""
    assert client.get(f"/Kept/{path}").headers.get_list("cache-control") == ["private, max-age=60"]


def test_what_everybody_gets_may_be_kept(client: TestClient) -> None:
    """A public method called without credentials says nothing of caches."""
    del client.headers["Authorization"]
    assert "cache-control" not in client.get("/Kept/everybodys").headers
