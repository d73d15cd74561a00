"""Streams that run: found again, followed, stopped, and limited."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from fastapi_poto.client import PotoClient, StreamCut, stop
from fastapi_poto.errors import TooManyRequests
from fastapi_poto.testing import LiveApp, serve
from tests.processes import LiveProcess, serve_processes
from tests.push.apps import Work, make_app
from tests.push.conftest import sign_in
from tests.servers import wait_until


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApp]:
    with serve(make_app(visitors_per_hour=None, replay_grace=5)) as server:
        yield server


def open_stream(stack: ExitStack, url: str, path: str, headers: dict[str, str]) -> httpx.Response:
    client = stack.enter_context(httpx.Client(timeout=15, verify=False))
    return stack.enter_context(client.stream("GET", url + path, headers=headers))


def numbers(response: httpx.Response) -> list[int]:
    """The items from here to the end, which has to be a good one."""
    text = "".join(response.iter_text())
    assert "event: close" in text, text[-200:]
    return [int(line[6:]) for line in text.split("\n") if line.startswith("data: ")]


def notes(url: str, tag: str) -> list[str]:
    found: list[str] = httpx.get(f"{url}/Work/notes?tag={tag}").json()
    return found


def readers(url: str, headers: dict[str, str]) -> list[int]:
    """How many read each of a user's streams."""
    return [one["readers"] for one in httpx.get(url + "/streams", headers=headers).raise_for_status().json()]


def test_a_stream_is_listed_followed_and_stopped(pair: tuple[LiveProcess, LiveProcess]) -> None:
    """From any process: its user sees it, reads it from the start with several readers, and stops it for all."""
    one, other = pair
    _ada, hers = sign_in(one.url)
    _, his = sign_in(one.url)
    tag = f"stop-{time.monotonic_ns()}"
    with ExitStack() as stack:
        response = open_stream(stack, one.url, f"/Work/count?tag={tag}", hers)
        address = response.headers["content-location"]
        wait_until(lambda: httpx.get(other.url + "/streams", headers=hers).json(), "it is not listed")
        [shown] = httpx.get(other.url + "/streams", headers=hers).json()
        assert shown["operation"] == "Work.get_count"
        assert address == f"/streams/{shown['id']}"
        assert httpx.get(other.url + "/streams", headers=his).json() == []
        assert httpx.get(other.url + address, headers=his).status_code == 403
        assert httpx.delete(other.url + address, headers=his).status_code == 403
        assert readers(other.url, hers) == [1]
        followers = [open_stream(stack, server.url, address, hers) for server in (one, other)]
        wait_until(lambda: readers(one.url, hers) == readers(other.url, hers) == [3], "not all readers are counted")
        assert httpx.delete(other.url + address, headers=hers).status_code == 204
        wait_until(lambda: notes(one.url, tag) == ["started", "closed"], "the generator was not closed")
        seen = [numbers(each) for each in (response, *followers)]
        for each in seen:
            assert each == list(range(1, len(each) + 1))
            assert len(each) >= 5
        assert seen[2] == seen[1][: len(seen[2])]
        assert httpx.delete(one.url + address, headers=hers).status_code == 204, "once more is no error"
        wait_until(lambda: not httpx.get(one.url + "/streams", headers=hers).json(), "it is still listed")


def test_an_unknown_stream(live: LiveApp) -> None:
    """404, for whoever follows or stops it; without credentials nobody has a list."""
    _, hers = sign_in(live.url)
    for stream in ("0123456789abcdef01234567", "x", "%00"):
        assert httpx.get(f"{live.url}/streams/{stream}", headers=hers).status_code in (400, 404)
        assert httpx.delete(f"{live.url}/streams/{stream}", headers=hers).status_code in (400, 404)
    assert httpx.get(f"{live.url}/streams").status_code == 401


