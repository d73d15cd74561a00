"""How long the caller waits, said to the server with every call."""

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar

from ..context import current_context
from ..errors import DeadlineExceeded, NoContextError

_deadline: ContextVar[float | None] = ContextVar("fastapi_poto.client.deadline", default=None)


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """All calls inside share these seconds. An outer one that is shorter holds."""
    ours, outer = time.monotonic() + seconds, _deadline.get()
    token = _deadline.set(ours if outer is None else min(ours, outer))
    try:
        yield
    finally:
        _deadline.reset(token)


def deadline_of_call(timeout: float | None) -> float | None:
    """When a call made now is given up (`time.monotonic()`): after `timeout` seconds, at the deadline of the block,

    or at that of the call that this code serves, whichever is first. Raises `DeadlineExceeded` if that was before now.
    """
    now = time.monotonic()
    limits = [None if timeout is None else now + timeout, _deadline.get()]
    with suppress(NoContextError):
        limits.append(current_context().deadline)
    first = min((limit for limit in limits if limit is not None), default=None)
    if first is not None and first <= now:
        raise DeadlineExceeded
    return first


def milliseconds_until(deadline: float) -> int:
    """What is left, for the header; not below 1."""
    return max(1, math.ceil((deadline - time.monotonic()) * 1000))
