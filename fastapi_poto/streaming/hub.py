"""What all streams of one event loop share: a timer, the worker threads, the news that the server stops."""

import asyncio
import heapq
from contextvars import Context
from time import monotonic
from typing import Final, Protocol
from weakref import WeakKeyDictionary, ref

from anyio import CapacityLimiter

from .._compat.servers import IsStopping, stop_sign

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
        self._is_server_stopping: IsStopping | None = None
        self._is_stopped = False
        self.limiter = CapacityLimiter(SYNC_GENERATORS)

    def __len__(self) -> int:
        return len(self._visits)

    def add(self, target: Timed, when: float) -> None:
        """Visit `target` at `when` (`time.monotonic()`), and from then on when it says."""
        if self._is_server_stopping is None:
            self._is_server_stopping = stop_sign(asyncio.get_running_loop())
        visit = self._visits[target] = _Visit(when, target)
        heapq.heappush(self._heap, visit)
        self._arm()

    def discard(self, target: Timed) -> None:
        """Never visit `target` again, and let go of it."""
        visit = self._visits.pop(target, None)
        if visit is not None:
            visit.target = None
        if not self._visits:
            self._heap.clear()  # the timer runs out by itself, or serves who comes next
        elif len(self._heap) > 2 * len(self._visits) + 64:
            self._heap = [entry for entry in self._heap if entry.target is not None]
            heapq.heapify(self._heap)

    @property
    def is_shutting_down(self) -> bool:
        """Whether the server that runs this loop has been told to stop, or `shut_down` was called."""
        return self._is_stopped or (self._is_server_stopping is not None and self._is_server_stopping())

    def shut_down(self, stopped: bool = True) -> None:
        """End what is open, and what begins from now on; False: from now on, begin again."""
        self._is_stopped = stopped

    def _arm(self) -> None:
        loop = self._loop()
        if not self._heap or loop is None:
            return
        # No later than the next look at the server.
        now = monotonic()
        when = min(self._heap[0].when, now + SHUTDOWN_POLL)
        if self._timer is None or when < self._timer_at - 0.001:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = when
            self._timer = loop.call_later(max(0.0, when - now), self._tick, context=self._context)

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


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub_of(loop: asyncio.AbstractEventLoop) -> Hub:
    """The hub of a loop."""
    hub = _hubs.get(loop)
    if hub is None:
        for other in [other for other in list(_hubs) if other.is_closed()]:
            _hubs.pop(other, None)
        hub = _hubs[loop] = Hub(loop)
    return hub


def shut_down() -> None:
    """End the streams of every event loop of this process: each ends with `shutting_down` within a moment."""
    for hub in list(_hubs.values()):
        hub.shut_down()
