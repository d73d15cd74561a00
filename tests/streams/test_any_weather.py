"""Streams of all kinds, ended in all ways at any moment: nothing is lost, nothing is left."""

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic_core import to_json
from starlette.requests import ClientDisconnect

from fastapi_poto.context import CallContext
from fastapi_poto.errors import Conflict, DeadlineExceeded, ShuttingDown
from fastapi_poto.settings import Settings
from fastapi_poto.stores.memory import MemoryStore
from fastapi_poto.streaming.event_stream import EventStream
from fastapi_poto.streaming.hub import hub_of
from fastapi_poto.streaming.stream_options import StreamOptions
from fastapi_poto.streaming.streams import Streams

STREAMS = 300


def made_streams() -> Streams:
    return Streams(MemoryStore(), Settings(replay_grace=0.01, replay_items=2), address_of=lambda scope: "here")


class Weather:
    """One stream's random choices, and what it did."""

    def __init__(self, seed: int) -> None:
        choose = self.random = random.Random(seed)
        self.seed = seed
        self.total = choose.choice([0, 1, 3, 50, 400])
        self.pause = choose.choice([None, 0, 0, 0.001])
        self.fails_at = choose.choice([None, None, None, self.total // 2])
        self.size = choose.choice([1, 100, 5000])
        self.cleanup = choose.choice([0, 0, 0.002])
        self.stall = choose.choice([0, 0, 0, 0.001, 0.01])
        self.middleware = choose.random() < 0.5
        self.end = choose.choice(["none", "none", "leave", "deadline", "cancel", "shutdown"])
        self.after = choose.choice([0, 0.0005, 0.003, 0.02])
        self.options = StreamOptions(
            ping_interval=choose.choice([0, 0.003, 15]),
            first_item_timeout=choose.choice([0, 0.001, 1]),
            buffer_bytes=choose.choice([1, 1000, 65536]),
            send_timeout=choose.choice([0.005, 30]),
            streams=choose.choice([None, None, None, made_streams()]),
        )
        self.items = self.sync() if choose.random() < 0.3 else self.asynchronous()
        self.opened = self.closed = 0
        self.sent: list[Any] = []

    def item(self, number: int) -> list[Any]:
        if number == self.fails_at:
            raise self.random.choice([ValueError("x"), Conflict("y")])
        return [number, "x" * self.size]

    async def asynchronous(self) -> AsyncIterator[Any]:
        self.opened += 1
        try:
            for number in range(self.total):
                yield self.item(number)
                if self.pause is not None:
                    await asyncio.sleep(self.pause)
        finally:
            try:
                await asyncio.sleep(self.cleanup)
            finally:
                self.closed += 1

    def sync(self) -> Iterator[Any]:
        self.opened += 1
        try:
            for number in range(self.total):
                yield self.item(number)
                time.sleep(self.pause or 0)
        finally:
            self.closed += 1

    async def run(self) -> None:
        leaving = asyncio.Event()

        async def send(message: Any) -> None:
            if self.middleware:
                await asyncio.sleep(0)
            if self.random.random() < 0.2:
                await asyncio.sleep(self.stall)
            self.sent.append(message)

        async def receive() -> Any:
            await leaving.wait()
            return {"type": "http.disconnect"}

        scope: dict[str, Any] = {"type": "http", "method": self.random.choice(["GET", "POST"]), "headers": []}
        context = CallContext("Any.stream", scope, receive)
        if self.end == "deadline":
            context.deadline = time.monotonic() + self.after
        if self.options.streams is not None:
            await self.options.streams.admit(context)
        stream = EventStream(self.items, context=context, encode=to_json, options=self.options)
        call = asyncio.ensure_future(stream(scope, receive, send))
        action = {"leave": leaving.set, "cancel": call.cancel, "shutdown": stream.on_shutdown}.get(self.end)
        if action is not None:
            asyncio.get_running_loop().call_later(self.after, action)
        async with asyncio.timeout(20):
            (outcome,) = await asyncio.gather(call, return_exceptions=True)
        expected = (ValueError, Conflict, DeadlineExceeded, ShuttingDown, ClientDisconnect, asyncio.CancelledError)
        assert outcome is None or isinstance(outcome, expected), outcome
        self.check(outcome)
        if self.options.streams is not None:
            await self.options.streams.close()

    def check(self, outcome: BaseException | None) -> None:
        if self.end != "cancel":  # who cancels the request from outside does not wait for the generator
            assert self.opened == self.closed, self.seed
        body = b"".join(message.get("body", b"") for message in self.sent)
        numbers = [int(line[7:].split(b",")[0]) for line in body.split(b"\n") if line.startswith(b"data: [")]
        assert numbers == list(range(len(numbers))), self.seed
        if self.end == "none" and self.options.send_timeout == 30:
            fails = self.fails_at is not None and self.fails_at < self.total
            assert len(numbers) == (self.fails_at if fails else self.total), self.seed
            if self.sent:
                assert isinstance(outcome, ValueError | Conflict) if fails else outcome is None, self.seed
                assert (b"event: error\n" if fails else b"event: close\n") in body, self.seed
                assert not self.sent[-1].get("more_body", False), self.seed


@pytest.mark.anyio
async def test_nothing_is_lost_and_nothing_is_left() -> None:
    """Items in order, a true end, every generator closed, no task left, and nothing said behind anybody's back."""
    said: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: said.append(context))
    before = asyncio.all_tasks()
    first = random.randrange(10**9)
    print("first seed:", first)
    for seed in range(first, first + STREAMS, 30):
        await asyncio.gather(*(Weather(one).run() for one in range(seed, seed + 30)))
    async with asyncio.timeout(10):
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left)
    gc.collect()
    assert said == []
    assert len(hub_of(loop)) == 0
