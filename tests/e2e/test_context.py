"""Concurrent calls and streams each see their own caller, whatever the server is and however the code asks."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.e2e.caller import Caller, new_client
from tests.kept_alive import KeptAlive, post
from tests.processes import LiveProcess

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http(either_server: LiveProcess, anyio_backend: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with new_client(either_server.url) as client:
        yield client


async def test_ten_calls_of_one_client(visitor: Caller) -> None:
    """All are answered for this client."""
    assert await asyncio.gather(*(visitor.call("/Who/me", pause=0.01) for _ in range(10))) == [visitor.id] * 10


async def test_fifty_generators(http: httpx.AsyncClient) -> None:
    """50 streams of 3 items, each of another client: no foreign id in any item."""
    visitors = await asyncio.gather(*(Caller.visitor(http) for _ in range(50)))
    streams = await asyncio.gather(*(visitor.items("/Who/names", pause=0.01) for visitor in visitors))
    assert streams == [[visitor.id] * 3 for visitor in visitors]


async def test_fifty_sync_generators(http: httpx.AsyncClient) -> None:
    """The same for plain generators, which run in threads."""
    visitors = await asyncio.gather(*(Caller.visitor(http) for _ in range(50)))
    streams = await asyncio.gather(*(visitor.items("/Who/names_from_thread") for visitor in visitors))
    assert streams == [[visitor.id] * 3 for visitor in visitors]


async def test_twenty_clients(http: httpx.AsyncClient) -> None:
    """20 clients at once, asking from tasks, threads and plain code."""
    visitors = await asyncio.gather(*(Caller.visitor(http) for _ in range(20)))
    everywhere = await asyncio.gather(*(visitor.call("/Who/everywhere") for visitor in visitors))
    assert everywhere == [[visitor.id] * 5 for visitor in visitors]
    in_threads = await asyncio.gather(*(visitor.call("/Who/me_in_thread") for visitor in visitors))
    assert in_threads == [visitor.id for visitor in visitors]


async def test_ten_clients_times_ten_calls(http: httpx.AsyncClient) -> None:
    """100 calls in flight on shared connections; each answer is for its caller."""
    visitors = await asyncio.gather(*(Caller.visitor(http) for _ in range(10)))
    callers = visitors * 10
    assert await asyncio.gather(*(caller.call("/Who/me", pause=0.02) for caller in callers)) == [c.id for c in callers]


@pytest.mark.timeout(240)  # 1,500 requests, and a client that is slower than the server
async def test_hundred_callers_with_calls_and_streams(http: httpx.AsyncClient) -> None:
    """100 callers, 10 calls and 5 streams of 3 items each: no foreign id anywhere."""
    visitors = await asyncio.gather(*(Caller.visitor(http) for _ in range(100)))

    async def work(visitor: Caller) -> set[str]:
        seen: set[str] = set()
        for _ in range(5):
            seen.add(await visitor.call("/Who/me"))
            seen.update(await visitor.items("/Who/names"))
            seen.add(await visitor.call("/Who/me"))
        return seen

    assert await asyncio.gather(*(work(visitor) for visitor in visitors)) == [{visitor.id} for visitor in visitors]


async def test_nobody_inherits_the_predecessor_on_a_connection(either_server: LiveProcess, visitor: Caller) -> None:
    """100 KB as a user, then an anonymous call on the same socket: it is anonymous. Servers leak contextvars here."""
    large = json.dumps({"text": "x" * 100_000}).encode()

    def work() -> list[Any]:
        with closing(KeptAlive(either_server.url)) as wire:
            seen = []
            for _ in range(20):
                wire.send(post("/Who/upload", large, visitor.pair["access_token"]))
                assert wire.read() == [visitor.id, 100_000]
                wire.send(post("/Who/anybody"))
                seen.append(wire.read())
            return seen

    assert await asyncio.to_thread(work) == [None] * 20


async def test_pipelined_calls_of_two_users(either_server: LiveProcess, http: httpx.AsyncClient) -> None:
    """Requests of two users and of nobody, sent at once on one socket, are each answered for their own sender."""
    one, other = await Caller.visitor(http), await Caller.visitor(http)

    def work() -> list[Any]:
        with closing(KeptAlive(either_server.url)) as wire:
            tokens = [one.pair["access_token"], other.pair["access_token"], None] * 10
            wire.send(*(post("/Who/anybody", b'{"pause": 0.002}', token) for token in tokens))
            return [wire.read() for _ in tokens]

    assert await asyncio.to_thread(work) == [one.id, other.id, None] * 10
