"""SessionManager as modules, plain routes and streams use them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from anyio import from_thread
from fastapi import FastAPI

from fastapi_poto import CurrentSession, Poto, PotoModule, Session, poto_router, roles
from fastapi_poto.testing import serve
from tests.secret import SECRET
from tests.sessions.models import Cart, Line

pytestmark = pytest.mark.anyio


class Shop(PotoModule):
    async def add(self, line: Line, cart: Session[Cart]) -> int:
        """A shape as a parameter: it comes from the call, not from the wire."""
        lines: list[Line] = await cart.update("lines", lambda lines: [*lines, line])
        return len(lines)

    async def get_cart(self, cart: Session[Cart]) -> Cart:
        return await cart.load()

    async def get_stock(self, session: CurrentSession) -> int:
        stock: int = await session.typed(Cart).get("stock")
        return stock

    async def put(self, key: str, value: str) -> None:
        await self.set_session_value(key, value)

    async def get_one(self, key: str) -> str | None:
        value: str | None = await self.get_session_value(key)
        return value

    def count_in_a_thread(self) -> int:
        """A plain method, which runs in a thread."""
        return from_thread.run(self.session.increment, "threads")

    async def count_up(self, to: int) -> AsyncIterator[int]:
        """Writes the session from inside the stream."""
        for _ in range(to):
            yield await self.session.increment("streamed")

    async def write_late(self) -> AsyncIterator[int]:
        yield 1
        await self.session.set("late", 1)
        yield 2

    @roles("admin")
    async def get_nothing(self) -> None: ...


def app_of(**options: Any) -> FastAPI:
    app = FastAPI()
    app.include_router(poto_router(Shop, poto=Poto(SECRET, **options)))

    @app.post("/plain")
    async def plain(session: CurrentSession) -> int:
        return await session.increment("plain") if "sessions" not in options else 0

    @app.post("/plain/{value}")
    async def keep(value: str, session: CurrentSession) -> None:
        await session.set("plain", value)

    return app


class Visitor:
    """A signed-in client with a cookie jar."""

    def __init__(self, client: httpx.AsyncClient, pair: dict[str, Any]) -> None:
        self.client = client
        self.pair = pair

    async def post(self, path: str, **body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.pair['access_token']}"}
        return await self.client.post(path, json=body, headers=headers)

    async def get(self, path: str, **query: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.pair['access_token']}"}
        return await self.client.get(path, params=query, headers=headers)


async def visitor_of(app: FastAPI) -> Visitor:
    # https: cookies with a `__Host-` name are only kept and sent over it.
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop.test")
    return Visitor(client, (await client.post("/auth/visitor")).json())


async def test_a_shape_as_a_parameter() -> None:
    """`Session[Cart]` is the caller's session: not part of the body, and validated."""
    app = app_of()
    visitor = await visitor_of(app)
    answers = await asyncio.gather(*(visitor.post("/Shop/add", line={"sku": f"s{number}"}) for number in range(5)))
    assert sorted(answer.json() for answer in answers) == [1, 2, 3, 4, 5]
    cart = (await visitor.get("/Shop/cart")).json()
    assert sorted(line["sku"] for line in cart["lines"]) == [f"s{number}" for number in range(5)]
    assert (await visitor.get("/Shop/stock")).json() == 10
    other = await visitor_of(app)
    assert (await other.get("/Shop/cart")).json()["lines"] == []
    schema = app.openapi()["components"]["schemas"]["ShopAddRequest"]
    assert list(schema["properties"]) == ["line"]


async def test_plain_routes_share_the_session() -> None:
    """A FastAPI route beside the modules sees the same session, and 401 without a caller."""
    app = app_of()
    visitor = await visitor_of(app)
    assert [(await visitor.post("/plain")).json() for _ in range(2)] == [1, 2]
    assert (await visitor.post("/plain/word")).status_code == 200
    assert (await visitor.get("/Shop/one", key="plain")).json() == "word"
    assert (await visitor.client.post("/plain")).status_code == 401


async def test_a_session_survives_the_sign_ins() -> None:
    """A visitor who takes a name, and signs in again, keeps what was in the session; the last sign-out empties it."""
    visitor = await visitor_of(app_of())
    await visitor.post("/Shop/put", key="a", value="kept")
    named = {"username": "ada", "password": "correct horse battery"}
    answer = await visitor.post("/auth/upgrade", **named)
    assert answer.is_success, answer.text
    visitor.pair = answer.json()
    assert (await visitor.get("/Shop/one", key="a")).json() == "kept"
    first, visitor.pair = visitor.pair, (await visitor.client.post("/auth/login", data=named)).json()
    assert (await visitor.get("/Shop/one", key="a")).json() == "kept"
    assert (await visitor.post("/auth/logout")).status_code == 204
    assert (await visitor.get("/Shop/one", key="a")).status_code == 401
    visitor.pair = first
    assert (await visitor.get("/Shop/one", key="a")).json() == "kept"
    assert (await visitor.post("/auth/logout")).status_code == 204
    visitor.pair = (await visitor.client.post("/auth/login", data=named)).json()
    assert (await visitor.get("/Shop/one", key="a")).json() is None


