"""Run by test_telemetry.py, with providers set."""

import asyncio
import contextvars
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import prometheus_client
import pytest
from fastapi import APIRouter, Depends, FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

from fastapi_poto import Poto, PotoError, PotoModule, poto_router, public, rpc
from fastapi_poto.client import PotoClient
from tests.secret import SECRET

from .conftest import Told

pytestmark = pytest.mark.anyio


class SoldOut(PotoError):
    """Nothing left."""

    code = "sold_out"
    status = 409


def nothing() -> None:
    pass


def sold_out() -> None:
    raise SoldOut


@public
class Shop(PotoModule):
    async def get_status(self) -> str:
        return trace_id()

    def get_status_in_thread(self) -> str:
        return trace_id()

    async def get_status_of_task(self) -> str:
        return await asyncio.create_task(later())

    async def get_solved(self, got: Annotated[None, Depends(nothing)]) -> str:
        return trace_id()

    async def post_broken(self) -> None:
        raise KeyError("broken")

    async def get_sold_out(self) -> str:
        raise SoldOut

    async def get_sold_out_solved(self, got: Annotated[None, Depends(nothing)]) -> str:
        raise SoldOut

    async def get_sold_out_before(self, got: Annotated[None, Depends(sold_out)]) -> str:
        return ""

    async def get_number(self, number: int) -> int:
        return number

    async def get_number_solved(self, number: int, got: Annotated[None, Depends(nothing)]) -> int:
        return number

    async def watch(self, how: str = "") -> AsyncIterator[str]:
        for _ in range(3):
            yield trace_id()
        if how == "error":
            raise ValueError("half way")
        if how == "wait":
            await asyncio.sleep(20)


class Desk(PotoModule):
    @rpc(resumable=True)
    async def follow(self) -> AsyncIterator[str]:
        yield trace_id()
        raise ValueError("half way")


def trace_id() -> str:
    return f"{trace.get_current_span().get_span_context().trace_id:032x}"


async def later() -> str:
    await asyncio.sleep(0)
    return trace_id()


def make_app(kind: str) -> FastAPI:
    app = FastAPI()
    router = poto_router(Shop, Desk, poto=Poto(SECRET))
    app.include_router(router)
    app.include_router(router, prefix="/again")
    outer = APIRouter(prefix="/outer")
    outer.include_router(poto_router(Shop, poto=Poto(SECRET), prefix="/v1", auth=False))
    app.include_router(outer)
    inner = FastAPI()
    inner.include_router(poto_router(Shop, poto=Poto(SECRET)))
    app.mount("/mounted", inner)
    if kind == "contrib":
        FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])
    return app


@pytest.fixture(params=["native", "contrib"])
def app(request: pytest.FixtureRequest, told: Told) -> Iterator[FastAPI]:
    app = make_app(request.param)
    yield app
    if request.param == "contrib":
        FastAPIInstrumentor.uninstrument_app(app)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/Shop/status", "/Shop/status"),
        ("/again/Shop/status", "/again/Shop/status"),
        ("/outer/v1/Shop/status", "/outer/v1/Shop/status"),
        ("/Shop/solved", "/Shop/solved"),
    ],
)
async def test_names_and_routes(client: httpx.AsyncClient, told: Told, path: str, route: str) -> None:
    """With prefixes, nested routers, the same router twice, and on both paths."""
    assert (await client.get(path)).status_code == 200
    (span,) = told.server_spans()
    assert span.name == f"GET {route}"
    assert span.attributes is not None
    assert span.attributes["http.route"] == route
    assert span.attributes["rpc.method"] == f"Shop/get_{route.rpartition('/')[2]}"
    assert "error.type" not in span.attributes


