"""Callers who leave, and callers who wait only so long."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Annotated, Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request

from fastapi_poto import Poto, PotoModule, poto_router, public, rpc
from fastapi_poto.testing import serve
from tests.kept_alive import KeptAlive, post
from tests.secret import SECRET

from .conftest import nothing

pytestmark = pytest.mark.anyio


class Log:
    """What happened on the server, for the test to wait for."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.changed = threading.Condition()

    def add(self, entry: str) -> None:
        with self.changed:
            self.seen.append(entry)
            self.changed.notify_all()

    def wait(self, entry: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: entry in self.seen, timeout=10), self.seen


log = Log()


def resource() -> Iterator[str]:
    try:
        yield "resource"
    finally:
        log.add("torn down")


async def slow_to_tear_down() -> AsyncIterator[None]:
    yield
    await asyncio.sleep(0.05)
    log.add("torn down slowly")


async def afterwork() -> None:
    await asyncio.sleep(0.05)
    log.add("afterwork done")


def slow_dependency() -> None:
    time.sleep(0.2)


class Crowd:
    """Threads that are inside at the same time, until they are let out."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.gate = threading.Event()
        self.inside = self.most = 0

    def begin(self) -> None:
        log.seen.clear()
        self.gate.clear()
        self.most = 0

    def enter(self) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.gate.wait(20)
        with self.lock:
            self.inside -= 1
        if self.inside == 0:
            log.add("all out")


crowd = Crowd()


@public
class Leaving(PotoModule):
    async def poll(self, name: str) -> None:
        log.add(f"{name} started")
        while not self.is_request_cancelled():
            await asyncio.sleep(0.005)
        log.add(f"{name} gone")

    def poll_in_thread(self, name: str) -> None:
        log.add(f"{name} started")
        while not self.is_request_cancelled():
            time.sleep(0.005)
        log.add(f"{name} gone")

    async def poll_in_a_thread_of_its_own(self, name: str) -> None:
        await asyncio.to_thread(self.poll_in_thread, name)

    async def wait(self, name: str) -> None:
        log.add(f"{name} started")
        await self.context.wait_cancelled()
        log.add(f"{name} gone")

    @rpc(cancel_on_disconnect=True)
    async def cancelled(self, name: str) -> None:
        log.add(f"{name} started")
        try:
            await asyncio.sleep(30)
        finally:
            log.add(f"{name} gone")

    async def cancelled_before_it_streams(self, name: str) -> AsyncIterator[int]:
        await Leaving.cancelled(self, name)
        raise AssertionError("waited too long")

    @rpc(cancel_on_disconnect=True)
    async def with_afterwork(self, tasks: BackgroundTasks, _: Annotated[None, Depends(slow_to_tear_down)]) -> str:
        tasks.add_task(afterwork)
        return "done"

    @rpc(cancel_on_disconnect=True)
    async def patient(self) -> str:
        await asyncio.sleep(0)
        return "done"

    async def slow(self, resource: Annotated[str, Depends(resource)]) -> None:
        await asyncio.sleep(30)

    async def slow_to_stream(self) -> AsyncIterator[int]:
        await asyncio.sleep(30)
        raise AssertionError("waited too long")

    async def behind_a_slow_dependency(self, _: Annotated[None, Depends(slow_dependency)]) -> None:
        log.add("ran too late")

    async def slow_direct(self) -> float | None:
        remaining = self.context.remaining
        await asyncio.sleep(30)
        return remaining

    def hold(self) -> None:
        crowd.enter()

    @rpc(cancel_on_disconnect=True)
    def hold_for_who_stays(self) -> None:
        crowd.enter()

    async def left(self) -> float | None:
        return self.context.remaining

    async def own_timeout(self) -> None:
        raise TimeoutError("the method's own")


class Asking(Leaving):
    def __init__(self) -> None:
        self.is_request_cancelled()


@pytest.fixture(scope="module", params=["direct", "fastapi"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    app = FastAPI()
    dependencies = [Depends(nothing)] if request.param == "fastapi" else []
    app.include_router(poto_router(Leaving, Asking, poto=Poto(SECRET), dependencies=dependencies))
    with serve(app, log_level="critical") as server:
        yield server.url


@pytest.mark.parametrize("module", ["Leaving", "Asking"])
@pytest.mark.parametrize(
    "method",
    ["poll", "poll_in_thread", "poll_in_a_thread_of_its_own", "wait", "cancelled", "cancelled_before_it_streams"],
)
def test_a_method_notices_that_its_caller_left(url: str, method: str, module: str) -> None:
    """By asking, in a thread too, by waiting for it, or by being cancelled if it chose that, even after it asked."""
    name = f"{url} {module} {method}"
    body = b'{"name": "%b"}' % name.encode()
    with closing(KeptAlive(url)) as wire:
        wire.send(post(f"/{module}/{method}", body))
        log.wait(f"{name} started")
    log.wait(f"{name} gone")


async def test_who_stays_gets_the_answer(url: str) -> None:
    """A method that would be cancelled answers a caller who stays."""
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.post("/Leaving/patient")).json() == "done"


async def test_the_end_of_the_answer_cancels_nothing(url: str) -> None:
    """What follows the answer of a method that can be cancelled runs to its end."""
    log.seen.clear()
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.post("/Leaving/with_afterwork")).json() == "done"
        log.wait("afterwork done")
        log.wait("torn down slowly")


async def test_a_deadline(url: str) -> None:
    """A call past its caller's deadline is 504 with a code, and is cancelled; dependencies are torn down."""
    async with httpx.AsyncClient(base_url=url) as client:
        for path in ("/Leaving/slow", "/Leaving/slow_direct", "/Leaving/slow_to_stream"):
            answer = await client.post(path, headers={"Poto-Timeout-Ms": "50"})
            assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    log.wait("torn down")


