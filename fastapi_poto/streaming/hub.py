"""What all streams of one event loop share: a timer, the worker threads, the news that the server stops."""

import asyncio
import heapq
import signal
from collections.abc import Iterator
from contextvars import Context
from time import monotonic
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary, ref

from anyio import CapacityLimiter
from sse_starlette.sse import AppStatus

SHUTDOWN_POLL: Final = 0.05
SYNC_GENERATORS: Final = 100
"""Worker threads that may step sync generators at a time; apart from those of plain methods."""


class Timed(Protocol):
    """What the timer wakes."""

    def on_time(self, now: float) -> float:
        """Do what is due, and give the time (`time.monotonic()`) of the next visit."""
        ...

    def on_shutdown(self) -> None:
        """The server stops."""


class _Visit:
    """An entry in the timer's heap. A stream that has gone leaves it empty, so that nothing holds the stream."""

    __slots__ = ("target", "when")

    def __init__(self, when: float, target: Timed) -> None:
        self.when = when
        self.target: Timed | None = target

    def __lt__(self, other: "_Visit") -> bool:
        return self.when < other.when


class Hub:
    """One per event loop. Its only timer runs in an empty context: it keeps no caller alive."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._context = Context()
        self._heap: list[_Visit] = []
        self._visits: dict[Timed, _Visit] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._server: ref[Any] | None = None
        self._has_looked = False
        self.limiter = CapacityLimiter(SYNC_GENERATORS)

    def __len__(self) -> int:
        return len(self._visits)

    def add(self, target: Timed, when: float) -> None:
        """Visit `target` at `when` (`time.monotonic()`), and from then on when it says."""
        if not self._has_looked:
            self._find_server()
        visit = self._visits[target] = _Visit(when, target)
        heapq.heappush(self._heap, visit)
        self._arm()

    def discard(self, target: Timed) -> None:
        """Never visit `target` again, and let go of it."""
        visit = self._visits.pop(target, None)
        if visit is not None:
            visit.target = None
        if not self._visits:
            self._heap.clear()
            self._disarm()
        elif len(self._heap) > 2 * len(self._visits) + 64:
            self._heap = [entry for entry in self._heap if entry.target is not None]
            heapq.heapify(self._heap)

    @property
    def is_shutting_down(self) -> bool:
        """Whether the server that runs this loop has been told to stop."""
        server = self._server() if self._server is not None else None
        return bool(server.should_exit) if server is not None else AppStatus.should_exit

    def _arm(self) -> None:
        loop = self._loop()
        if not self._heap or loop is None:
            return
        # No later than the next look at the server.
        now = monotonic()
        when = min(self._heap[0].when, now + SHUTDOWN_POLL)
        if self._timer is None or when < self._timer_at - 0.001:
            self._disarm()
            self._timer_at = when
            self._timer = loop.call_later(max(0.0, when - now), self._tick, context=self._context)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        if self.is_shutting_down:
            for target in list(self._visits):
                target.on_shutdown()
        now = monotonic()
        heap = self._heap
        while heap and heap[0].when <= now:
            visit = heap[0]
            if visit.target is None:
                heapq.heappop(heap)
            else:
                visit.when = max(visit.target.on_time(now), now + 0.001)
                heapq.heapreplace(heap, visit)
        self._arm()

    # Which server runs this loop? sse-starlette patches uvicorn's signal handler, which comes too late where uvicorn
    # imports the application after it has installed it, and so asks the handler for its server: as is done here.
    # Servers in threads have no handler: they are found as the coroutine that runs the loop.

    def _find_server(self) -> None:
        self._has_looked = True
        for candidate in (*_running(self._loop()), getattr(signal.getsignal(signal.SIGTERM), "__self__", None)):
            if hasattr(candidate, "should_exit") and candidate is not AppStatus:
                self._server = ref(candidate)
                return


def _running(loop: asyncio.AbstractEventLoop | None) -> Iterator[Any]:
    """Whatever is `self` in the outer coroutines of a loop's tasks named `serve`."""
    for task in asyncio.all_tasks(loop):
        coroutine: Any = task.get_coro()
        for _ in range(8):
            frame = getattr(coroutine, "cr_frame", None)
            if frame is None:
                break
            if getattr(coroutine, "__name__", "") == "serve":
                yield frame.f_locals.get("self")
            coroutine = coroutine.cr_await


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub_of(loop: asyncio.AbstractEventLoop) -> Hub:
    """The hub of a loop."""
    hub = _hubs.get(loop)
    if hub is None:
        hub = _hubs[loop] = Hub(loop)
    return hub
