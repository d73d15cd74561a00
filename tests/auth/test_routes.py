"""The sign-in routes as a client sees them."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from fastapi_poto.auth import CurrentSession, CurrentUser, auth_router, current_user
from fastapi_poto.users import User
from tests.auth.house import House

pytestmark = pytest.mark.anyio


@pytest.fixture
def app(house: House) -> FastAPI:
    router = auth_router(house.poto)
    router.poto = house.poto  # type: ignore[attr-defined]
    app = FastAPI()
    app.include_router(router, prefix="/api")

    @app.get("/plain")
    async def plain(user: CurrentUser) -> str:
        return user.id

    @app.post("/count")
    async def count(session: CurrentSession) -> int:
        return await session.increment("count")

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test/api") as client:
        yield client


def bearer(answer: httpx.Response) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def test_the_whole_walk(client: httpx.AsyncClient) -> None:
    """Visitor, me, upgrade, login, refresh, logout: statuses, members and headers as documented."""
    visitor = await client.post("/auth/visitor")
    assert visitor.status_code == 200
    assert visitor.headers["cache-control"] == "no-store"
    assert set(visitor.json()) == {
        "access_token", "token_type", "expires_in", "refresh_token", "user_id", "password",
    }  # fmt: skip
    me = await client.get("/auth/me", headers=bearer(visitor))
    assert me.json() == {"user_id": visitor.json()["user_id"], "name": None, "roles": [], "visitor": True}
    name = {"username": "ann", "password": "correct horse"}
    upgraded = await client.post("/auth/upgrade", json=name, headers=bearer(visitor))
    assert upgraded.status_code == 200, upgraded.text
    assert set(upgraded.json()) == {"access_token", "token_type", "expires_in", "refresh_token", "user_id"}
    assert (await client.get("/auth/me", headers=bearer(visitor))).status_code == 401
    login = await client.post("/auth/login", data={**name, "grant_type": "password"})
    assert login.json()["user_id"] == visitor.json()["user_id"]
    refreshed = await client.post("/auth/refresh", json={"refresh_token": login.json()["refresh_token"]})
    assert refreshed.status_code == 200
    logout = await client.post("/auth/logout", headers=bearer(refreshed))
    assert (logout.status_code, logout.content) == (204, b"")
    refused = await client.get("/auth/me", headers=bearer(refreshed))
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Bearer realm="poto", error="invalid_token"'
    assert refused.json() == {"code": "unauthenticated", "detail": "Not authenticated"}


async def test_a_plain_route_knows_the_caller(client: httpx.AsyncClient) -> None:
    """CurrentUser works outside of modules, in any route of the same application."""
    visitor = await client.post("/auth/visitor")
    assert (await client.get("http://test/plain", headers=bearer(visitor))).json() == visitor.json()["user_id"]
    refused = await client.get("http://test/plain")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Bearer realm="poto"'


async def test_a_plain_route_has_the_callers_session(client: httpx.AsyncClient) -> None:
    """CurrentSession is the session that the caller's methods have; without a caller it is 401."""
    visitor = await client.post("/auth/visitor")
    counts = [(await client.post("http://test/count", headers=bearer(visitor))).json() for _ in range(3)]
    assert counts == [1, 2, 3]
    assert (await client.post("http://test/count")).status_code == 401


async def test_who_overrides_the_user_overrides_the_session(app: FastAPI, client: httpx.AsyncClient) -> None:
    """`app.dependency_overrides[current_user]` is all that a test of an application needs."""
    app.dependency_overrides[current_user] = lambda: User("user_of_a_test")
    assert (await client.get("http://test/plain")).json() == "user_of_a_test"
    assert [(await client.post("http://test/count")).json() for _ in range(2)] == [1, 2]


async def test_authentication_comes_before_the_body(client: httpx.AsyncClient) -> None:
    """A body that is no JSON is not looked at for a caller without credentials."""
    answer = await client.post("/auth/upgrade", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 401


async def test_bad_input_is_422_and_is_not_repeated(client: httpx.AsyncClient) -> None:
    """A password that is too long or too short is refused, and does not come back in the answer."""
    long = await client.post("/auth/login", data={"username": "ann", "password": "ä" * 513})
    assert long.status_code == 422
    assert "ä" not in long.text
    visitor = await client.post("/auth/visitor")
    for body in ({"username": "ann", "password": "geheim"}, {"username": "visitor_x", "password": "geheimnis"}):
        answer = await client.post("/auth/upgrade", json=body, headers=bearer(visitor))
        assert answer.status_code == 422
        assert "geheim" not in answer.text


async def test_no_422_repeats_what_was_sent(client: httpx.AsyncClient) -> None:
    """FastAPI's own messages do; here they must not, be it a password, a token or a file."""
    visitor = await client.post("/auth/visitor")
    answers = [
        await client.post("/auth/login", data={"password": "geheimnis"}),
        await client.post("/auth/login", data={"username": "ann", "password": "geheimnis", "grant_type": "geheimnis"}),
        await client.post("/auth/login", files={"username": ("geheimnis", b"geheimnis"), "password": b"geheimnis"}),
        await client.post("/auth/upgrade", json={"password": "geheimnis"}, headers=bearer(visitor)),
        await client.post("/auth/upgrade", json=["geheimnis"], headers=bearer(visitor)),
        await client.post("/auth/refresh", json={"refresh": "geheimnis"}),
        await client.post("/auth/refresh", json={"refresh_token": ["geheimnis"]}),
        await client.post("/auth/refresh", content=b'{"refresh_token": "geheimnis',
                          headers={"Content-Type": "application/json"}),
    ]  # fmt: skip
    for answer in answers:
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"][0]["loc"][0] == "body"
        assert "geheimnis" not in answer.text


async def test_a_large_body_is_413(client: httpx.AsyncClient) -> None:
    """Sign-in bodies are small; more is refused before it is read."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1_000

    form = {"content-type": "application/x-www-form-urlencoded"}
    for answer in (
        await client.post("/auth/login", data={"username": "ann", "password": "x" * 100_000}),
        await client.post("/auth/login", content=chunks(), headers=form),
        await client.post("/auth/refresh", json={"refresh_token": "x" * 100_000}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_the_document(app: FastAPI) -> None:
    """Operation ids and tags are as documented; only what needs a caller shows a lock, in two forms."""
    document = app.openapi()
    operations = {path: operation for path, item in document["paths"].items() for operation in item.values()}
    assert {operation["operationId"] for path, operation in operations.items() if "/auth/" in path} == {
        f"Auth_{name}" for name in ("visitor", "login", "refresh", "logout", "upgrade", "me")
    }
    assert operations["/api/auth/me"]["tags"] == ["Auth"]
    lock = [{"PotoBearer": []}, {"PotoPassword": []}]
    assert [path for path, operation in operations.items() if operation.get("security") == lock] == [
        "/api/auth/logout", "/api/auth/upgrade", "/api/auth/me", "/plain", "/count",
    ]  # fmt: skip
    schemes = document["components"]["securitySchemes"]
    assert schemes["PotoBearer"]["bearerFormat"] == "JWT"
    assert schemes["PotoPassword"]["flows"]["password"]["tokenUrl"].endswith("auth/login")
    forms = operations["/api/auth/login"]["requestBody"]["content"]
    assert forms == {"application/x-www-form-urlencoded": {"schema": {"$ref": "#/components/schemas/LoginForm"}}}
