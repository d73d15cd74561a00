"""docs/observing.md, under each tracer that it names: routes, traces, streams and their ends, and each error once."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers import Server, wait_until

pytestmark = pytest.mark.deployments

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "native": None,
    "contrib": None,
    "logfire": "logfire[fastapi]",
    "sentry": "sentry-sdk",
    "datadog": "ddtrace",
}
"""What each needs beside the tests' own environment. It goes into a folder of its own."""


class Traced(Server):
    """uvicorn with the application under one tracer, and all that the tracer has given away."""

    def __init__(self, folder: Path, tracer: str) -> None:
        super().__init__(folder)
        self.tracer = tracer
        self.told = folder / "told"
        self.told.touch()
        self._read = 0
        self.packages = ROOT / ".run" / "tracers" / tracer
        if (package := PACKAGES[tracer]) and not self.packages.exists():
            install = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            made = subprocess.run(
                [*install, "--target", f"{self.packages}.new", package], capture_output=True, text=True
            )
            if made.returncode != 0:
                pytest.skip(f"{package} cannot be had: {made.stderr.strip()[-300:]}")
            Path(f"{self.packages}.new").rename(self.packages)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)

    def command(self) -> Sequence[str]:
        paths = os.pathsep.join(map(str, (self.packages, ROOT)))
        settings = [f"PYTHONPATH={paths}", f"TRACER={self.tracer}", f"TOLD={self.told}", "PYTHONUNBUFFERED=1"]
        uvicorn = [sys.executable, "-m", "uvicorn", "tests.deployments.traced_app:app", "--port", str(self.port)]
        if self.tracer == "datadog":
            agentless = ["DD_INSTRUMENTATION_TELEMETRY_ENABLED=false", "DD_REMOTE_CONFIGURATION_ENABLED=false"]
            settings += [*agentless, "DD_TRACE_AGENT_URL=http://127.0.0.1:9", "DD_TRACE_OTEL_ENABLED=true"]
            uvicorn = [sys.executable, str(self.packages / "bin" / "ddtrace-run"), *uvicorn]
        return ["env", "-C", str(ROOT), *settings, *uvicorn]

    def read(self, requests: int = 1, spans: int = 0) -> "Lines":
        """What was told since the last time, when it is told of so many requests, and spans of the application."""
        wanted = {"request": requests, "span": spans}

        def lines() -> "Lines":
            whole = self.told.read_text().rpartition("\n")[0].splitlines()
            return Lines(json.loads(line) for line in whole[self._read :])

        wait_until(lambda: all(len(lines().of(kind)) >= number for kind, number in wanted.items()), f"{wanted}")
        found = lines()
        self._read += len(found)
        return found

    def call(self, method: str, path: str, *, spans: int = 0, **options: Any) -> "Lines":
        """What one request is told of."""
        self.client.request(method, path, **options)
        return self.read(spans=spans)


class Lines(list[dict[str, Any]]):
    def of(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self if line["kind"] == kind]

    @property
    def request(self) -> dict[str, Any]:
        (found,) = self.of("request")
        return found

    def errors(self) -> list[str]:
        """The errors that are told of, wherever."""
        return [*self.request["errors"], *(one["name"] for one in self.of("error"))]

    def strays(self) -> list[dict[str, Any]]:
        """Spans of the application's own that are no children of the request's."""
        here = (self.request["trace"], self.request["id"])
        return [one for one in self.of("span") if (one["trace"], one["parent"]) != here]


@pytest.fixture(scope="module", params=PACKAGES)
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    with Traced(tmp_path_factory.mktemp(request.param), request.param) as server:
        server.call("GET", "/openapi.json")
        yield server
        server.client.close()


def tells_attributes(traced: Traced) -> bool:
    return traced.tracer != "sentry"


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/Shop/status", "/Shop/status"),
        ("GET", "/again/Shop/status", "/again/Shop/status"),
        ("GET", "/outer/v1/Shop/status", "/outer/v1/Shop/status"),
        ("GET", "/outer/v1/Shop/articles/tea", "/outer/v1/Shop/articles/{sku}"),
        ("POST", "/Shop/status", "/Shop/status"),
        ("POST", "/auth/visitor", "/auth/visitor"),
        ("GET", "/nowhere", None),
    ],
)
def test_routes(traced: Traced, method: str, path: str, route: str | None) -> None:
    """Prefixes, nested routers, modules mounted twice, a parameter of the path, a wrong verb, nothing at all."""
    request = traced.call(method, path).request
    assert request["route"] == route
    if route is not None:
        assert request["name"] == (route if traced.tracer == "sentry" else f"{method} {route}")


