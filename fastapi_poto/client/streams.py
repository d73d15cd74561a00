"""What a streaming method gives its caller: items as they come, and the truth about how it ended."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast, overload

import httpx

from ..errors import DeadlineExceeded, PotoError, ShuttingDown, StreamCut, Unavailable, UnexpectedResponse
from ..operations.operation import Events
from ..streaming import Event
from .sse import EventDecoder, ServerEvent

log = logging.getLogger("fastapi_poto")

T = TypeVar("T")

Open = Callable[[str | None], AbstractAsyncContextManager[httpx.Response]]
"""Starts the call, or goes on with it after the item of this id. The response's status is good."""

_LONGEST_DELAY: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """What is known of one call that streams."""

    operation: str
    open: Open
    decode: Callable[[bytes], Any]
    """An item's JSON, as the annotated type."""
    events: Events
    """Which items the annotation has as `Event`s."""
    error_of: Callable[[bytes], PotoError]
    deadline: float | None
    """`time.monotonic()`"""
    silence: float | None
    """So many seconds without a byte, not even a keep-alive, and the server is taken for gone."""
    reconnects: int
    """Attempts in a row to go on with a stream that can be resumed."""
    is_resumable: bool
    """Whether it can from its first item on; a subscription to topics says so itself."""
    stop: Callable[[str], Awaitable[None]]
    """Stops the stream of this address on the server."""


class Items(Generic[T]):
    """The items of a running call, in order. Leaving it, by `aclose()` or for good, ends the method on the server."""

    def __init__(self, plan: StreamPlan) -> None:
        self._plan = plan
        self._progress = _Progress(plan)
        self._events: AsyncGenerator[Event[Any], None] = _events(plan, self._progress)

    def __aiter__(self) -> "Items[T]":
        return self

    async def __anext__(self) -> T:
        event = await anext(self._events)
        # As the annotation has it. Where it may be either, an item without a name or an id was no event.
        kinds = self._plan.events
        is_event = kinds == "all" or (kinds == "some" and (event.event or event.id) is not None)
        return cast("T", event if is_event else event.data)

    def __await__(self) -> Generator[Any, None, "Items[T]"]:
        """For `async def` methods that return an iterator: `async for item in await shop.watch()`."""
        yield from ()
        return self

    async def aclose(self) -> None:
        await self._events.aclose()

    async def stop(self) -> None:
        """Stop the method on the server, for all who follow it: the stream then ends well.

        Only of a resumable method, and after its first item. Leaving the iterator leaves such a method running, for
        as long as somebody may come back for it.
        """
        if self._progress.address is None:
            raise RuntimeError(f"{self._plan.operation}: only a resumable stream that has begun can be stopped")
        await self._plan.stop(self._progress.address)

    def events(self) -> AsyncGenerator[Event[Any], None]:
        return self._events


@overload
def events(items: AsyncIterator[Event[T]]) -> AsyncGenerator[Event[T], None]: ...
@overload
def events(items: AsyncIterator[T]) -> AsyncGenerator[Event[T], None]: ...
def events(items: AsyncIterator[Any]) -> AsyncGenerator[Event[Any], None]:
    """The same stream with the names and ids of its events: `async for event in events(shop.watch(limit=3))`."""
    if not isinstance(items, Items):
        raise TypeError(f"events() takes a stream of a client's module, not {type(items).__name__}")
    return items.events()


async def stop(items: AsyncIterator[Any]) -> None:
    """Stop a stream's method on the server, for all who follow it: `await stop(answer)`. See `Items.stop`."""
    if not isinstance(items, Items):
        raise TypeError(f"stop() takes a stream of a client's module, not {type(items).__name__}")
    await items.stop()


async def _events(plan: StreamPlan, progress: "_Progress") -> AsyncGenerator[Event[Any], None]:
    """Events of one connection after another, as long as the stream can be resumed."""
    while True:
        decoder = EventDecoder()
        try:
            async with aclosing(_of_one_connection(plan, decoder, progress)) as connection:
                async for event in connection:
                    progress.note(event)
                    if event.data is None:
                        continue
                    if event.event == "gap":
                        log.warning("%s: events were lost: %s", plan.operation, event.data.decode(errors="replace"))
                        continue
                    name = None if event.event == "message" else event.event
                    yield Event(plan.decode(event.data or b""), name, event.id)
            return
        except (_Cut, httpx.TransportError, Unavailable) as error:
            delay = progress.delay_after(error, decoder)
        await _sleep(delay, plan)


class _Progress:
    """How far a stream came, and whether it is worth another attempt."""

    def __init__(self, plan: StreamPlan) -> None:
        self._plan = plan
        self._received = 0
        self._attempts = 0
        """In a row that brought nothing."""
        self.last_id: str | None = None
        self.address: str | None = None
        """Where the server has the stream."""
        self.can_be_resumed = plan.is_resumable

    def note(self, event: ServerEvent) -> None:
        self.can_be_resumed |= event.event == "open"
        self._received += 1
        self._attempts = 0
        self.last_id = event.id or self.last_id

    def delay_after(self, error: Exception, decoder: EventDecoder) -> float:
        """The seconds until the next attempt. Raises the error if there is none, or `StreamCut`."""
        self._attempts += 1
        is_unavailable = isinstance(error, Unavailable)
        # Only what was begun can be gone on with, and a failure of the method itself is its end.
        has_failed = is_unavailable and not isinstance(error, ShuttingDown) and self._attempts == 1
        if self.last_id is None or has_failed or not self.can_be_resumed or self._attempts > self._plan.reconnects:
            if is_unavailable or (self._received == 0 and isinstance(error, httpx.TransportError)):
                raise error
            raise StreamCut(self._plan.operation, self._received, self.last_id, str(error)) from (
                error.__cause__ or error
            )
        asked = error.retry_after if isinstance(error, Unavailable) else (decoder.retry_ms or 100) / 1000
        longest = min(_LONGEST_DELAY, asked * 2.0 ** min(self._attempts - 1, 10))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311


class _Cut(Exception):
    """The connection ended, and the stream had not."""


async def _of_one_connection(
    plan: StreamPlan, decoder: EventDecoder, progress: "_Progress"
) -> AsyncGenerator[ServerEvent, None]:
    async with plan.open(progress.last_id) as response:
        progress.address = response.headers.get("content-location", progress.address)
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
                if event.data is not None or event.event == "open":
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
        yield from ()
        return self

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
