"""The call's context: right wherever the call's code runs, and nobody else's."""

import asyncio
import gc
import json
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from anyio import from_thread, to_thread
from fastapi import Depends, FastAPI

from fastapi_poto import NoContextError, Poto, PotoModule, User, current_context, poto_router, public
from fastapi_poto.testing import serve
from tests.kept_alive import KeptAlive, post
from tests.secret import SECRET

from .conftest import Serve, nothing

pytestmark = pytest.mark.anyio

contexts: list[weakref.ref[Any]] = []


def deep() -> str | None:
    user = current_context().user
    return None if user is None else user.id


class Who(PotoModule):
    async def everywhere(self) -> list[str | None]:
        """The user as seen by the method, deep code, a task, a thread and a task group."""

        async def in_task() -> str | None:
            await asyncio.sleep(0)
            return deep()

        async with asyncio.TaskGroup() as group:
            grouped = group.create_task(in_task())
        contexts.append(weakref.ref(self.context))
        return [
            self.user.id,
            deep(),
            await asyncio.create_task(in_task()),
            await to_thread.run_sync(deep),
            await asyncio.to_thread(deep),
            grouped.result(),
        ]

    def sync(self) -> list[str | None]:
        """In a worker thread, which may come back to the loop."""
        from_thread.run(self.set_session_value, "key", "value")
        return [self.user.id, deep(), threading.current_thread().name[:6]]

    async def items(self, count: int) -> AsyncIterator[str | None]:
        for _ in range(count):
            await asyncio.sleep(0)
            yield deep()

    def sync_items(self, count: int) -> Iterator[str | None]:
        for _ in range(count):
            yield deep()

    @public
    async def peek(self, text: str = "") -> str | None:
        """Who calls; None for a caller without credentials."""
        await asyncio.sleep(0)
        user = self.get_current_user()
        assert (None if user is None else user.id) == deep()
        return deep()

    async def values(self) -> Any:
        await self.set_session_value("a", {"b": [1, 2]})
        return [await self.get_session_value("a"), await self.get_session_value("none", 3), self.context.operation]

    @public
    async def anonymous_session(self) -> int:
        return await self.session.get("x", 1)

    @public
    async def anonymous_user(self) -> str:
        return self.user.id

    @public
    async def anonymous_parameter(self, who: User) -> str:
        return who.id

    @public
    async def perhaps_somebody(self, who: User | None) -> bool:
        return who is None and self.get_current_user() is None


async def test_right_everywhere(serve: Serve) -> None:
    """Tasks, task groups and threads that the call started see its user; a sync method runs in a thread."""
    client = await serve(Who).signed_in()
    me = (await client.get("/auth/me")).json()["user_id"]
    assert (await client.post("/Who/everywhere")).json() == [me] * 6
    assert (await client.post("/Who/sync")).json() == [me, me, "AnyIO "]


async def test_session_values_and_the_operations_name(serve: Serve) -> None:
    """The Poto names read and write the session; the context knows Class.method."""
    client = await serve(Who).signed_in()
    assert (await client.post("/Who/values")).json() == [{"b": [1, 2]}, 3, "Who.values"]


async def test_what_needs_a_caller(serve: Serve) -> None:
    """Touching the session or the user without credentials is the guard's 401, in a public method too."""
    client = serve(Who).client
    refused = await client.post("/Who/values")
    for name in ("anonymous_session", "anonymous_user", "anonymous_parameter"):
        answer = await client.post(f"/Who/{name}")
        assert (answer.status_code, answer.content) == (401, refused.content)
        assert answer.headers["www-authenticate"] == refused.headers["www-authenticate"]
    assert (await client.post("/Who/perhaps_somebody")).json() is True


async def test_gone_after_the_call(serve: Serve) -> None:
    """Outside a call there is no context, and a finished call's is not kept alive."""
    contexts.clear()
    client = await serve(Who).signed_in()
    await client.post("/Who/everywhere")
    with pytest.raises(NoContextError):
        current_context()
    await client.post("/Who/peek")
    for _ in range(100):  # a worker thread lets go of its last job when it next runs
        gc.collect()
        if [context() for context in contexts] == [None]:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"kept alive: {contexts}")


@pytest.fixture(scope="module", params=["direct", "fastapi"])
def live(request: pytest.FixtureRequest) -> Iterator[tuple[str, FastAPI]]:
    app = FastAPI()
    dependencies = [Depends(nothing)] if request.param == "fastapi" else []
    app.include_router(poto_router(Who, poto=Poto(SECRET), dependencies=dependencies))
    with serve(app, loop="asyncio", http="h11") as server:
        yield server.url, app


@pytest.fixture(
    scope="module", params=[("asyncio", "h11"), ("asyncio", "httptools"), ("uvloop", "httptools")], ids="-".join
)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    app = FastAPI()
    app.include_router(poto_router(Who, poto=Poto(SECRET)))
    with serve(app, loop=request.param[0], http=request.param[1]) as server:
        yield server.url


def visitor(url: str) -> tuple[str, str]:
    answer = httpx.post(f"{url}/auth/visitor").json()
    return answer["access_token"], answer["user_id"]


def test_a_large_body_leaves_nothing_on_its_connection(url: str) -> None:
    """After 100 KB from one user, an anonymous call on the same socket is anonymous (python/cpython#140947)."""
    token, me = visitor(url)
    large, small = json.dumps({"text": "x" * 100_000}).encode(), b"{}"
    with closing(KeptAlive(url)) as wire:
        for _ in range(50):
            wire.send(post("/Who/peek", large, token))
            assert wire.read() == me
            wire.send(post("/Who/peek", small))
            assert wire.read() is None


def test_pipelined_calls_of_two_users(url: str) -> None:
    """Calls that arrive in one packet are each their own caller's (encode/uvicorn#3158)."""
    (one, one_id), (two, two_id) = visitor(url), visitor(url)
    with closing(KeptAlive(url)) as wire:
        for _ in range(30):
            wire.send(*(post("/Who/peek", token=token) for token in (one, None, two, None, one)))
            assert [wire.read() for _ in range(5)] == [one_id, None, two_id, None, one_id]


async def test_generators_of_many_callers(live: tuple[str, FastAPI]) -> None:
    """Each item of each stream is its caller's, in async and in threaded generators, on both paths."""
    url, _ = live
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:

        async def caller() -> None:
            tokens = (await client.post("/auth/visitor")).json()
            headers = {"Authorization": f"Bearer {tokens['access_token']}"}
            for path in ("/Who/items", "/Who/sync_items"):
                answer = await client.post(path, json={"count": 5}, headers=headers)
                items = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data")]
                assert items == [f'"{tokens["user_id"]}"'] * 5
                assert (await client.post("/Who/peek", json={})).json() is None

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(caller())
