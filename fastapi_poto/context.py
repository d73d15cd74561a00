"""What the code of a call may ask: who calls, what they keep, how long they will wait."""

import asyncio
import os
import re
import sys
import time
from binascii import hexlify
from collections.abc import Callable, Iterable
from contextvars import Context, ContextVar
from random import Random
from typing import Any, Final, cast

from starlette.responses import Response
from starlette.types import Message, Receive, Scope

from .body import Receiver
from .errors import DeadlineExceeded, NoContextError, Unauthenticated
from .sessions import Session, SessionProvider
from .telemetry import Observation
from .users import Identity, User

SCOPE_KEY: Final = "fastapi_poto"
"""Where the ASGI scope of a call has its `CallContext`."""

VARY: Final = (b"vary", b"Authorization, Cookie, X-API-Key")
PRIVATE: Final = [(b"cache-control", b"private, no-store"), VARY]
"""Headers of what was made for one caller, unless the method says otherwise."""

_ID_HEADER: Final = b"x-request-id"
_REQUEST_ID: Final = re.compile(rb"[!-~]{1,128}")
_new_ids = Random()  # noqa: S311 # they are to differ, not to be secret
os.register_at_fork(after_in_child=_new_ids.seed)

_current: ContextVar["CallContext | None"] = ContextVar("fastapi_poto.call", default=None)


def current_context() -> "CallContext":
    """The call in progress; right in generators, threads and tasks that the call started.

    Raises `NoContextError` outside a call.
    """
    context = _current.get()
    if context is None:
        raise NoContextError("No call is in progress here: current_context() works in code that a call runs.")
    return context


enter = _current.set
"""Make a context the current one, or None. Every call does so at its entry, whoever calls.

A server may hand a request the contextvars of its predecessor on the same connection (python/cpython#140947,
encode/uvicorn#3158): only an unconditional set keeps the one from the other.
"""


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """The headers of a request, read once where it is a call; the last one of several with one name."""
    context: CallContext | None = scope.get(SCOPE_KEY)
    return dict(scope["headers"]) if context is None else context.headers