async def test_native_mounted(told: Told) -> None:
    """A mounted application's routes have their whole path."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app("native")), base_url="http://test") as client:
        await client.get("/mounted/Shop/status")
        await client.post("/Shop/status")
    names = [span.name for span in told.server_spans()]
    assert names == ["GET /mounted/Shop/status", "POST /Shop/status"]


@pytest.mark.parametrize("path", ["status", "status_in_thread", "status_of_task", "solved"])
async def test_the_trace_reaches_the_code(client: httpx.AsyncClient, told: Told, path: str) -> None:
    """Methods, threads and tasks run in the trace that the caller began."""
    began = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{began}-b7ad6b7169203331-01"}
    assert (await client.get(f"/Shop/{path}", headers=headers)).json() == began
    assert all(span.context is not None and f"{span.context.trace_id:032x}" == began for span in told.server_spans())


async def test_a_stream_is_one_span(client: httpx.AsyncClient, told: Told) -> None:
    """With its items counted, and how it ended; the generator runs in the trace."""
    response = await client.post("/Shop/watch")
    (span,) = told.server_spans()
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" in response.text
    assert span.attributes is not None
    assert span.attributes["poto.stream.items"] == 3
    assert span.attributes["poto.stream.end"] == "close"
    assert 0 < span.attributes["poto.stream.time_to_first_item"] < 1  # type: ignore[operator]
    assert {one.context.trace_id for one in told.spans.get_finished_spans() if one.context} == {span.context.trace_id}


async def test_a_stream_that_fails(client: httpx.AsyncClient, told: Told) -> None:
    """Its span has the exception once, and its status."""
    await client.post("/Shop/watch", json={"how": "error"})
    check_failure(told)


async def test_a_stream_past_its_deadline(client: httpx.AsyncClient, told: Told) -> None:
    """It is not an error of the server's."""
    await client.post("/Shop/watch", json={"how": "wait"}, headers={"poto-timeout-ms": "100"})
    (span,) = told.server_spans()
    assert span.attributes is not None
    assert span.attributes["poto.stream.end"] == "deadline"
    assert span.status.status_code is trace.StatusCode.UNSET


@pytest.mark.parametrize(
    ("path", "told_of"),
    [
        ("sold_out_solved", "sold_out"),
        ("sold_out_before", "sold_out"),
        ("number", "validation_error"),
        ("number_solved", "validation_error"),
    ],
)
async def test_errors_of_either_path(client: httpx.AsyncClient, told: Told, path: str, told_of: str) -> None:
    """What a method, a dependency and a check of the arguments raise has its code, whoever found the arguments."""
    assert (await client.get(f"/Shop/{path}")).status_code in (409, 422)
    (span,) = told.server_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == told_of


async def test_errors(client: httpx.AsyncClient, told: Told, request: pytest.FixtureRequest) -> None:
    """One that callers are told about has its code; any other is the server's, and told as its tracer does: once."""
    await client.get("/Shop/sold_out")
    await client.post("/Shop/broken")
    told_of, broken = told.server_spans()
    assert told_of.attributes is not None
    assert told_of.attributes["error.type"] == "sold_out"
    assert told_of.status.status_code is trace.StatusCode.UNSET
    assert broken.status.status_code is trace.StatusCode.ERROR
    assert broken.attributes is not None
    assert broken.attributes["error.type"] == "KeyError"
    # FastAPI's telemetry gives exceptions to OpenTelemetry's logs.
    is_native = request.node.callspec.params["app"] == "native"
    assert [event.name for event in broken.events] == ([] if is_native else ["exception"])


async def test_a_resumable_stream_that_fails(client: httpx.AsyncClient, told: Told) -> None:
    """As any other: the exception is on the span of the request that reads it."""
    token = (await client.post("/auth/visitor")).json()["access_token"]
    told.spans.clear()
    await client.post("/Desk/follow", headers={"authorization": f"Bearer {token}"})
    check_failure(told)


def check_failure(told: Told) -> None:
    (span,) = told.server_spans()
    assert span.attributes is not None
    assert span.attributes["poto.stream.end"] == "error"
    assert span.attributes["error.type"] == "ValueError"
    assert span.status.status_code is trace.StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


