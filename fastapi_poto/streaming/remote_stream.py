"""A resumable stream whose generator runs in another process, or has ended."""

import asyncio
from collections import deque
from secrets import token_hex
from typing import Final

from ..errors import PastReplay, StreamLost, Unavailable
from ..stores.log import Entry
from .local_streams import LocalStreams
from .stream_records import (
    KEPT_AFTER_END,
    StreamHead,
    number_of,
    readers_record,
    recorded_end,
    recorded_error,
    seen_key,
    stream_key,
)

_LOOK_SECONDS: Final = 1.5
"""Silence after which it is asked whether the generator's process lives."""


class RemoteStream:
    """An async iterator of the frames after an item. Raises what the generator raised, `PastReplay` for a gap."""

    def __init__(self, local: LocalStreams, stream: str, head: StreamHead, after: int) -> None:
        self._local = local
        self._stream = stream
        self._process = head.process
        self._after = after
        self._ready: deque[tuple[int, bytes]] = deque()
        self._reader = local.tails.reader(stream_key(stream))
        self._token = token_hex(4)
        self._is_held = False
        self._told = after
        self._untold_bytes = 0
        self._end: bytes | None = None

    async def begin(self) -> None:
        """Let the generator's process know that somebody reads. Raises `Unavailable`."""
        try:
            await self._reader.begin(0)
            await self._local.leases.hold(readers_record(self._stream), self._token, b"")
            self._is_held = True
        except BaseException:
            await self.aclose()
            raise

    def __aiter__(self) -> "RemoteStream":
        return self

    async def __anext__(self) -> bytes:
        while True:
            while not self._ready:
                if self._end is not None:
                    error = recorded_error(self._end)
                    if error is not None:
                        raise error
                    raise StopAsyncIteration
                await self._read_on()
            number, frame = self._ready.popleft()
            if number > self._after:
                break  # else an append that was tried again is there twice
        if number != self._after + 1:
            raise PastReplay
        self._after = number
        await self._tell(len(frame))
        return frame

    async def _read_on(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                step = await self._reader.step()
        except TimeoutError:
            await self._look()
            return
        self._ready.extend(
            (number, frame) for _, frame in step.events if (number := number_of(frame)) > self._after
        )  # fmt: skip
        self._end = step.end

    async def _look(self) -> None:
        """End the stream for everybody if the process of its generator is gone."""
        try:
            if not await self._local.leases.is_alive(self._process):
                await self._local.end(self._stream, recorded_end(StreamLost()))
        except Unavailable:
            pass  # the next silence asks again

    async def _tell(self, size: int) -> None:
        """Let a generator that waits for its reader know how far it has come; short streams never need it."""
        self._untold_bytes += size
        local = self._local
        if 4 * (self._after - self._told) < local.max_items and 4 * self._untold_bytes < local.max_bytes:
            return
        seen = Entry(
            key=seen_key(self._stream), events=[b"%d" % self._after], keep=1, remember=local.grace + KEPT_AFTER_END
        )
        try:
            await local.tails.append(seen)
            self._told, self._untold_bytes = self._after, 0
        except Unavailable:
            pass  # the next item tries again

    async def aclose(self) -> None:
        """Read no longer."""
        if self._reader is not None:
            self._reader.close()
        if self._is_held:
            self._is_held = False
            await self._local.leases.release(readers_record(self._stream), self._token)
