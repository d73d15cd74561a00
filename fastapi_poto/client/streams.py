"""What a streaming method gives its caller: items as they come, and the truth about how it ended."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

import httpx

from ..errors import DeadlineExceeded, PotoError, ShuttingDown, StreamCut, Unavailable, UnexpectedResponse
from ..streaming import Event
from .sse import EventDecoder, ServerEvent

T = TypeVar("T")

Open = Callable[[str | None], AbstractAsyncContextManager[httpx.Response]]
"""Starts the call, or goes on with it after the item of this id. The answer's status is good."""

_LONGEST_DELAY: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """What is known of one call that streams."""

    operation: str
    open: Open
    decode: Callable[[bytes], Any]
    """An item's JSON, as the annotated type."""
    error_of: Callable[[bytes], PotoError]
    deadline: float | None
    """`time.monotonic()`"""
    silence: float | None
    """So many seconds without a byte, not even a keep-alive, and the server is taken for gone."""
    reconnects: int
    """Attempts in a row to go on with a resumable stream; 0 for one that is not."""


class Items(Generic[T]):
    """The items of a running call, in order. Leaving it, by `aclose()` or for good, ends the method on the server."""

    def __init__(self, plan: StreamPlan) -> None:
        self._events: AsyncGenerator[Event[T], None] = _events(plan)

    def __aiter__(self) -> "Items[T]":
        return self

    async def __anext__(self) -> T:
        return (await anext(self._events)).data

    def __await__(self) -> Generator[Any, None, "Items[T]"]:
        """For `async def` methods that return an iterator: `async for item in await shop.watch()`."""
        return _itself(self).__await__()

    async def aclose(self) -> None:
        await self._events.aclose()

    def events(self) -> AsyncGenerator[Event[T], None]:
        return self._events


def events(items: AsyncIterator[T]) -> AsyncGenerator[Event[T], None]:
    """The same stream with the names and ids of its events: `async for event in events(shop.watch(limit=3))`."""
    if not isinstance(items, Items):
        raise TypeError(f"events() takes a stream of a client's module, not {type(items).__name__}")
    return cast("Items[T]", items).events()


async def _events(plan: StreamPlan) -> AsyncGenerator[Event[Any], None]:
    """Events of one connection after another, as long as the stream can be resumed."""
    last_id: str | None = None
    received = attempts = 0
    while True:
        decoder = EventDecoder()
        try:
            async with aclosing(_of_one_connection(plan, decoder, last_id)) as connection:
                async for event in connection:
                    received += 1
                    attempts = 0
                    last_id = event.id or last_id
                    name = None if event.event == "message" else event.event
                    yield Event(plan.decode(event.data or b""), name, event.id)
            return
        except (_Cut, httpx.TransportError, Unavailable) as error:
            attempts += 1
            # Only what was begun can be gone on with, and a failure of the method itself is its end.
            failed = isinstance(error, Unavailable) and not isinstance(error, ShuttingDown) and attempts == 1
            if last_id is None or failed or attempts > plan.reconnects:
                if isinstance(error, Unavailable) or (received == 0 and isinstance(error, httpx.TransportError)):
                    raise
                raise StreamCut(plan.operation, received, last_id, str(error)) from error.__cause__ or error
            delay = error.retry_after if isinstance(error, Unavailable) else (decoder.retry_ms or 100) / 1000
        delay = min(_LONGEST_DELAY, delay * 2 ** min(attempts - 1, 10))
        await _sleep(delay * random.uniform(0.5, 1.0), plan)  # noqa: S311


async def _itself(one: T) -> T:
    return one


class _Cut(Exception):
    """The connection ended, and the stream had not."""


async def _of_one_connection(
    plan: StreamPlan, decoder: EventDecoder, last_id: str | None
) -> AsyncGenerator[ServerEvent, None]:
    async with plan.open(last_id) as response:
        if response.status_code == 204:  # there is no more after this id
            return
        content_type = response.headers.get("content-type", "")
        if not content_type.startswith("text/event-stream"):
            raise UnexpectedResponse(
                f"{plan.operation} answered {content_type or 'nothing'} where events were expected"
            )
        chunks = response.aiter_bytes()
        while (chunk := await _next(chunks, plan)) is not None:
            for event in decoder.feed(chunk):
                if event.event == "close":
                    await _read_to_the_end(chunks)
                    return
                if event.event == "error":
                    raise plan.error_of(event.data or b"")
                if event.data is not None:
                    yield event
        raise _Cut("it ended without saying so")


async def _next(chunks: AsyncIterator[bytes], plan: StreamPlan) -> bytes | None:
    """The next chunk of a body, or None. Raises `_Cut` for what befell the connection, and `DeadlineExceeded`."""
    left = None if plan.deadline is None else max(0.0, plan.deadline - time.monotonic())
    limits = [limit for limit in (left, plan.silence) if limit is not None]
    try:
        async with asyncio.timeout(min(limits) if limits else None):
            return await anext(chunks, None)
    except TimeoutError:
        if plan.deadline is not None and time.monotonic() >= plan.deadline:
            raise DeadlineExceeded from None
        raise _Cut(f"nothing came for {plan.silence} s") from None
    except httpx.TransportError as error:
        raise _Cut(str(error) or type(error).__name__) from error


async def _read_to_the_end(chunks: AsyncIterator[bytes]) -> None:
    """What follows `close` is the end of the body: with it read, the connection can serve other calls."""
    with contextlib.suppress(TimeoutError, httpx.TransportError):
        async with asyncio.timeout(0.5):
            async for _ in chunks:
                pass


async def _sleep(seconds: float, plan: StreamPlan) -> None:
    if plan.deadline is not None and time.monotonic() + seconds >= plan.deadline:
        raise DeadlineExceeded
    await asyncio.sleep(seconds)


class Chunks:
    """The bytes of a running call, as they come."""

    def __init__(self, plan: StreamPlan) -> None:
        self._chunks = _chunks(plan)

    def __aiter__(self) -> "Chunks":
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    def __await__(self) -> Generator[Any, None, "Chunks"]:
        return _itself(self).__await__()

    async def aclose(self) -> None:
        await self._chunks.aclose()


async def _chunks(plan: StreamPlan) -> AsyncGenerator[bytes, None]:
    received = 0
    try:
        async with plan.open(None) as response:
            chunks = response.aiter_bytes()
            while (chunk := await _next(chunks, plan)) is not None:
                received += 1
                yield chunk
    except _Cut as error:
        raise StreamCut(plan.operation, received, None, str(error)) from error.__cause__
