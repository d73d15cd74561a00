"""How long the caller waits, said to the server with every call."""

import math
import time
from contextvars import ContextVar
from types import TracebackType

from ..context import current_context
from ..errors import DeadlineExceeded, NoContextError

_deadline: ContextVar[float | None] = ContextVar("fastapi_poto.client.deadline", default=None)


class Deadline:
    """`async with client.deadline(2.0):` — all calls inside share these seconds. An outer one that is shorter holds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __aenter__(self) -> "Deadline":
        mine, outer = time.monotonic() + self._seconds, _deadline.get()
        self._token = _deadline.set(mine if outer is None else min(mine, outer))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _deadline.reset(self._token)


def deadline_of_call(timeout: float | None) -> float | None:
    """When a call made now is given up (`time.monotonic()`): after `timeout` seconds, at the deadline of the block,

    or at that of the call that this code serves, whichever is first. Raises `DeadlineExceeded` if that was before now.
    """
    now = time.monotonic()
    try:
        serving = current_context().deadline
    except NoContextError:
        serving = None
    limits = [None if timeout is None else now + timeout, _deadline.get(), serving]
    known = [limit for limit in limits if limit is not None]
    if not known:
        return None
    if min(known) <= now:
        raise DeadlineExceeded
    return min(known)


def milliseconds_until(deadline: float) -> int:
    """What is left, for the header; not below 1."""
    return max(1, math.ceil((deadline - time.monotonic()) * 1000))
