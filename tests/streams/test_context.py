"""What a generator knows of its caller, and what is left of a caller whose stream is over."""

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from httpx_sse import aconnect_sse

from fastapi_poto import Poto, PotoModule, poto_router, public
from fastapi_poto.context import CallContext
from fastapi_poto.streaming.hub import _hubs, hub_of
from fastapi_poto.testing import LiveApp
from tests.secret import SECRET
from tests.streams.client import Connection
from tests.streams.conftest import Connect, sign_in
from tests.streams.probe import PROBES, Probe


@pytest.mark.parametrize("name", ["mine", "sync_mine"])
def test_a_generators_own_contextvars_last(live: LiveApp, name: str) -> None:
    """What it sets at one item it finds at the next, in one task and in several threads; user and session are there."""
    headers = sign_in(live.url)
    for _ in range(2):  # the second stream finds nothing of the first
        text = httpx.get(f"{live.url}/Whose/{name}?count=20", headers=headers).text
        assert text.count("data: ") == 20, text[-300:]
        assert text.endswith("event: close\ndata\n\n")


@pytest.mark.anyio
async def test_a_hundred_callers_at_once(one: LiveApp) -> None:
    """Every item of every stream is its own caller's."""
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=30) as client:
        signed = [await client.post(f"{one.url}/auth/visitor") for _ in range(100)]

        async def call(answer: httpx.Response, number: int) -> None:
            headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
            name = "sync_mine" if number % 4 == 0 else "mine"
            url = f"{one.url}/Whose/{name}?count=10"
            async with aconnect_sse(client, "GET", url, headers=headers) as source:
                events = [event async for event in source.aiter_sse()]
            users = {json.loads(event.data).split(":")[0] for event in events[:-1]}
            assert users == {answer.json()["user_id"]}
            assert [event.event for event in events] == ["message"] * 10 + ["close"]

        await asyncio.gather(*(call(answer, number) for number, answer in enumerate(signed)))


def test_the_next_request_on_the_connection_sees_nothing(live: LiveApp) -> None:
    """After a body over 64 KiB servers hand the next request this one's context: it must not show."""
    with httpx.Client() as client:
        headers = sign_in(live.url)
        for _ in range(10):
            big = client.post(f"{live.url}/Whose/anybody", json={"padding": "x" * 200_000}, headers=headers)
            assert big.text.count('"visitor_') == 2
            small = client.post(f"{live.url}/Whose/anybody", json={})
            assert small.text == 'data: "None:0"\n\ndata: "None:1"\n\nevent: close\n\n'


def test_pipelined_requests_see_nothing_of_each_other(live: LiveApp) -> None:
    """Two requests in one write: the second one, without credentials, has no user."""
    token = sign_in(live.url)["Authorization"]
    body = b"{}"
    post = b"POST /Whose/anybody HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    with Connection(live.url, "/Leaving/status") as connection:
        connection.read_until(b'"open"')
        connection.received = b""
        signed = post + f"Authorization: {token}\r\n".encode() + b"\r\n" + body
        connection.socket.sendall(signed + post + b"\r\n" + body)
        while connection.received.count(b"event: close") < 2:
            assert connection.read_some()
    first, second = connection.received.split(b"event: close")[:2]
    assert b'"visitor_' in first
    assert b"None:0" in second
    assert b"visitor_" not in second


def test_nothing_of_a_finished_stream_is_kept(
    one: LiveApp, connect_one: Connect, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not its user, not its context: no timer, task or watcher holds them while other streams go on."""
    contexts: list[weakref.ref[CallContext]] = []
    made = CallContext.__init__

    def note(self: CallContext, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        contexts.append(weakref.ref(self))

    monkeypatch.setattr(CallContext, "__init__", note)
    headers = sign_in(one.url)
    first = connect_one("/Whose/endless", query={"tag": tag}, headers=headers)
    first.read_until(b"data: 2")
    other = connect_one("/Whose/endless", query={"tag": tag + "-other"}, headers=headers)
    other.read_until(b"data: 2")
    streams = contexts[-2:]
    first.leave()
    PROBES[tag].wait("closed")
    httpx.get(f"{one.url}/Leaving/status")
    other.read_until(b"data: 10")
    gc.collect()
    assert streams[0]() is None
    assert streams[1]() is not None


def test_the_probe_of_this_module_is_alone(probe: Probe) -> None:
    """Each test has notes of its own."""
    assert probe.names == []


@public
class Short(PotoModule):
    """Streams that end by themselves."""

    async def get_items(self) -> AsyncIterator[int]:
        yield 1

    async def get_slow_items(self) -> AsyncIterator[int]:
        await asyncio.sleep(0.001)
        yield 1

    async def get_chunks(self) -> AsyncIterator[bytes]:
        yield b"1"

    def get_sync_items(self) -> Iterator[int]:
        yield 1


@pytest.mark.anyio
async def test_a_finished_stream_needs_no_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """It refers to its call, but not the call to it: collections would cost more than short streams."""
    app = FastAPI()
    app.include_router(poto_router(Short, poto=Poto(secret=SECRET)))
    contexts: list[weakref.ref[CallContext]] = []
    made = CallContext.__init__

    def note(self: CallContext, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        contexts.append(weakref.ref(self))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://short") as client:
        await client.get("/Short/items")
        monkeypatch.setattr(CallContext, "__init__", note)
        gc.collect()
        gc.disable()
        try:
            for name in ("items", "slow_items", "chunks", "sync_items"):
                assert (await client.get(f"/Short/{name}")).status_code == 200
            await asyncio.sleep(0)
            kept = [reference() for reference in contexts]
        finally:
            gc.enable()
    assert kept == [None] * 4


def test_a_closed_loops_hub_is_dropped() -> None:
    """With all that it would have visited: nobody closes that in an application without a lifespan."""
    closed = asyncio.new_event_loop()
    hub_of(closed)
    closed.close()
    other = asyncio.new_event_loop()
    try:
        hub_of(other)
        assert other in _hubs
        assert closed not in _hubs
    finally:
        other.close()