def test_a_second_call_with_the_same_key_follows(pair: tuple[LiveProcess, LiveProcess]) -> None:
    """In any process it gets the same answer from its start, and the method runs once; another user's runs anew."""
    one, other = pair
    _, hers = sign_in(one.url)
    _, his = sign_in(one.url)
    chat = f"chat-{time.monotonic_ns()}"
    with ExitStack() as stack:
        calls = []
        for server, headers in ((one, hers), (other, hers), (one, hers), (other, his)):
            client = stack.enter_context(httpx.Client(timeout=15))
            body = {"chat": chat, "pause": 0.05}
            calls.append(
                stack.enter_context(client.stream("POST", f"{server.url}/Work/answer", json=body, headers=headers))
            )
        for call in calls:
            assert numbers(call) == list(range(1, 21))
    assert notes(one.url, chat) == ["started", "closed"]
    assert notes(other.url, chat) == ["started", "closed"], "that of the other user"


def test_after_its_end_a_key_begins_anew(live: LiveApp) -> None:
    """A key finds what runs; an answer that is over is not given again."""
    _, hers = sign_in(live.url)
    for times in (1, 2):
        with httpx.stream(
            "POST", f"{live.url}/Work/answer", json={"chat": "again", "pause": 0, "count": 3}, headers=hers
        ) as call:
            assert numbers(call) == [1, 2, 3]
        wait_until(lambda times=times: notes(live.url, "again") == ["started", "closed"] * times, "it did not run")


def test_a_key_whose_process_died(tmp_path: Path) -> None:
    """It is free again as soon as that is known, and the dead stream is told to be lost."""
    url = f"sqlite:///{tmp_path}/poto.db"
    servers = serve_processes("tests.push.apps:make_stored_app", 2, factory=True, env={"TEST_STORE": url})
    with servers as (one, other), ExitStack() as stack:
        _, hers = sign_in(one.url)
        body = {"chat": "dead", "pause": 0.05, "count": 400}
        client = stack.enter_context(httpx.Client(timeout=15))
        call = stack.enter_context(client.stream("POST", f"{one.url}/Work/answer", json=body, headers=hers))
        address = call.headers["content-location"]
        follower = stack.enter_context(connect_sse(client, "GET", other.url + address, headers=hers))
        events = follower.iter_sse()
        assert next(events).data == "1"
        one.kill()
        body |= {"count": 2}
        killed = time.monotonic()
        assert [event.event for event in events][-1] == "error"
        assert time.monotonic() - killed < 10
        with httpx.stream("POST", f"{other.url}/Work/answer", json=body, headers=hers, timeout=15) as again:
            assert numbers(again) == [1, 2]


def test_exactly_eight(store_url: str) -> None:
    """Of one user's streams in four processes at once, exactly so many run as there may be."""
    servers = serve_processes("tests.push.apps:make_stored_app", 4, factory=True, env={"TEST_STORE": store_url})
    with servers as running, ExitStack() as stack:
        _, hers = sign_in(running[0].url)
        with ThreadPoolExecutor(20) as threads:
            opened = list(
                threads.map(
                    lambda number: open_stream(stack, running[number % 4].url, f"/Work/count?tag=eight-{number}", hers),
                    range(40),
                )
            )
        refused = [each for each in opened if each.status_code == 429]
        assert len(opened) - len(refused) == 8
        assert b"This user has 8" in refused[0].read()


def test_limits_say_whose_they_are() -> None:
    """A user's, an address's; what has ended makes room; those of others do not count."""
    with serve(make_app(streams_per_user=1, streams_per_address=2)) as server, ExitStack() as stack:
        users = [sign_in(server.url)[1] for _ in range(3)]
        one = open_stream(stack, server.url, "/Work/count?tag=limits", users[0])
        again = httpx.get(f"{server.url}/Work/count?tag=limits", headers=users[0])
        assert (again.status_code, again.json()["code"]) == (429, "too_many_requests")
        assert "This user has 1" in again.json()["detail"]
        open_stream(stack, server.url, "/Work/count?tag=limits", users[1])
        other = httpx.get(f"{server.url}/Work/count?tag=limits", headers=users[2])
        assert other.status_code == 429
        assert "This address has 2" in other.json()["detail"]
        httpx.delete(server.url + one.headers["content-location"], headers=users[0])
        wait_until(
            lambda: open_stream(stack, server.url, "/Work/count?tag=limits&count=1", users[2]).status_code == 200,
            "there is no room",
        )


