"""What every request goes through: context, caller, guard, limits, the work itself, failure, leaving."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from . import telemetry
from ._compat.fastapi import tell_exception
from ._compat.servers import cut_off
from ._compat.starlette import exception_handler, handled
from .body import check_length
from .context import SCOPE_KEY, CallContext, enter
from .deadline import DEADLINE_HEADER, parse_deadline
from .error_bodies import error_response
from .errors import BadRequest, DeadlineExceeded, InternalError, PotoError, RequestTimeout
from .telemetry import Observation, attributes_of

log = logging.getLogger("fastapi_poto")

CLIENT_CLOSED: int = 499
"""What a client that has left is answered: nobody reads it, but middleware and access logs want a status."""
_OF_A_DOWNLOAD = (b"content-length", b"content-disposition")
"""What `describe_download` said of a response that became an error."""

Work = Callable[[CallContext, Receive, Send], Awaitable[None]]


class Runtime(Protocol):
    """What a pipeline needs of `Poto`."""

    @property
    def is_open(self) -> bool: ...
    @property
    def sessions(self) -> Any: ...
    async def open_for_call(self) -> None: ...


class Pipeline:
    """One operation's way from the request to the response, whoever routed the request and whatever does the work."""

    def __init__(self, runtime: Runtime, name: str, max_body_size: int) -> None:
        """`name` is the operation's, `Module.method`."""
        self.runtime = runtime
        self.name = name
        self.limit_bodies(max_body_size)
        self._attributes = attributes_of(name)

    def limit_bodies(self, most: int) -> None:
        """Take no bodies of more bytes."""
        self.max_body_size = most
        self._digits = len(str(most))

    def authenticate(self, scope: Scope) -> Awaitable[Any]:
        """The `Identity` behind a request; None without credentials. Raises what its caller is told."""
        raise NotImplementedError

    def check_guard(self, context: CallContext) -> None:
        """Raise `Unauthenticated` or `Forbidden` if this caller may not go on."""

    async def serve(self, work: Work, scope: Scope, receive: Receive, send: Send, *, authenticate: bool = True) -> None:
        """Serve one request. `work` takes it from where the caller is known, and sends the response.

        `authenticate=False` leaves the caller, and the guard, to the work.
        """
        runtime = self.runtime
        context = CallContext(self.name, scope, receive, runtime.sessions)
        context.runtime = runtime
        # Whoever calls: a server may hand a request the context variables of the one before it.
        enter(context)
        scope[SCOPE_KEY] = context
        context.say_id()
        try:
            if not runtime.is_open:
                await runtime.open_for_call()
            if telemetry.is_set_up or "fastapi.telemetry" in scope:
                context.observation = Observation(self._attributes)
            if authenticate:
                # Before anything of the body is read.
                identity = await self.authenticate(scope)
                if identity is not None:
                    context.identity = identity
                    context.user = identity.user
                self.check_guard(context)
                context.is_admitted = True
            headers = context.headers
            if len(headers) != len(scope["headers"]):
                _check_repeated(scope)
            announced = headers.get(b"content-length")
            if announced is not None and len(announced) >= self._digits:
                check_length(announced, self.max_body_size)
            deadline = headers.get(DEADLINE_HEADER)
            if deadline is None:
                await work(context, receive, send)
            else:
                context.deadline = parse_deadline(deadline)
                await _in_time(context, work, receive, send)
        except Exception as error:
            await self._fail(error, context, receive, send)
        else:
            del scope[SCOPE_KEY]  # the two refer to each other, and would be left to the garbage collector
        finally:
            if context.observation is not None or context.ticket is not None or context.watcher is not None:
                await _leave(context)
            enter(None)

    async def _fail(self, error: Exception, context: CallContext, receive: Receive, send: Send) -> None:
        """Answer with what the application's own exception handlers make of the error."""
        scope = context.scope
        if context.has_begun:
            known = {id(error), id(error.__cause__)}  # FastAPI wraps what comes after the status line
            if context.failure is not None and id(context.failure) in known:
                # The client has been told, and the log: it was raised for the dependencies to see it.
                error.__traceback__ = None
                return
            told = error if isinstance(error, PotoError) else error.__cause__
            if isinstance(told, PotoError):
                log.info("%s was cut off in request %s: %s", self.name, context.request_id, told.code)
                raise cut_off() from None
            raise error
        send = with_headers(context, send)
        if context.observation is not None:
            context.observation.failed(error)
        if isinstance(error, ClientDisconnect):
            await _send_to_nobody(send)
            return
        handler = exception_handler(scope, error)
        if handler is not None:
            response = await handled(handler, error, scope, context.receive_again())
            if response is not None:
                await response(scope, receive, send)
            error.__traceback__ = None  # some errors are raised again and again, and would hold every call of theirs
            return
        if _has_general_handler(scope):
            raise error
        if context.observation is not None and not tell_exception(scope, error):
            context.observation.record(error)  # the span may end with the answer
        # No error of its own: the server logs what is raised below, and error trackers make one event of that.
        log.warning("%s failed in request %s: %s", self.name, context.request_id, type(error).__name__)
        # The server closes the connection on what is raised below: say so, or the next call on it is cut off.
        answer = InternalError(headers=closing(scope))
        await error_response(answer)(scope, receive, send)
        raise error  # the server logs the traceback; the client has its answer


