"""What the code of a call may ask: who calls, what they keep, how long they will wait."""

import asyncio
import time
import uuid
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Final

from starlette.types import Message, Receive, Scope

from .body import Receiver
from .errors import DeadlineExceeded, NoContextError, Unauthenticated
from .sessions import Session, SessionProvider
from .users import Identity, User

SCOPE_KEY: Final = "fastapi_poto"
"""Where the ASGI scope of a call has its `CallContext`."""

_current: ContextVar["CallContext | None"] = ContextVar("fastapi_poto.call", default=None)


def current_context() -> "CallContext":
    """The call in progress; right in generators, threads and tasks that the call started.

    Raises `NoContextError` outside a call.
    """
    context = _current.get()
    if context is None:
        raise NoContextError("No call is in progress here: current_context() works in code that a call runs.")
    return context


def enter(context: "CallContext | None") -> None:
    """Make `context` the current one. Every call does so at its entry, whoever calls.

    A server may hand a request the contextvars of its predecessor on the same connection
    (python/cpython#140947, encode/uvicorn#3158): only an unconditional set shuts that door.
    """
    _current.set(context)


class CallContext:
    """One call. `user` is None for a caller without credentials."""

    __slots__ = (
        "__weakref__", "_gone", "_headers", "_loop", "_on_gone", "_receive", "_request_id", "_session", "_watcher",
        "body", "cancelled", "deadline", "failure", "has_begun", "identity", "is_admitted", "is_streaming", "operation",
        "response_headers", "scope", "sessions", "ticket", "time_limit", "user",
    )  # fmt: skip

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
        self.user: User | None = None
        self.identity: Identity | None = None
        """The credentials behind `user`; None without credentials."""
        self.is_admitted = False
        """The guard has let this caller in."""
        self.deadline: float | None = None
        """`time.monotonic()` at which the caller stops waiting, if it said so."""
        self.time_limit: asyncio.Timeout | None = None
        """What ends the call at its deadline, until its response begins."""
        self.sessions = sessions
        """Where sessions are kept."""
        self.body: bytes | None = None
        """The request's body, where the call has read it: an exception handler may want it again."""
        self.response_headers: list[tuple[bytes, bytes]] = []
        """Headers that go out with this call's response, whatever it is."""
        self.has_begun = False
        """The status line has been sent."""
        self.is_streaming = False
        """The response is a stream, whose headers go out while its generator runs."""
        self.ticket: Any = None
        """The room that a resumable stream of this call takes among those of its user (see streaming)."""
        self.failure: BaseException | None = None
        """Why the response failed after its status line, if the client has been told and the log has it."""
        self.cancelled = False
        """The client has gone, as far as is known; `is_request_cancelled()` also starts to look."""
        self._receive = receive
        if receive is not None:
            self._loop = asyncio.get_running_loop()
        self._headers: dict[bytes, bytes] | None = None
        self._session: Session | None = None
        self._request_id: str | None = None
        self._gone: asyncio.Event | None = None
        self._on_gone: Callable[[], object] | None = None
        self._watcher: asyncio.Task[None] | None = None

    def need_user(self) -> User:
        """Who calls. Raises `Unauthenticated` for a caller without credentials."""
        if self.user is None:
            raise Unauthenticated
        return self.user

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The request's headers; the last one of several with one name."""
        known = self._headers
        if known is None:
            known = self._headers = dict(self.scope["headers"])
        return known

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
        known = self._request_id
        if known is None:
            sent = self.headers.get(b"x-request-id", b"")
            valid = 0 < len(sent) <= 128 and all(33 <= byte <= 126 for byte in sent)
            known = self._request_id = sent.decode("ascii") if valid else uuid.uuid4().hex
        return known

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
        self._lift_time_limit()

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
        if not self.cancelled and self._watcher is None and self._receive is not None and not self.is_streaming:
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
        if self._watcher is None and self._receive is not None and not self.cancelled and not self.is_streaming:
            # In an empty context: a task must not keep this call's user alive.
            self._watcher = asyncio.get_running_loop().create_task(self._wait_for_disconnect(), context=Context())

    def begin_stream(self) -> None:
        """Leave the watch and the deadline to a stream, which has its own."""
        self.is_streaming = True
        self._lift_time_limit()
        self.close()

    def close(self) -> None:
        """End the watch; at the end of every call."""
        self._on_gone = None
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

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
            self._loop.call_soon_threadsafe(self.watch)
        else:
            self.watch()