def test_the_document_says_what_a_stream_is(live: LiveApp) -> None:
    """As the list has it."""
    shown = httpx.get(f"{live.url}/openapi.json").json()["components"]["schemas"]["RunningStream"]
    types = {name: one["type"] for name, one in shown["properties"].items()}
    assert types == {"id": "string", "operation": "string", "key": "string", "since": "number", "readers": "integer"}


def test_a_stream_without_a_reader_is_listed(live: LiveApp) -> None:
    """It runs on for a while after its client has gone, and whoever asks sees that nobody reads it."""
    _, hers = sign_in(live.url)
    with httpx.stream("GET", f"{live.url}/Work/count?tag=alone", headers=hers) as response:
        next(response.iter_bytes())
    wait_until(lambda: readers(live.url, hers) == [0], "its reader is still counted")


def test_a_call_that_fails_before_its_stream_takes_nothing() -> None:
    """Neither a place among the user's streams, nor the key."""
    with serve(make_app(streams_per_user=1)) as server:
        _, hers = sign_in(server.url)
        for _ in range(3):
            assert httpx.get(f"{server.url}/Broken/count", headers=hers).json()["code"] == "conflict"
        assert httpx.get(f"{server.url}/streams", headers=hers).json() == []


def test_abandoned_streams_are_few() -> None:
    """One process keeps so many streams without a reader; for one more, the one that was left first ends."""
    app = make_app(detached_streams=3, streams_per_user=None, streams_per_address=None, replay_grace=60)
    with serve(app) as server:
        for number in range(5):
            with httpx.stream("GET", f"{server.url}/Work/count?tag=few-{number}") as response:
                next(response.iter_bytes())
            wait_until(lambda number=number: notes(server.url, f"few-{number}") == ["started"], "it did not begin")
            wait_until(
                lambda number=number: (
                    len(app.state.poto.streams._local._made) and _detached(server, app) == min(number + 1, 3)
                ),
                "it was not left",
            )
        wait_until(lambda: notes(server.url, "few-1") == ["started", "closed"], "the oldest goes on")
        assert notes(server.url, "few-0") == ["started", "closed"]
        assert [notes(server.url, f"few-{number}") for number in (2, 3, 4)] == [["started"]] * 3


def _detached(server: LiveApp, app: Any) -> int:
    async def count() -> int:
        return len(app.state.poto.streams.local._detached)

    return server.run(count())


def test_a_stream_without_a_reader_ends_with_its_sign_in() -> None:
    """Nobody is left who could come back for it."""
    with serve(make_app(recheck_interval=0.1, replay_grace=60)) as server:
        _, hers = sign_in(server.url)
        with httpx.stream("GET", f"{server.url}/Work/count?tag=out", headers=hers) as response:
            next(response.iter_bytes())
        assert httpx.post(f"{server.url}/auth/logout", headers=hers).status_code == 204
        wait_until(lambda: notes(server.url, "out") == ["started", "closed"], "it goes on", 5)


def test_without_routes() -> None:
    """`streams=False`: nothing at `/streams`, and no address in the response."""
    from fastapi import FastAPI

    from fastapi_poto import Poto, poto_router
    from tests.secret import SECRET

    app = FastAPI()
    app.include_router(poto_router(Work, poto=Poto(SECRET), streams=False))
    with serve(app) as server:
        with httpx.stream("GET", f"{server.url}/Work/count?tag=off&count=1") as response:
            assert "content-location" not in response.headers
        assert httpx.get(f"{server.url}/streams").status_code == 404
        assert "/streams" not in httpx.get(f"{server.url}/openapi.json").json()["paths"]


@pytest.mark.anyio
async def test_the_python_client_stops_a_stream(live: LiveApp) -> None:
    """`stop(stream)` ends it well for whoever reads; before its first item there is nothing to stop."""
    async with live.client() as client:
        assert isinstance(client, PotoClient)
        await client.sign_in_visitor()
        stream = client.module(Work).get_count(tag="client")
        with pytest.raises(RuntimeError, match="has begun"):
            await stop(stream)
        seen = []
        async for number in stream:
            seen.append(number)
            if number == 3:
                await stop(stream)
        assert seen[:3] == [1, 2, 3]
        assert len(seen) < 50
        with pytest.raises(TypeError):
            await stop(iter_nothing())
    assert StreamCut is not TooManyRequests


async def iter_nothing() -> Any:
    yield 1
