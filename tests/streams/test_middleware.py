"""Streams behind what applications put before them, and in tests without a server."""

import time
from collections.abc import Awaitable, Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from sse_starlette import EventSourceResponse
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient

from fastapi_poto.testing import LiveApp, serve
from tests.streams.apps import make_app
from tests.streams.client import SHUTTING_DOWN, Connection
from tests.streams.probe import Probe, wait_parked


def wrapped_app() -> FastAPI:
    """Two middlewares of the kind that tends to break streams."""
    app = make_app()
    app.add_middleware(GZipMiddleware, minimum_size=0)

    @app.middleware("http")
    async def timing(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        began = time.perf_counter()
        response = await call_next(request)
        response.headers["x-seconds"] = str(time.perf_counter() - began)
        return response

    return app


@pytest.fixture(scope="module")
def wrapped() -> Iterator[LiveApp]:
    with serve(wrapped_app(), timeout_graceful_shutdown=None) as live:
        yield live


def test_it_streams(wrapped: LiveApp, tag: str) -> None:
    """Items come as they are made, and are not compressed."""
    headers = {"Accept-Encoding": "gzip"}
    with Connection(wrapped.url, "/Leaving/idle", query={"tag": tag}, headers=headers) as connection:
        connection.read_until(b"data: 1\n\n")
        assert b"x-seconds" in connection.received
        assert b"content-encoding" not in connection.received


@pytest.mark.parametrize(
    ("path", "accept"), [("/Wire/silent_bytes", "*/*"), ("/Wire/idle_by_nature", "application/x-ndjson")]
)
def test_headers_go_out_at_once(wrapped: LiveApp, path: str, accept: str) -> None:
    """Bytes and lines, which are compressed, do not wait for a first item with their headers."""
    with httpx.stream("GET", f"{wrapped.url}{path}", headers={"Accept": accept}, timeout=3) as answer:
        assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("name", ["long_await", "sync_ticks", "before_first"])
def test_the_leaving_is_noticed(wrapped: LiveApp, name: str, tag: str, probe: Probe) -> None:
    """Behind a `@app.middleware("http")`, too; the cleanup is not cancelled by it."""
    with Connection(wrapped.url, f"/Leaving/{name}", query={"tag": tag}) as connection:
        if name == "before_first":
            probe.wait("started")
        else:
            connection.read_until(b"data: 1\n\n")
        left = connection.leave()
    assert probe.wait("closed") - left < 0.5


def test_a_stalled_reader_stops_the_generator(wrapped: LiveApp, tag: str, probe: Probe) -> None:
    """And is noticed when it leaves."""
    with Connection(wrapped.url, "/Leaving/flood", query={"tag": tag}, receive_buffer=8192) as connection:
        wait_parked(probe, at_least=100)
        connection.reset()
    probe.wait("closed")


def test_errors_are_told(wrapped: LiveApp) -> None:
    """Before the first item with their status, later as the last frame."""
    assert httpx.get(f"{wrapped.url}/Wire/early?kind=poto").status_code == 409
    assert "event: error" in httpx.get(f"{wrapped.url}/Wire/late?kind=poto").text


def test_the_end_of_the_server(tag: str) -> None:
    """The last frame comes through."""
    with serve(wrapped_app(), timeout_graceful_shutdown=None) as live:
        connection = Connection(live.url, "/Leaving/long_await", query={"tag": tag})
        connection.read_until(b"data: ")
    connection.read_all()
    assert connection.body.endswith(SHUTTING_DOWN)
    connection.leave()


def test_in_starlettes_test_client() -> None:
    """Finite streams work without a server."""
    with TestClient(make_app()) as client:
        assert client.get("/Wire/items?count=2").text.count("data: ") == 2
        assert client.get("/Wire/sync_items?count=2").text.count("data: ") == 2
        assert client.get("/Wire/csv").content == b"a,b\n1,2\n"
        assert client.get("/Wire/early?kind=poto").status_code == 409


@pytest.mark.anyio
async def test_in_httpx_asgi_transport() -> None:
    """Here, too."""
    transport = httpx.ASGITransport(make_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/Wire/items", json={"count": 2})
        assert answer.text.endswith("event: close\n\n")
        assert (await client.get("/Resuming/count?tag=-&pause=0")).text.count("data: ") == 10


def test_it_is_an_event_source_response() -> None:
    """What recognises sse-starlette's class recognises a stream."""
    from fastapi_poto.streaming.event_stream import EventStream

    assert issubclass(EventStream, EventSourceResponse)
