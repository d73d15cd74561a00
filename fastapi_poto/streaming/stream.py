"""One answer that goes on: from the status line to how it ended, whoever ends it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from math import inf
from time import monotonic
from typing import Any

from anyio import CancelScope
from fastapi.utils import is_body_allowed_for_status_code
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from .._compat.starlette import handled, is_default, own_handler
from ..context import VARY, CallContext
from ..errors import DeadlineExceeded, InternalError, PotoError, ShuttingDown, Unauthenticated
from ..telemetry import how_it_ended
from .frames import is_told
from .hub import Hub, hub_of
from .pump import GATHER, LARGE, pump_of
from .stream_options import StreamOptions

log = logging.getLogger("fastapi_poto")

_WATCH_AFTER = 0.01
"""Seconds after which a stream is watched and timed: most short ones have ended by then."""
_SHUTDOWN_SEND_TIMEOUT = 1.0
_CHECK_INTERVAL = 15.0


class _ClientGone(Exception):
    """Nobody is there to be sent anything."""


class Stream:
    """Sends what a pump makes. What it looks like on the wire is said by the classes that use this one.

    The request's task sends; the generator has a task of its own (see `pump`), and so has the watch for the client's
    leaving, unless the stream has ended before anybody could leave. Nothing else runs per stream: keep-alives, timeouts
    and deadlines are visits of the loop's one timer. A short stream ends before its first visit.
    """

    keep_alive = b""
    resumable = False
    """Whether its client may come back for what it has not read."""
    status_code = 200
    raw_headers: list[tuple[bytes, bytes]]
    background: BackgroundTask | None = None

    _task: "asyncio.Task[Any] | None" = None
    _watcher: "asyncio.Task[None] | None" = None
    _check: "asyncio.Task[None] | None" = None
    _interruption: PotoError | None = None
    _reported: BaseException | None = None
    _gone = False
    _is_over = False
    _gave_up = False
    _started = False
    _ping_due = False
    _sending_since = 0.0

    def __init__(
        self,
        items: Any,
        *,
        context: CallContext,
        frame: Callable[[Any], bytes],
        options: StreamOptions,
        is_active: Callable[[], Awaitable[bool]] | None = None,
        limit: int | None = None,
    ) -> None:
        self.context = context
        self.options = options
        self._observation = context.observation
        if self._observation is not None:
            frame = self._observation.counting(frame)
        self._pump = pump_of(items, frame, limit=limit or options.buffer_bytes, context=copy_context())
        self._is_active = is_active
        self._first_over = options.first_item_timeout <= 0
        self._send_timeout = options.send_timeout

    def prepare(self) -> None:
        """What has to be done before the generator runs."""

    # What the wire looks like

    def head(self) -> bytes:
        """What goes before the first frame."""
        return b""

    def tail(self, error: BaseException | None, shaped: bytes | None = None) -> bytes:
        """What goes after the last frame. Raises the error if there is no way to say that the stream failed.

        `shaped` is the JSON that the application's own exception handler makes of the error, if it has one.
        """
        raise NotImplementedError

    # Serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context, pump = self.context, self._pump
        context.begin_stream()
        self.prepare()
        loop = pump.start()
        try:
            await asyncio.sleep(0)  # what is ready is made now
            if not pump.ended or pump.size >= LARGE:  # else all of it goes out in one write, as any response
                self._enter_hub(hub_of(loop), loop)
            await self._serve(send)
        except asyncio.CancelledError:
            if not self._gave_up or self._task is None:
                raise
            self._task.uncancel()
        except _ClientGone:
            self._leave()
        finally:
            self._is_over = True
            if self._task is not None:
                self._leave_hub(hub_of(loop))
            if self.resumable or not pump.is_done:
                await self._close()
            self._let_go()
            self._observe_end("cut" if self._gave_up else "left")
        if self._gone:
            await self._end_unheard(send)
        if context.failure is not None:
            raise context.failure  # the client knows: now the dependencies learn that it was no success
        if self.background is not None:
            await self.background()

    async def _serve(self, send: Send) -> None:
        pump = self._pump
        # The status line waits for the first item, but not for ever.
        while not (pump.chunks or pump.ended or self._first_over or self._interruption):
            await self._wait()
        if not pump.chunks and (early := self._error()) is not None:
            self._reported = early
            self._observe_end(how_it_ended(early))
            raise early
        self._ping_due = not pump.chunks and not pump.ended
        start = self._begin()
        await self._send(send, start)
        if not is_body_allowed_for_status_code(start["status"]):  # 204 tells an EventSource not to come back
            await self._end(send, None)
            return
        data = self.head()
        while pump.chunks or not (pump.ended or self._interruption):
            if pump.chunks:
                if len(pump.chunks) == 1 and not pump.ended and monotonic() - self._sent_at < GATHER:
                    await pump.gather()
                data += pump.take()
                if pump.ended and not pump.chunks and not self._interruption:
                    break  # the end goes out with it
            elif self._ping_due:
                # Empty where bytes are silent: middleware that waits for a first chunk lets go of the headers.
                data += self.keep_alive
            else:
                await self._wait()
                continue
            self._ping_due = False
            await self._send(send, {"type": "http.response.body", "body": data, "more_body": True})
            data = b""
        await self._end(send, data)

    async def _end_unheard(self, send: Send) -> None:
        if not self._started:
            raise ClientDisconnect
        if self.context.observation is not None and not self._gave_up:
            # Who traces the request takes a response without an end for a failure.
            with suppress(OSError):
                await send({"type": "http.response.body", "body": b""})

    async def _end(self, send: Send, data: bytes | None) -> None:
        """Send what is left, and how it ended; None: what has no body has no end in it either."""
        if isinstance(self._interruption, ShuttingDown):
            await self._pump.closed(_SHUTDOWN_SEND_TIMEOUT)  # a server may end with its last response
        error = self._reported = self._error()
        shaped = None if error is None else await self._shape(error)
        failure = error.__cause__ or error if isinstance(error, InternalError) else error
        self._observe_end(how_it_ended(error), failure)
        body = b"" if data is None else data + self.tail(error, shaped)
        last = {"type": "http.response.body", "body": body}
        if error is not None and shaped is None and not is_told(error):
            self._log(error)
        self.context.failure = failure
        self._is_over = True  # servers tell the end of the response as a disconnect, too
        await self._send(send, last)

    async def _shape(self, error: BaseException) -> bytes | None:
        """The JSON that the application's own exception handler makes of an error; None without one."""
        handler = own_handler(self.context.scope, error)
        if handler is None or is_default(handler) or not isinstance(error, Exception):
            return None
        try:
            response = await handled(handler, error, self.context.scope, self.context.receive_again())
        except Exception:
            log.exception("%s: the exception handler for %s failed", self.context.operation, type(error).__name__)
            return None
        body = getattr(response, "body", None)
        is_json = response is not None and "json" in response.headers.get("content-type", "")
        return bytes(body) if body and is_json else None

    def _observe_end(self, how: str, error: BaseException | None = None) -> None:
        observation, self._observation = self._observation, None
        if observation is not None:
            observation.stream_ended(how, error)

    async def _wait(self) -> None:
        self._check_client()
        await self._pump.wait()
        self._check_client()

    def _check_client(self) -> None:
        if self._gone:
            raise _ClientGone

    def _error(self) -> BaseException | None:
        """Why the stream ends, if not well."""
        return self._interruption or self._pump.error

    def _begin(self) -> Message:
        context = self.context
        chosen = None if context.response is None else context.response.status_code
        if self._pump.chunks and not is_body_allowed_for_status_code(chosen):
            raise RuntimeError(f"{context.operation} set the status {chosen}, which has no body, and gave an item")
        headers = [*self.raw_headers, *context.response_headers]
        if context.user is not None:
            headers.append(VARY)
        context.begin_response()
        self._started = True
        return {"type": "http.response.start", "status": chosen or self.status_code, "headers": headers}

    async def _send(self, send: Send, message: Message) -> None:
        self._check_client()
        self._sending_since = self._sent_at = monotonic()
        try:
            await send(message)
        except OSError as error:  # how ASGI 2.4 says it
            raise _ClientGone from error
        finally:
            self._sending_since = 0.0

    async def _close(self) -> None:
        """Return when the generator has been closed: only then may what it depends on be torn down."""
        pump = self._pump
        if not pump.ended:
            pump.stop()
        with CancelScope(shield=True):
            await pump.closed(self.options.cleanup_timeout)
        if not pump.is_done:
            log.warning(
                "%s did not end within %s s after its client had left (request %s)",
                self.context.operation,
                self.options.cleanup_timeout,
                self.context.request_id,
            )

    def _let_go(self) -> None:
        error = self._pump.error
        if error is not None and error is not self._reported and not is_told(error):
            self._log(error)  # it failed when it was closed, or when its client left
        # What refers back to the call, or has its frames in a traceback, would be left to the garbage collector.
        self._pump.error = self._interruption = self._reported = self.context.emit = None

    # Ends that others bring about

    def _start_watch(self) -> None:
        # In an empty context: where the server reads on in the caller's, the next request would inherit it.
        self._watcher = asyncio.get_running_loop().create_task(self._watch(), context=Context())

    async def _watch(self) -> None:
        try:
            await self.context.disconnected()
        finally:
            if not self._is_over:
                self._leave()

    def _leave(self) -> None:
        """The client has gone."""
        self._gone = True
        self.tell_gone()
        if not self._pump.ended:
            self._pump.stop()
        self._pump.wake()

    def tell_gone(self) -> None:
        """Let the generator's code know."""
        self.context.mark_cancelled()

    def interrupt(self, error: PotoError) -> None:
        """Close the generator, and end with this error."""
        if self._interruption is None and not self._gone and not self._pump.ended:
            self._interruption = error
            self._pump.stop()
            self._pump.wake()

    def on_shutdown(self) -> None:
        self._send_timeout = min(self._send_timeout, _SHUTDOWN_SEND_TIMEOUT)
        self.interrupt(ShuttingDown())

    # Visits of the loop's timer

    def _enter_hub(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self._task = asyncio.current_task(loop)
        now = self._sent_at = monotonic()
        options, deadline = self.options, self.context.deadline
        self._first_until = inf if self._first_over else now + options.first_item_timeout
        self._deadline = inf if deadline is None else deadline
        self._check_every = options.recheck_interval or options.ping_interval or _CHECK_INTERVAL
        self._check_at = inf if self._is_active is None else now + self._check_every
        if self.resumable:  # what is sent to nobody would count as read
            self._start_watch()
        hub.add(self, now + _WATCH_AFTER)

    def _leave_hub(self, hub: Hub) -> None:
        hub.discard(self)
        for task in (self._watcher, self._check):
            if task is not None:
                task.cancel()
        self._task = None

    def on_time(self, now: float) -> float:
        if self._watcher is None:
            self._start_watch()
        due = now + min(self.options.ping_interval or inf, self._send_timeout)
        if not self._started and not self._first_over:
            if now >= self._first_until:
                self._first_over = True
                self._pump.wake()
            else:
                due = min(due, self._first_until)
        if self._sending_since:
            until = self._sending_since + self._send_timeout
            if now >= until:
                self._give_up()
                return inf
            due = min(due, until)
        elif self.options.ping_interval:
            ping_at = self._sent_at + self.options.ping_interval
            if now >= ping_at:
                self._ping_due = True
                self._pump.wake()
            else:
                due = min(due, ping_at)
        if now >= self._deadline:
            self._deadline = inf
            self.interrupt(DeadlineExceeded())
        if now >= self._check_at:
            self._check_at = now + self._check_every
            self._start_check()
        return min(due, self._deadline, self._check_at)

    def _give_up(self) -> None:
        """The client does not read: what waits in `send` is cancelled."""
        log.warning(
            "%s: the client did not read for %s s (request %s)",
            self.context.operation,
            self._send_timeout,
            self.context.request_id,
        )
        self._gave_up = True
        self._leave()
        if self._task is not None:
            self._task.cancel()

    def _start_check(self) -> None:
        if self._check is None or self._check.done():
            self._check = asyncio.get_running_loop().create_task(self._check_active(), context=Context())

    async def _check_active(self) -> None:
        try:
            valid = self._is_active is None or await self._is_active()
        except Exception as error:
            # A store that is away for a moment must not end every stream: the next visit asks again.
            log.warning("%s: the caller could not be checked: %s", self.context.operation, error)
        else:
            if not valid:
                self.interrupt(Unauthenticated())

    def _log(self, error: BaseException) -> None:
        log.error("%s failed in request %s", self.context.operation, self.context.request_id, exc_info=error)