@pytest.mark.parametrize("method", ["hold", "hold_for_who_stays"])
async def test_threads_that_nobody_waits_for_are_no_more_than_others(url: str, method: str) -> None:
    """A thread that was left at a deadline keeps its place, 40 in all: callers cannot make more by not waiting."""
    crowd.begin()
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        for _ in range(2):
            calls = (client.post(f"/Leaving/{method}", headers={"Poto-Timeout-Ms": "200"}) for _ in range(30))
            assert {answer.status_code for answer in await asyncio.gather(*calls)} == {504}
        assert crowd.most <= 40
        crowd.gate.set()
        assert (await client.post(f"/Leaving/{method}")).status_code == 204
    log.wait("all out")


async def test_a_deadline_that_dependencies_used_up(url: str) -> None:
    """The method does not run for a caller who no longer waits."""
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/Leaving/behind_a_slow_dependency", headers={"Poto-Timeout-Ms": "50"})
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    assert "ran too late" not in log.seen


async def test_what_remains(url: str) -> None:
    """The method sees the seconds that its caller still waits; None if it did not say."""
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.post("/Leaving/left")).json() is None
        remaining = (await client.post("/Leaving/left", headers={"Poto-Timeout-Ms": "5000"})).json()
        assert 0 < remaining <= 5


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "", "99999999999"])
async def test_a_bad_deadline(url: str, value: str) -> None:
    """A header that is no number of milliseconds is the caller's mistake: 400."""
    async with httpx.AsyncClient(base_url=url) as client:
        answer: Any = await client.post("/Leaving/left", headers={"Poto-Timeout-Ms": value})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_a_passed_deadline(url: str) -> None:
    """A deadline of now is passed before the method runs."""
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.post("/Leaving/left", headers={"Poto-Timeout-Ms": "0"})).status_code == 504


async def test_the_methods_own_timeout_is_no_deadline(url: str) -> None:
    """A TimeoutError that the method raises is its own failure."""
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/Leaving/own_timeout", headers={"Poto-Timeout-Ms": "5000"})
        assert answer.status_code == 500


async def test_who_left_is_no_failure_to_middleware(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Under `@app.middleware("http")` a call without a response would be logged as an error of the application."""
    app = FastAPI()
    left = threading.Event()
    seen: list[int] = []

    @app.middleware("http")
    async def measure(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        seen.append(response.status_code)
        left.set()
        return response

    class Work(PotoModule):
        @public
        @rpc(cancel_on_disconnect=True)
        async def get_slow(self) -> int:
            await asyncio.sleep(20)
            return 1

        @public
        async def get_stream(self) -> AsyncIterator[int]:
            await asyncio.sleep(20)
            yield 1

    app.include_router(poto_router(Work, poto=Poto(SECRET)))
    with serve(app) as live:
        for path in ("/Work/slow", "/Work/stream"):
            left.clear()
            async with httpx.AsyncClient(base_url=live.url, timeout=0.2) as client:
                with pytest.raises(httpx.ReadTimeout):
                    await client.get(path)
            assert await asyncio.to_thread(left.wait, 10)
    assert seen == [499, 499]
    assert [record for record in caplog.records if record.levelno >= 40] == []


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_deadline_is_answered_in_time_while_a_dependency_is_slow(kind: str) -> None:
    """Whether it awaits, or blocks one of the worker threads."""

    async def slow() -> None:
        await asyncio.sleep(5)

    def blocking() -> None:
        time.sleep(1)

    dependency = slow if kind == "async" else blocking

    class Work(PotoModule):
        @public
        async def get_it(self, got: Annotated[None, Depends(dependency)]) -> int:
            return 1

    app = FastAPI()
    app.include_router(poto_router(Work, poto=Poto(SECRET)))
    with serve(app) as live:
        async with httpx.AsyncClient(base_url=live.url) as client:
            began = time.monotonic()
            response = await client.get("/Work/it", headers={"Poto-Timeout-Ms": "200"})
            took = time.monotonic() - began
    assert response.status_code == 504
    assert took < 0.9
