"""The pump: one task that owns a generator, and a bounded buffer between it and whoever sends.

The task is the generator's home. A timeout, a cancel scope or a task group around a `yield` belongs to that task,
so it can never cancel the server's `send`; what cancels it while it waits for room is delivered at the `yield`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import Context
from threading import Lock
from time import monotonic, sleep
from typing import Any, Final

from anyio import CapacityLimiter, to_thread

from .hub import hub_of

log = logging.getLogger("fastapi_poto")

FAIR_SLICE: Final = 0.002
"""Seconds for which a generator that never awaits may hold the event loop."""
_TURNS_FOR_OTHERS: Final = 4
_GIL_PAUSE: Final = 0.0001
"""Seconds for which a thread lets go of the interpreter after a slice: the loop would wait 5 ms for it, every time."""
LARGE: Final = 16384
"""Bytes from which a frame is not copied to be sent together with others."""
GATHER: Final = 0.005
"""Items that follow a write within so many seconds wait a turn of the loop for the next ones, while those come."""
_GATHER_TURNS: Final = 8


class Pump:
    """Steps an async generator and keeps its frames until they are taken; `limit` bytes and one frame at most."""

    __slots__ = (
        "_context", "_frame", "_items", "_limit", "_loop", "_reader", "_room", "_task",
        "chunks", "ended", "error", "size", "stopping",
    )  # fmt: skip

    def __init__(self, items: Any, frame: Callable[[Any], bytes], *, limit: int, context: Context) -> None:
        """`items` is an iterator. `context` is the generator's own: it runs there from its first step to its last."""
        self._items: Any = items
        self._frame = frame
        self._limit = limit
        self._context = context
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self.chunks: list[bytes] = []
        """Frames that nobody took yet."""
        self.size = 0
        """Their bytes."""
        self.ended = False
        """No more frames will come."""
        self.error: BaseException | None = None
        """Why it ended, if it failed."""
        self.stopping = False

    def start(self) -> asyncio.AbstractEventLoop:
        """Let the generator run; on the loop that is given back."""
        self._loop = loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(), context=self._context)
        return loop

    def stop(self) -> None:
        """Cancel the generator, once: a second time would kill what it awaits in its `finally`."""
        if not self.stopping:
            self.stopping = True
            if self._task is not None:
                self._task.cancel()

    @property
    def is_done(self) -> bool:
        """Whether there is no generator any more that would have to be closed."""
        return self._task is None or self._task.done()

    async def closed(self, timeout: float) -> None:
        """Wait until the generator has been closed, or for `timeout` seconds."""
        if self._task is not None and not self._task.done():
            await asyncio.wait((self._task,), timeout=timeout)

    def put(self, chunk: bytes) -> None:
        """Send something that is no item, behind those that came before."""
        self.chunks.append(chunk)
        self.size += len(chunk)
        self.wake()

    # The reader's side

    async def wait(self) -> None:
        """Return when there are frames, or no more will come, or on `wake`."""
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def wake(self) -> None:
        """Let `wait` return."""
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)

    async def gather(self) -> None:
        """Let the generator go on for as long as every turn of the loop brings more: fewer writes cost less."""
        chunks, began = self.chunks, monotonic()
        for _ in range(_GATHER_TURNS):
            count = len(chunks)
            await asyncio.sleep(0)
            if len(chunks) == count or self._room is not None or self.ended or monotonic() - began > GATHER:
                return

    def take(self) -> bytes:
        """What is ready, as one chunk; there has to be something. Large frames come one by one: copies cost more."""
        chunks = self.chunks
        if len(chunks) == 1 or len(chunks[0]) > LARGE:
            data = chunks.pop(0)
        else:
            data = b"".join(chunks)
            chunks.clear()
        self._taken(len(data))
        return data

    def _taken(self, size: int) -> None:
        self.size -= size
        room = self._room
        if room is not None and not room.done():
            room.set_result(None)

    def take_frames(self) -> list[bytes]:
        """What is ready, frame by frame."""
        frames = self.chunks.copy()
        self.chunks.clear()
        self._taken(sum(map(len, frames)))
        return frames

    # The generator's side

    async def _make_room(self) -> None:
        if self.stopping:  # since the last look: nobody would call any more
            return
        self._room = self._loop.create_future()
        try:
            await self._room
        finally:
            self._room = None

    def _end(self, error: BaseException | None = None) -> None:
        self.error = error
        self.ended = True
        self.wake()

    async def _run(self) -> None:
        items: AsyncIterator[Any] = self._items
        step, frame, chunks, limit = items.__anext__, self._frame, self.chunks, self._limit
        slice_began = monotonic()
        try:
            item = await step()
            while not self.stopping:
                chunk = frame(item)
                if not chunks:
                    slice_began = monotonic()  # the reader was here: the loop has turned
                chunks.append(chunk)
                self.size += len(chunk)
                reader = self._reader
                if reader is not None and not reader.done():
                    reader.set_result(None)
                try:
                    if self.size > limit:
                        await self._make_room()
                        slice_began = monotonic()
                    elif (held := monotonic() - slice_began) > FAIR_SLICE:
                        await _let_others(held)
                        slice_began = monotonic()
                except BaseException as error:
                    # A timeout or a scope of the generator's, or the end of the stream, strikes at its `yield`.
                    throw = getattr(items, "athrow", None)
                    if throw is None:
                        raise
                    item = await throw(error)
                else:
                    item = await step()
        except StopAsyncIteration:
            self._end()
        except BaseException as error:
            self._end(None if self.stopping and isinstance(error, asyncio.CancelledError) else _failure(error))
        finally:
            self._end(self.error)
            await _close(items)
            self._items = None


