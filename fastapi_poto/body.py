"""A request's body: how large it may be, how long it may take, and who reads it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Generator
from time import monotonic
from types import coroutine
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from .errors import RequestTimeout, TooLarge

SLOWEST: Final = 16 * 1024
"""Bytes a second: what a body that has begun earns itself in time. Starlette's own limits would answer plain text."""
_AHEAD: Final = 64 * 1024
"""Bytes that are read before they are asked for, so that a disconnect behind them is seen."""


class Receiver:
    """The one reader of a request: for the code that reads its body, and for the watch for its disconnect.

    Raises `TooLarge` past `limit` bytes, and `RequestTimeout` when the client has kept the code waiting for `patience`
    seconds in all (0: it may), to which every 16 KiB that come add one.
    """

    def __init__(self, receive: Receive, limit: int, patience: float, begun: int = 0) -> None:
        """`begun` bytes have been read already."""
        self._receive = receive
        self._limit = limit
        self._left = limit - begun
        self._patience = patience or None
        self._ahead: deque[Message] = deque()
        self._size = 0
        self._is_complete = False
        self._is_gone = False
        self._is_reading = False
        self._news: asyncio.Event | None = None

    async def __call__(self) -> Message:
        if self._is_complete and not self._ahead:
            return await self._next()
        began = monotonic()
        try:
            async with asyncio.timeout(self._patience):
                message = await self._next()
        except TimeoutError:
            raise RequestTimeout from None
        if self._patience is not None:
            self._patience += len(message.get("body", b"")) / SLOWEST - (monotonic() - began)
        return message

    async def _next(self) -> Message:
        while not self._ahead:
            if self._left < 0:
                raise too_large(self._limit)
            if self._is_gone:
                return {"type": "http.disconnect"}
            if not self._is_reading:
                return await self._read()
            await self._wait()
        message = self._ahead.popleft()
        self._size -= len(message.get("body", b""))
        self._tell()
        return message

    async def until_disconnect(self) -> None:
        """Return when the client has gone. What it sends meanwhile is kept for whoever reads the body."""
        while not self._is_gone:
            if self._is_reading or self._size > _AHEAD:
                await self._wait()
                continue
            try:
                message = await self._read()
            except TooLarge:
                continue  # told to whoever reads the body
            if message["type"] == "http.request":
                self._ahead.append(message)
                self._size += len(message.get("body", b""))
                self._tell()

    async def _read(self) -> Message:
        self._is_reading = True
        try:
            message = await self._receive()
        finally:
            self._is_reading = False
            self._tell()
        if message["type"] == "http.disconnect":
            self._is_gone = True
        else:
            self._is_complete = not message.get("more_body", False)
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise too_large(self._limit)
        return message

    async def _wait(self) -> None:
        if self._news is None:
            self._news = asyncio.Event()
        await self._news.wait()

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None


async def read_body(
    message: Message, receiving: Awaitable[Message], receive: Receive, limit: int, patience: float
) -> bytes:
    """The whole body, of which `message` is there, or, if that is empty, what `receiving` waits for comes first.

    Raises `TooLarge`, `RequestTimeout`, and `ClientDisconnect`.
    """
    if not message:
        try:
            async with asyncio.timeout(patience or None):
                message = await receiving
        except TimeoutError:
            raise RequestTimeout from None
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        chunks, receiver = [body], Receiver(receive, limit, patience, len(body))
        while message.get("more_body", False):
            message = await receiver()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunks.append(message.get("body", b""))
        body = b"".join(chunks)
    if len(body) > limit:
        raise too_large(limit)
    return body


@coroutine
def resumed(begun: Any, awaited: Any) -> Generator[Any, Any, Any]:
    """The rest of a coroutine that was sent its first None, and waits for `awaited`."""
    while True:
        try:
            sent = yield awaited
        except GeneratorExit:
            begun.close()
            raise
        except BaseException as thrown:
            step, value = begun.throw, thrown
        else:
            step, value = begun.send, sent
        try:
            awaited = step(value)
        except StopIteration as done:
            return done.value


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body may have {limit} bytes at most")


def check_length(announced: bytes, limit: int) -> None:
    """Raise `TooLarge` for a body that is announced with more than `limit` bytes: before any of it is sent."""
    if announced.isdigit() and int(announced) > limit:
        raise too_large(limit)


JSON: Final = b"application/json"


def check_content_type(sent: bytes) -> None:
    """Raise `RequestValidationError` for the `Content-Type` of a body that does not say that it is JSON."""
    media_type = sent.partition(b";")[0].strip().lower()
    if media_type == JSON or (media_type.startswith(b"application/") and media_type.endswith(b"+json")):
        return
    raise RequestValidationError(
        [
            {
                "type": "content_type",
                "loc": ("body",),
                "msg": "The body should be JSON, with the header Content-Type: application/json",
                "input": media_type.decode("latin-1"),
            }
        ]
    )
