"""Run by test_telemetry.py, with providers set: ends of streams that the server decides on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace

from fastapi_poto import Poto, PotoModule, poto_router, public
from fastapi_poto.errors import StreamLost
from tests.secret import SECRET

from .conftest import Told

pytestmark = pytest.mark.anyio


class Ticker(PotoModule):
    async def tick(self) -> AsyncIterator[int]:
        while True:
            yield 1
            await asyncio.sleep(0.02)

    @public
    async def flood(self) -> AsyncIterator[str]:
        while True:
            yield "x" * 10_000

    @public
    async def lose(self) -> AsyncIterator[int]:
        yield 1
        raise StreamLost


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    app.include_router(poto_router(Ticker, poto=Poto(SECRET, recheck_interval=0.05, send_timeout=0.2)))
    return app


def end_of(told: Told, path: str) -> tuple[Any, Any]:
    (span,) = [one for one in told.server_spans() if one.name == f"POST {path}"]
    assert span.attributes is not None
    return span.attributes["poto.stream.end"], span.status.status_code


async def test_who_signs_out(app: FastAPI, told: Told) -> None:
    """Their stream's end is `revoked`, and no error of the server's."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        token = (await client.post("/auth/visitor")).json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        stream = asyncio.create_task(client.post("/Ticker/tick"))
        await asyncio.sleep(0)
        assert (await client.post("/auth/logout", json={})).is_success
        assert "unauthenticated" in (await stream).text
    assert end_of(told, "/Ticker/tick") == ("revoked", trace.StatusCode.UNSET)


async def test_what_is_lost(app: FastAPI, told: Told) -> None:
    """The end of a stream whose server went away is `lost`."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert "stream_lost" in (await client.post("/Ticker/lose")).text
    assert end_of(told, "/Ticker/lose")[0] == "lost"


async def test_who_does_not_read(app: FastAPI, told: Told) -> None:
    """Their stream's end is `cut`."""
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/Ticker/flood", "raw_path": b"/Ticker/flood", "root_path": "", "query_string": b"", "headers": [],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip
    asked = False

    async def receive() -> Any:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message.get("body"):
            await asyncio.Event().wait()

    with suppress(BaseException):  # the server is told to close the connection
        await app(scope, receive, send)
    assert end_of(told, "/Ticker/flood")[0] == "cut"