def _failure(error: BaseException) -> Exception:
    """Why a generator failed. What is no `Exception`, a cancellation from within, must not strike who reports it."""
    if isinstance(error, Exception):
        return error
    failure = RuntimeError(f"The generator raised {type(error).__name__}")
    failure.__cause__ = error
    return failure


async def _let_others(held: float) -> None:
    """Give the loop back for several turns: another call needs some, and one would delay it by a slice for each."""
    if held > 2 * FAIR_SLICE:
        await asyncio.sleep(held / 4)
    else:
        for _ in range(_TURNS_FOR_OTHERS):
            await asyncio.sleep(0)


async def _close(items: Any) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        try:
            await close()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # Task groups around a `yield` report the GeneratorExit that closed them as an error of theirs.
            if not isinstance(error, BaseExceptionGroup) or error.split(GeneratorExit)[1] is not None:
                log.exception("A stream's generator failed while it was closed")


class ThreadPump(Pump):
    """Steps a sync generator in worker threads, always in the one context that is the generator's.

    A visit to a thread goes on for as long as there is room, and what it made is sent meanwhile.
    """

    __slots__ = ("_is_closed", "_is_told", "_limiter", "_lock", "_made", "_made_bytes")

    def __init__(self, items: Iterator[Any], frame: Callable[[Any], bytes], *, limit: int, context: Context) -> None:
        super().__init__(items, frame, limit=limit, context=context)
        self._lock = Lock()
        self._made: list[bytes] = []
        self._made_bytes = 0
        self._is_told = False
        self._is_closed = False
        self._limiter: CapacityLimiter

    def start(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = asyncio.get_running_loop()
        self._limiter = hub_of(loop).limiter
        # The generator's context is entered in the threads; a context cannot be entered twice at a time.
        self._task = loop.create_task(self._run(), context=Context())
        return loop

    def stop(self) -> None:
        """Have the generator closed at its `yield`: what runs in a thread cannot be cancelled."""
        self.stopping = True
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def _run(self) -> None:
        items: Iterator[Any] = self._items

        def close() -> None:
            self._context.run(self._close, items)

        def visit() -> bool:
            if self.stopping:  # while this visit waited for a thread
                close()
                return False
            return self._context.run(self._visit, items)

        try:
            more = True
            while more and not self.stopping:
                more = await to_thread.run_sync(visit, limiter=self._limiter)
                self._collect()
                if more and self.size > self._limit:
                    await self._make_room()
            self._collect()
            self._end()
        except BaseException as error:
            self._collect()
            self._end(_failure(error))
        finally:
            self.stopping = True
            self._end(self.error)
            if not self._is_closed:
                await to_thread.run_sync(close, limiter=self._limiter)
            self._items = None

    def _visit(self, items: Iterator[Any]) -> bool:
        """In a thread: step the generator until it is done (False) or there is no more room."""
        slice_began = monotonic()
        for item in items:
            chunk = self._frame(item)
            with self._lock:
                self._made.append(chunk)
                self._made_bytes += len(chunk)
                is_full = self._made_bytes + self.size > self._limit
                tell, self._is_told = not self._is_told, True
            if tell:
                self._loop.call_soon_threadsafe(self._collect, context=Context())
            if self.stopping:
                break
            if is_full:
                return True
            if monotonic() - slice_began > FAIR_SLICE:
                sleep(_GIL_PAUSE)
                slice_began = monotonic()
        self._close(items)
        return False

    def _collect(self) -> None:
        """On the loop: hand on what the thread made."""
        with self._lock:
            made, self._made = self._made, []
            self.size += self._made_bytes
            self._made_bytes = 0
            self._is_told = False
        if made:
            self.chunks.extend(made)
            self.wake()

    def _close(self, items: Any) -> None:
        self._is_closed = True
        close = getattr(items, "close", None)
        if close is not None:
            try:
                close()
            except BaseException:
                log.exception("A stream's generator failed while it was closed")


def pump_of(items: Any, frame: Callable[[Any], bytes], *, limit: int, context: Context) -> Pump:
    """The pump that fits: a generator's, or a sync generator's."""
    if hasattr(items, "__aiter__"):
        return Pump(aiter(items), frame, limit=limit, context=context)
    return ThreadPump(iter(items), frame, limit=limit, context=context)