def test_the_fast_path_stays_open(traced: Traced) -> None:
    """A traced method that needs nothing of FastAPI's solver does not go through it, and one with a dependency does."""
    ways = [traced.client.get(f"/Shop/{way}").json() for way in ("way", "way_with_dependency")]
    traced.read(requests=2)
    assert ["direct" in way for way in ways] == [True, False]
    assert ["solved" in way for way in ways] == [False, True]


def test_mounted(traced: Traced) -> None:
    """A mounted application is told of as one with FastAPI's own endpoints is."""

    def routes(path: str) -> list[str]:
        is_told_twice = traced.tracer in ("contrib", "datadog")
        traced.client.get(path)
        return [one["route"] for one in traced.read(2 if is_told_twice else 1).of("request") if one["route"]]

    own = [re.sub("plain/{number}", "Shop/articles/{sku}", route) for route in routes("/mounted/plain/1")]
    assert set(routes("/mounted/Shop/articles/tea")) == set(own)


@pytest.mark.parametrize("path", ["status", "status_in_thread", "status_of_task"])
def test_the_trace_reaches_the_code(traced: Traced, path: str) -> None:
    """Methods, threads and tasks: their spans are the request's children."""
    spans = 2 if path == "status_of_task" else 1
    lines = traced.call("GET", f"/Shop/{path}", spans=spans)
    assert len(lines.of("span")) == spans
    assert not lines.strays()


@pytest.mark.parametrize("path", ["/Shop/watch", "/Shop/watch_in_thread", "/Desk/follow"])
def test_a_stream(traced: Traced, path: str) -> None:
    """One span for all of it, with what came; the spans of its generator are its children."""
    lines = traced.call("POST", path, headers=token(traced), spans=3)
    assert [one["name"] for one in lines.of("span")] == ["item"] * 3
    assert not lines.strays()
    assert not lines.request["failed"]
    if tells_attributes(traced):
        tags = lines.request["tags"]
        assert tags["rpc.method"] == path[1:]
        assert (tags["poto.stream.items"], tags["poto.stream.end"]) == (3, "close")
        assert 0 < tags["poto.stream.time_to_first_item"] < 1
        assert "error.type" not in tags


def token(traced: Traced) -> dict[str, str]:
    pair = traced.client.post("/auth/visitor").json()
    traced.read()
    return {"Authorization": f"Bearer {pair['access_token']}"}


def test_an_error_that_callers_are_told_of(traced: Traced) -> None:
    """It is no failure of the server's."""
    lines = traced.call("GET", "/Shop/sold_out")
    assert (lines.errors(), lines.request["failed"]) == ([], False)
    if tells_attributes(traced):
        assert lines.request["tags"]["error.type"] == "sold_out"


def test_an_error_of_the_server(traced: Traced) -> None:
    """It is told of once."""
    lines = traced.call("POST", "/Shop/broken")
    assert (lines.errors(), lines.request["failed"]) == (["KeyError"], True)


@pytest.mark.parametrize("path", ["/Shop/watch", "/Desk/follow"])
def test_a_stream_that_fails(traced: Traced, path: str) -> None:
    """Its error is told of once, and with the request; a resumable one's, too."""
    lines = traced.call("POST", path, json={"how": "error"}, headers=token(traced), spans=3)
    assert lines.errors() == ["ValueError"]
    assert [one["of"] for one in lines.of("error")] == ([path] if traced.tracer == "sentry" else [])
    if tells_attributes(traced):
        assert lines.request["failed"]
        assert lines.request["tags"]["poto.stream.end"] == "error"


@pytest.mark.parametrize("how", ["left", "deadline", "shutdown"])
def test_ends_that_are_no_errors(traced: Traced, how: str) -> None:
    """A client that left, a deadline that has passed, a server that was told to stop."""
    headers = {"Poto-Timeout-Ms": "200"} if how == "deadline" else {}
    with traced.client.stream("POST", "/Shop/watch", json={"how": "wait"}, headers=headers) as response:
        chunks = response.iter_raw()
        next(chunks)
        if how == "shutdown":
            traced.stop()
        if how != "left":
            assert b"event: error" in b"".join(chunks)
    lines = traced.read(spans=3)
    if how == "shutdown":
        traced.start()
        traced.call("GET", "/openapi.json")
    assert (lines.errors(), lines.request["failed"]) == ([], False)
    if tells_attributes(traced):
        assert lines.request["tags"]["poto.stream.end"] == how