async def test_either_metrics(told: Told) -> None:
    """Calls by method and outcome, open streams, items, stores, sign-ins."""
    transport = httpx.ASGITransport(make_app("native"))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        token = (await client.post("/auth/visitor")).json()["access_token"]
        await client.get("/Shop/sold_out", headers={"authorization": f"Bearer {token}"})
        await client.post("/Shop/watch")
        watching = asyncio.create_task(client.post("/Shop/watch", json={"how": "wait"}))
        async with asyncio.timeout(10):
            while not any(point.value == 1 for point in told.metric("poto.streams.open")):
                await asyncio.sleep(0.01)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
    calls = {
        (point.attributes["rpc.method"], point.attributes.get("error.type")): point
        for point in told.metric("rpc.server.call.duration")
    }
    assert calls["Shop/get_sold_out", "sold_out"].count >= 1
    assert calls["Shop/watch", None].count >= 1
    assert all(point.value == 0 for point in told.metric("poto.streams.open"))
    assert sum(point.value for point in told.metric("poto.streams.items")) >= 3
    assert told.metric("poto.streams.time_to_first_item")
    operations = {
        (point.attributes["db.system.name"], point.attributes["db.operation.name"])
        for point in told.metric("db.client.operation.duration")
    }
    assert ("memory", "read") in operations
    events = {point.attributes["poto.event"] for point in told.metric("poto.auth.events")}
    assert "visitor_created" in events


async def test_either_dashboard(told: Told) -> None:
    """It asks for metrics and labels that Prometheus is served; percentiles have limits to be found between."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app("native")), base_url="http://test") as client:
        await client.post("/auth/visitor")
        assert (await client.post("/auth/login", data={"username": "ann", "password": "no such horse"})).is_error
        await client.get("/Shop/sold_out")
        await client.post("/Shop/watch")
    served = prometheus_client.generate_latest().decode()
    names = set(re.findall(r"^(\w+)[{ ]", served, re.MULTILINE))
    labels = set(re.findall(r'[{,](\w+)="', served))
    dashboard = json.loads((Path(__file__).parents[2] / "docs" / "observing-dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(asked) >= 10
    for query in asked:
        grouped = [name for by in re.findall(r"by \(([^)]*)\)", query) for name in by.split(", ")]
        assert set(re.findall(r"\b(?:rpc|poto|db|http)_\w+", query)) - set(grouped) <= names, query
        assert {*grouped, *re.findall(r"(\w+)!?=\"", query)} <= labels, query
    for name in ("rpc.server.call.duration", "poto.streams.time_to_first_item", "db.client.operation.duration"):
        assert all(point.explicit_bounds[0] <= 0.001 < 10 <= point.explicit_bounds[-1] for point in told.metric(name))
    refused = {point.attributes["rpc.method"]: point.attributes for point in told.metric("rpc.server.call.duration")}
    assert refused["Auth/login"]["error.type"] == "unauthenticated"


async def test_either_fast_path_stays_open(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traced method that needs nothing of FastAPI's solver does not go through it."""

    async def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("solved")

    monkeypatch.setattr("fastapi.routing.solve_dependencies", refuse)
    transport = httpx.ASGITransport(make_app("native"))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/Shop/status")).status_code == 200
        with pytest.raises(AssertionError, match="solved"):
            await client.get("/Shop/solved")


async def test_either_the_python_client_goes_on_with_the_trace(told: Told) -> None:
    """The server's span is a child of the caller's."""
    app = make_app("native")
    with trace.get_tracer("test").start_as_current_span("caller") as caller:
        async with PotoClient(app=app) as client:
            answered = await client.module(Shop).get_status()
    assert answered == f"{caller.get_span_context().trace_id:032x}"


def test_either_nothing_of_a_call_outlives_it(told: Told) -> None:
    """The context variable of a call does not stay behind with its observation."""
    assert not [one for one in contextvars.copy_context() if one.name == "fastapi_poto.call"]