class ObservedRoute(APIRoute):
    """What FastAPI solves: its own wrapper answers the errors of dependencies and methods, so they are told here."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return partial(_observed, super().get_route_handler())


async def _observed(handler: Callable[[Request], Coroutine[Any, Any, Response]], request: Request) -> Response:
    try:
        return await handler(request)
    except Exception as error:
        if (observation := request.scope[SCOPE_KEY].observation) is not None:
            observation.failed(error)
        raise


async def _leave(context: CallContext) -> None:
    if context.observation is not None:
        context.observation.end()
    if context.ticket is not None:  # of a stream that never began
        await context.ticket.taken.aclose()
    context.close()


async def _in_time(context: CallContext, work: Work, receive: Receive, send: Send) -> None:
    """Do the work until the caller's deadline, or until its response begins."""
    context.check_deadline()
    limit = context.time_limit = asyncio.timeout(context.remaining)
    try:
        async with limit:
            await work(context, receive, send)
    except TimeoutError:
        if limit.expired():
            raise DeadlineExceeded from None
        raise
    finally:
        context.time_limit = None


def with_headers(context: CallContext, send: Send) -> Send:
    """A `send` that adds the call's own headers to whatever response begins."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start" and not context.has_begun:
            context.begin_response()
            headers = context.headers_beside(message.get("headers", ()))
            if message["status"] >= 400:
                headers = [header for header in headers if header[0] not in _OF_A_DOWNLOAD]
            if message["status"] == RequestTimeout.status and closing(context.scope):
                headers = [*headers, (b"connection", b"close")]  # what else comes of the body is no next request
            headers = [*message.get("headers", ()), *headers]
            message = {**message, "headers": headers + context.private_headers(headers)}
        await send(message)

    return send_with_headers


def closing(scope: Scope) -> dict[str, str]:
    """The header of a response after which the connection is closed; HTTP/2 has none."""
    return {"connection": "close"} if scope.get("http_version", "1.1").startswith("1") else {}


async def _send_to_nobody(send: Send) -> None:
    """Complete the response of a client that has left: middleware takes a call without one for a failure."""
    try:
        await send({"type": "http.response.start", "status": CLIENT_CLOSED, "headers": []})
        await send({"type": "http.response.body", "body": b""})
    except OSError:  # how ASGI 2.4 says that nobody is there
        pass


def _check_repeated(scope: Scope) -> None:
    if sum(name == DEADLINE_HEADER for name, _ in scope["headers"]) > 1:
        raise BadRequest("More than one Poto-Timeout-Ms header")


def _has_general_handler(scope: Scope) -> bool:
    """Whether the application answers unexpected errors itself."""
    app = scope.get("app")
    handlers = getattr(app, "exception_handlers", {})
    return bool(getattr(app, "debug", False)) or Exception in handlers or 500 in handlers