async def test_limits_are_client_errors() -> None:
    """A value that is too large is 413 with the envelope, and what was there stays."""
    visitor = await visitor_of(app_of(session_value_bytes=100, session_keys=2))
    await visitor.post("/Shop/put", key="a", value="small")
    answer = await visitor.post("/Shop/put", key="a", value="x" * 200)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    await visitor.post("/Shop/put", key="b", value="small")
    assert (await visitor.post("/Shop/put", key="c", value="small")).status_code == 413
    assert (await visitor.get("/Shop/one", key="a")).json() == "small"


def events(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("data:", "event:"))]


async def test_written_from_inside_a_stream() -> None:
    """Each item's write is there when the item arrives."""
    with serve(app_of()) as live:
        async with httpx.AsyncClient(base_url=live.url) as client:
            visitor = Visitor(client, (await client.post("/auth/visitor")).json())
            answer = await visitor.post("/Shop/count_up", to=3)
            assert events(answer.text) == ["data: 1", "data: 2", "data: 3", "event: close"]
            assert (await visitor.post("/Shop/count_up", to=1)).text.startswith("data: 4")


async def test_from_a_thread() -> None:
    """Plain methods reach the session through anyio, and lose nothing either."""
    visitor = await visitor_of(app_of())
    answers = await asyncio.gather(*(visitor.post("/Shop/count_in_a_thread") for _ in range(10)))
    assert sorted(answer.json() for answer in answers) == list(range(1, 11))


# The cookie store, whole


async def test_cookie_sessions_in_calls() -> None:
    """`sessions="cookie://"`: modules and routes write it, a sign-out makes all copies worthless."""
    visitor = await visitor_of(app_of(sessions="cookie://"))
    jar = visitor.client.cookies
    await visitor.post("/Shop/put", key="a", value="one")
    assert list(jar) == ["__Host-poto-session"]
    await visitor.post("/plain/two")
    assert (await visitor.get("/Shop/one", key="a")).json() == "one"
    assert (await visitor.get("/Shop/one", key="plain")).json() == "two"
    kept = jar["__Host-poto-session"]
    user_id, password = visitor.pair["user_id"], visitor.pair["password"]
    assert (await visitor.post("/auth/logout")).status_code == 204
    visitor.pair = (await visitor.client.post("/auth/login", data={"username": user_id, "password": password})).json()
    jar.clear()
    jar.set("__Host-poto-session", kept, domain="shop.test")
    answer = await visitor.get("/Shop/one", key="a")
    assert answer.json() is None
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert list(jar) == []


async def test_a_foreign_cookie_is_no_error() -> None:
    """Another user's cookie is an empty session and is taken back; the answer is 200."""
    app = app_of(sessions="cookie://")
    ada, eve = await visitor_of(app), await visitor_of(app)
    await ada.post("/Shop/put", key="a", value="secret")
    eve.client.cookies = ada.client.cookies
    answer = await eve.get("/Shop/one", key="a")
    assert (answer.status_code, answer.json()) == (200, None)
    assert "Max-Age=0" in answer.headers["set-cookie"]


async def test_a_cookie_that_would_not_fit() -> None:
    """It is 413 at the write, and nothing is sent."""
    visitor = await visitor_of(app_of(sessions="cookie://"))
    answer = await visitor.post("/Shop/put", key="a", value="x" * 5000)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "set-cookie" not in answer.headers


async def test_what_a_cookie_cannot_do_in_calls() -> None:
    """Counting, and writing from inside a stream, are errors that say so."""
    with serve(app_of(sessions="cookie://")) as live:
        async with httpx.AsyncClient(base_url=live.url) as client:
            visitor = Visitor(client, (await client.post("/auth/visitor")).json())
            answer = await visitor.post("/Shop/add", line={"sku": "a"})
            assert (answer.status_code, answer.json()["code"]) == (500, "session_unsupported")
            text = (await visitor.post("/Shop/write_late")).text
            assert events(text)[:2] == ["data: 1", "event: error"]
            assert "session_unsupported" in text