class CallContext:
    """One call. `user` is None for a caller without credentials."""

    __slots__ = (
        "__weakref__", "_gone", "_loop", "_on_gone", "_receive", "_request_id", "_session",
        "body", "cancelled", "deadline", "emit", "failure", "has_begun", "headers", "identity", "is_admitted",
        "is_streaming", "observation", "operation", "response", "response_headers", "runtime", "scope", "sessions",
        "ticket", "time_limit", "user", "watcher",
    )  # fmt: skip

    user: User | None
    identity: Identity | None
    """The credentials behind `user`; None without credentials."""
    is_admitted: bool
    """The guard has let this caller in."""
    deadline: float | None
    """`time.monotonic()` at which the caller stops waiting, if it said so."""
    time_limit: asyncio.Timeout | None
    """What ends the call at its deadline, until its response begins."""
    body: bytes | None
    """The request's body, where the call has read it: an exception handler may want it again."""
    has_begun: bool
    """The status line has been sent."""
    is_streaming: bool
    """The response is a stream, whose headers go out while its generator runs."""
    runtime: Any
    """The `Poto` that serves this call."""
    emit: Callable[[bytes], None] | None
    """Sends a frame between the items of the events that this call is."""
    response: Response | None
    """What FastAPI gave the method to set a status and headers on, where it gave it one."""
    ticket: Any
    """The room that a resumable stream of this call takes among those of its user (see streaming)."""
    failure: BaseException | None
    """Why the response failed after its status line, if the client has been told and the log has it."""
    observation: Observation | None
    """What telemetry is told of this call; None if nobody wants to know."""
    cancelled: bool
    """The client has gone, as far as is known; `is_request_cancelled()` also starts to look."""

    def __init__(
        self,
        operation: str,
        scope: Scope,
        receive: Receive | None = None,
        sessions: SessionProvider | None = None,
    ) -> None:
        self.operation = operation
        """`Module.method` of the class that is mounted."""
        self.scope = scope
        """The ASGI scope; state that is this call's alone."""
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        """The request's headers; the last one of several with one name."""
        self.sessions = sessions
        """Where sessions are kept."""
        self.response_headers: list[tuple[bytes, bytes]] = []
        """Headers that go out with this call's response, whatever it is."""
        self.user = self.identity = self.deadline = self.time_limit = self.body = self.emit = self.failure = None
        self.runtime = self.ticket = self.observation = self.response = None
        self.is_admitted = self.has_begun = self.is_streaming = self.cancelled = False
        self._session: Session | None = None
        self._request_id: bytes | None = None
        self._gone: asyncio.Event | None = None
        self._on_gone: Callable[[], object] | None = None
        self.watcher: asyncio.Task[None] | None = None
        """Waits for the disconnect, while somebody wants to know of it."""
        self._receive = receive
        self._loop = None if receive is None else asyncio.get_running_loop()

    def need_user(self) -> User:
        """Who calls. Raises `Unauthenticated` for a caller without credentials."""
        if self.user is None:
            raise Unauthenticated
        return self.user

    @property
    def session(self) -> Session[Any]:
        """What this user keeps between calls. Raises `Unauthenticated` for a caller without credentials."""
        session = self._session
        if session is None:
            if self.user is None or self.sessions is None:
                raise Unauthenticated
            session = self._session = self.sessions.handle(self)
        return session

    @property
    def request_id(self) -> str:
        """The `X-Request-ID` that came, if it is one (1 to 128 visible ASCII characters), else a new one."""
        return (self._request_id or self._find_id()).decode("ascii")

    def _find_id(self) -> bytes:
        sent = self.headers.get(_ID_HEADER)
        if sent is None or not _REQUEST_ID.fullmatch(sent):
            sent = hexlify(_new_ids.getrandbits(64).to_bytes(8, "big"))
        self._request_id = sent
        return sent

    @property
    def remaining(self) -> float | None:
        """Seconds until the caller's deadline, not below 0; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def check_deadline(self) -> None:
        """Raise `DeadlineExceeded` if the caller no longer waits."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise DeadlineExceeded

    def begin_response(self) -> None:
        """Note that the status line goes out: what has begun is not answered anew."""
        self.has_begun = True
        if self.time_limit is not None:
            self._lift_time_limit()

    def say_id(self) -> None:
        """Have the response say which request it answers, unless a middleware will."""
        middleware = sys.modules.get("asgi_correlation_id")
        if middleware is None or middleware.correlation_id.get() != self.request_id:
            self.response_headers.append((_ID_HEADER, self._request_id or self._find_id()))

    def headers_beside(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The call's own headers for a response that has these: it may have an `X-Request-ID` already."""
        own = self.response_headers
        if any(name == _ID_HEADER for name, _ in headers):
            own = [header for header in own if header[0] != _ID_HEADER]
        return own

    def private_headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """What a response with these headers needs more, so that no cache gives one caller's to another."""
        if self.user is None:
            return []
        for name, _ in headers:
            if name == b"cache-control":
                return []
        return PRIVATE

    # Disconnects. A stream has a watcher of its own and tells it here; a plain call starts one when it asks.

    def receive_again(self) -> Receive:
        """A `receive` that gives the body that the call has read; the request's own where it has read none."""
        body = b"" if self.body is None and self.is_streaming else self.body  # a stream watches for the disconnect

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        return self._receive if body is None and self._receive is not None else again

    def receive_with(self, receiver: Receiver) -> None:
        """Watch through what the code of the call reads its body with: two readers would lose parts of it."""
        self._receive = receiver

    async def disconnected(self) -> None:
        """Return when the client has gone. For one caller at a time; others use `wait_cancelled`."""
        receive = self._receive
        if isinstance(receive, Receiver):
            await receive.until_disconnect()
        elif receive is not None:
            while (await receive())["type"] != "http.disconnect":
                pass

    def is_request_cancelled(self) -> bool:
        """Whether the client has gone. The first question starts the watch; it may be asked from a thread."""
        if not self.cancelled and self.watcher is None and self._receive is not None and not self.is_streaming:
            self._watch_from_anywhere()
        return self.cancelled

    async def wait_cancelled(self) -> None:
        """Return when the client has gone."""
        if self._gone is None:
            self._gone = asyncio.Event()
        self.watch()
        if not self.cancelled:
            await self._gone.wait()

    def mark_cancelled(self) -> None:
        """Note, on the event loop, that the client has gone."""
        self.cancelled = True
        if self._gone is not None:
            self._gone.set()
        if self._on_gone is not None:
            self._on_gone()

    def watch(self, on_gone: Callable[[], object] | None = None) -> None:
        """Start to wait for the disconnect, if nobody does so yet."""
        if on_gone is not None:
            self._on_gone = on_gone
        if self.watcher is None and self._receive is not None and not self.cancelled and not self.is_streaming:
            # In an empty context: a task must not keep this call's user alive.
            self.watcher = asyncio.get_running_loop().create_task(self._wait_for_disconnect(), context=Context())

    def begin_stream(self) -> None:
        """Leave the watch and the deadline to a stream, which has its own."""
        self.is_streaming = True
        self._lift_time_limit()
        self.close()

    def close(self) -> None:
        """End the watch; at the end of every call."""
        self._on_gone = None
        if self.watcher is not None:
            self.watcher.cancel()
            self.watcher = None

    def _lift_time_limit(self) -> None:
        if self.time_limit is not None:
            self.time_limit.reschedule(None)
            self.time_limit = None

    async def _wait_for_disconnect(self) -> None:
        await self.disconnected()
        self.mark_cancelled()

    def _watch_from_anywhere(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            cast("asyncio.AbstractEventLoop", self._loop).call_soon_threadsafe(self.watch)
        else:
            self.watch()
