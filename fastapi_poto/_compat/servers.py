"""What is read of servers without being published: that they have been told to stop, their workers, a cut in their log.

ASGI tells an application that its server stops only when all responses have ended, for which open streams never would.
"""

import asyncio
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, cast
from weakref import ref

IsStopping = Callable[[], bool]

_SERVER: Final = r"\b(uvicorn|hypercorn|gunicorn|granian|fastapi)\b"
_WORKERS: Final = r"(?:^| )(?:--workers|-w)[ =]?(\d+)\b"


def workers(environment: Mapping[str, str] = os.environ, command: Sequence[str] = sys.argv) -> int:
    """How many processes the environment, and the command line of a server, say that there are; 1 if they do not."""
    sent = [environment.get(name, "") for name in ("WEB_CONCURRENCY", "UVICORN_WORKERS")]
    if re.search(_SERVER, "".join(command[:1])):
        sent += re.findall(_WORKERS, " ".join(command[1:]))
    return max((int(value) for value in sent if value.isdigit()), default=1)


def stop_sign(loop: asyncio.AbstractEventLoop) -> IsStopping:
    """Says whether the server that runs a loop has been told to stop.

    Uvicorn and hypercorn are found as the coroutines that run the loop; any other (granian, gunicorn's ASGI worker)
    is told by SIGTERM, whose handler here goes before its own.
    """
    for coroutine_name, variables in _running(loop):
        server = variables.get("self")
        if coroutine_name == "serve" and hasattr(server, "should_exit"):
            return _attribute(server, "should_exit")
        terminated = getattr(variables.get("context"), "terminated", None)
        if coroutine_name == "worker_serve" and terminated is not None:
            return cast("IsStopping", terminated.is_set)
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if hasattr(server, "should_exit"):  # a server in the main thread, while this loop runs in another
        return _attribute(server, "should_exit")
    return _sigterm_came() if threading.current_thread() is threading.main_thread() else bool


def _attribute(server: Any, name: str) -> IsStopping:
    known = ref(server)
    return lambda: bool(getattr(known(), name, False))


def _running(loop: asyncio.AbstractEventLoop) -> Iterator[tuple[str, dict[str, Any]]]:
    """The outer coroutines of a loop's tasks: their names and variables."""
    for task in asyncio.all_tasks(loop):
        coroutine: Any = task.get_coro()
        for _ in range(8):
            frame = getattr(coroutine, "cr_frame", None)
            if frame is None:
                break
            if coroutine.__name__ in ("serve", "worker_serve"):
                yield coroutine.__name__, frame.f_locals
            coroutine = coroutine.cr_await


@cache
def _sigterm_came() -> IsStopping:
    came = threading.Event()
    before = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: Any) -> None:
        came.set()
        if callable(before):  # an event loop's own is told beside this one, through its file descriptor
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, before)
            signal.raise_signal(number)

    if before is not None:  # None: not set from Python, and not to be chained
        signal.signal(signal.SIGTERM, handle)
        signal.siginterrupt(signal.SIGTERM, False)
    return came.is_set


class CutOffError(Exception):
    """A response was cut off on purpose. Raised into the server, which then closes the connection."""


class _WithoutCuts(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        in_text = record.exc_info is None and CutOffError.__name__ in str(record.msg)  # granian formats it itself
        return not in_text and (record.exc_info is None or not isinstance(record.exc_info[1], CutOffError))


@cache
def _filter_logs() -> None:
    for name in ("uvicorn.error", "hypercorn.error", "gunicorn.error", "_granian"):
        logger = logging.getLogger(name)
        for one in (logger, *logger.handlers):  # what comes up from loggers below passes the handlers alone
            one.addFilter(_WithoutCuts())


def cut_off() -> CutOffError:
    """What is raised into the server to cut a response off. The server logs it as an error, which it is not."""
    _filter_logs()
    return CutOffError("The response was cut off; the log says why")
