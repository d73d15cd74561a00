"""Streams as language models make them: token by token, stopped in the middle, many at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import httpx
import pytest

from tests.e2e.caller import Caller

pytestmark = pytest.mark.anyio
NewVisitor = Callable[[], Awaitable[Caller]]


async def _ends(caller: Caller, *, finished: int, abandoned: int, within: float) -> None:
    """Wait until the server has closed so many generators, for `within` seconds."""
    start = time.monotonic()
    while True:
        ends = await caller.value("GET", "/Llm/ends")
        if (ends["finished"], ends["abandoned"]) == (finished, abandoned):
            return
        assert time.monotonic() - start < within, ends


async def test_tokens_come_as_they_are_made(visitor: Caller) -> None:
    """The first of 40 tokens is here while the last has not been made."""
    times = []
    async for item in visitor.stream("/Llm/answer", prompt="p", tokens=40, pause=0.01):
        times.append((item["type"], time.monotonic()))
    assert [kind for kind, _ in times] == ["delta"] * 40 + ["usage"]
    assert times[-1][1] - times[0][1] > 0.3


async def test_the_text_is_whole(visitor: Caller) -> None:
    """Every token once, in order, then the usage."""
    items = await visitor.items("/Llm/answer", prompt="ö\n\u2028x", tokens=30, pause=0)
    assert "".join(item.get("text", "") for item in items) == "".join(f"ö\n\u2028x-{n} " for n in range(30))
    assert items[-1] == {"type": "usage", "tokens": 30}


async def test_a_reader_who_leaves_stops_the_model(visitor: Caller) -> None:
    """The generator's `finally`, its awaits and session writes included, runs soon after the client has gone."""
    async with aclosing(visitor.stream("/Llm/answer", prompt="p", tokens=10_000, pause=0.01)) as items:
        async for _ in items:
            break
    await _ends(visitor, finished=0, abandoned=1, within=10)  # benchmarks/ measures how soon; the whole stream: 100 s
    assert await visitor.call("/Keep/value", key="answers") == 1


async def test_twenty_answers_at_once(new_visitor: NewVisitor) -> None:
    """No token of one in another; five of the readers leave early."""
    visitors = [await new_visitor() for _ in range(20)]

    async def read(visitor: Caller, stop_after: int | None) -> str:
        text = ""
        tokens = 30 if stop_after is None else 100_000  # more than are made before the server sees the reader leave
        async with aclosing(visitor.stream("/Llm/answer", prompt=visitor.id, tokens=tokens, pause=0.002)) as items:
            async for item in items:
                text += item.get("text", "")
                if text.count(" ") == stop_after:
                    break
        return text

    texts = await asyncio.gather(*(read(visitor, 5 if n % 4 == 0 else None) for n, visitor in enumerate(visitors)))
    for number, (visitor, text) in enumerate(zip(visitors, texts, strict=True)):
        count = 5 if number % 4 == 0 else 30
        assert text == "".join(f"{visitor.id}-{n} " for n in range(count))
        stopped = number % 4 == 0
        await _ends(visitor, finished=int(not stopped), abandoned=int(stopped), within=20)


async def test_the_headers_of_a_stream(http: httpx.AsyncClient, visitor: Caller) -> None:
    """Those that keep proxies from storing, compressing or holding it back."""
    body = {"prompt": "p", "tokens": 1}
    async with http.stream("POST", "/Llm/answer", json=body, headers=visitor.headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store, no-transform"
        assert response.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in response.headers
        await response.aread()
