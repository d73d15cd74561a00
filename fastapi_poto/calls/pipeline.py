"""The corridor that every call walks: authenticate, bind, open the context, run, answer."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from anyio import CapacityLimiter, to_thread
from starlette._exception_handler import wrap_app_handling_exceptions
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from ..body import check_content_type, read_body
from ..context import CallContext, enter
from ..deadline import parse_deadline
from ..errors import DeadlineExceeded, Forbidden, insufficient
from ..operations import Operation, Parameter
from ..runtime import Poto
from ..streaming.resume import resume
from .arguments import INJECTED, Binder, Inject, Values, check_shapes
from .responses import activity_check, responder, stream_options

log = logging.getLogger("fastapi_poto")

_OF_A_DOWNLOAD = (b"content-length", b"content-disposition")
"""What `describe_download` said of an answer that became an error."""


class Pipeline:
    """One method, ready to be called. All that can be known before a request has been worked out here."""

    def __init__(self, operation: Operation, poto: Poto) -> None:
        self.operation = operation
        self.poto = poto
        self._authenticate = poto.authenticator.authenticate
        self._sessions = poto.sessions
        self.binder = Binder(operation)
        check_shapes(operation)
        self._injected = _injected(operation.parameters)
        self._injected_into_constructor = _injected(operation.constructor)
        self._is_made_by_init = operation.cls.__init__ is not object.__init__
        self._is_plain = not operation.in_thread and not operation.cancel_on_disconnect
        self._options = stream_options(operation, poto.settings, poto.store)
        self.respond = responder(operation, self._options, poto.authenticator.is_active)

    # The direct door: nothing of FastAPI's solver is needed.

    async def fast_path(self, scope: Scope, receive: Receive, send: Send, *, max_body_size: int) -> None:
        """Serve one call as an ASGI application inside FastAPI's routing."""
        context = self.open(scope, receive)
        try:
            await self.admit(context)
            binder = self.binder
            if binder.reads_body:
                values = binder.body(await read_body(scope, receive, max_body_size))
            elif binder.reads_query:
                values = binder.query(scope["query_string"])
            else:
                values = {}
            result = await self.run(context, values, {})
            if isinstance(result, Response):
                await result(scope, receive, with_headers(context, send))
            else:
                await self.respond(result, context, scope, receive, send)
        except Exception as error:
            await self.fail(error, context, scope, receive, send)
        finally:
            self.leave(context)

    def open(self, scope: Scope, receive: Receive) -> CallContext:
        """Make the call's context the current one, whoever calls."""
        context = CallContext(self.operation.where, scope, receive, self._sessions)
        enter(context)
        return context

    def leave(self, context: CallContext) -> None:
        context.close()
        enter(None)

    async def admit(self, context: CallContext, *, authenticate: bool = True) -> None:
        """Find out who calls, and for how long they will wait; let in whom the guard lets in."""
        scope = context.scope
        if not self.poto.is_open:
            await self.poto.open()
        if authenticate:
            identity = await self._authenticate(scope)
            if identity is not None:
                context.identity = identity
                context.user = identity.user
            self.check_guard(context)
        context.deadline = parse_deadline(scope["headers"])
        if context.deadline is not None:
            context.check_deadline()

    def check_guard(self, context: CallContext) -> None:
        """Raise `Unauthenticated` or `Forbidden` if this caller may not call this method."""
        guard, user = self.operation.guard, context.user
        if guard.public:
            return
        if user is None:
            raise self.poto.authenticator.refuse()
        if guard.roles and guard.roles.isdisjoint(user.roles):
            raise Forbidden(headers=insufficient())

    async def bind(self, request: Request) -> Values:
        """The wire parameters of a request that came through FastAPI's door."""
        binder = self.binder
        if binder.reads_query:
            return binder.query(request.scope["query_string"])
        if not binder.reads_body:
            return {}
        body = await request.body()
        if body:
            check_content_type(request.scope)
        return binder.body(body)

    # Running

    async def run(self, context: CallContext, values: Values, constructor: Values) -> Any:
        """Make the instance and call the method; what it returns, not yet encoded. Of a stream: its iterator."""
        operation = self.operation
        if self._options is not None:
            is_active = activity_check(context, self.poto.authenticator.is_active)
            resumed = await resume(context, self._options, is_active=is_active)
            if resumed is not None:
                return resumed
        for name, give, parameter in self._injected:
            values[name] = give(context, parameter)
        for name, give, parameter in self._injected_into_constructor:
            constructor[name] = give(context, parameter)
        instance = operation.cls.__new__(operation.cls)
        instance.__dict__["_poto_context"] = context  # a frozen dataclass, say, has a `__setattr__` of its own
        if self._is_made_by_init:
            instance.__init__(**constructor)  # type: ignore[misc]
        method = getattr(instance, operation.name)
        if context.deadline is not None:
            context.check_deadline()  # dependencies may have taken all of it
            return await _within(context, self._invoke(context, method, values))
        if self._is_plain:
            result = method(**values)
            return await result if inspect.isawaitable(result) else result
        return await self._invoke(context, method, values)

    async def _invoke(self, context: CallContext, method: Callable[..., Any], values: Values) -> Any:
        operation = self.operation
        if operation.cancel_on_disconnect:
            return await _until_gone(context, method, values, in_thread=operation.in_thread)
        if operation.in_thread:
            run = to_thread.run_sync if context.deadline is None else _in_thread_to_leave
            result = await run(lambda: method(**values))
        else:
            result = method(**values)
        return await result if inspect.isawaitable(result) else result

    # Failing

    async def fail(self, error: Exception, context: CallContext, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with what the application's own exception handlers make of the error."""
        if isinstance(error, ClientDisconnect):
            return
        if scope.get("poto.started"):
            raise error
        send = with_headers(context, send)

        async def again(scope: Scope, receive: Receive, send: Send) -> None:
            raise error

        request = Request(scope, receive)
        if "poto.body" in scope:
            request._body = scope["poto.body"]
        try:
            await wrap_app_handling_exceptions(again, request)(scope, receive, send)
        except Exception as unhandled:
            if unhandled is not error or _has_general_handler(scope):
                raise
            log.error("%s failed in request %s: %s", self.operation.where, context.request_id, type(error).__name__)
            answer = JSONResponse(
                {"detail": {"code": "internal_error", "message": "Internal Server Error"}},
                status_code=500,
                # The server closes the connection on what is raised below: say so, or the next call on it is cut off.
                headers={"x-request-id": context.request_id} | _closing(scope),
            )
            await answer(scope, receive, send)
            raise  # the server logs the traceback; the client has its answer


def _closing(scope: Scope) -> dict[str, str]:
    # HTTP/2 has no such header.
    return {"connection": "close"} if scope.get("http_version", "1.1").startswith("1") else {}


def _injected(parameters: tuple[Parameter, ...]) -> list[tuple[str, Inject, Parameter]]:
    return [(one.name, INJECTED[one.source], one) for one in parameters if one.source in INJECTED]


def with_headers(context: CallContext, send: Send) -> Send:
    """A `send` that adds the call's own headers to whatever answer begins."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start" and not context.scope.get("poto.started"):
            context.scope["poto.started"] = True
            headers = context.response_headers
            if message["status"] >= 400:
                headers = [header for header in headers if header[0] not in _OF_A_DOWNLOAD]
            if headers:
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return send_with_headers


async def _in_thread_to_leave(work: Callable[[], Any]) -> Any:
    """Run in a worker thread, which whoever is cancelled leaves: it keeps its place among them until it is done."""
    limiter, place = to_thread.current_default_thread_limiter(), object()
    await limiter.acquire_on_behalf_of(place)
    running = asyncio.ensure_future(to_thread.run_sync(work, limiter=CapacityLimiter(1)))
    running.add_done_callback(lambda _: limiter.release_on_behalf_of(place))
    return await asyncio.shield(running)


async def _within(context: CallContext, work: Awaitable[Any]) -> Any:
    limit = asyncio.timeout(context.remaining)
    try:
        async with limit:
            return await work
    except TimeoutError:
        if limit.expired():
            raise DeadlineExceeded from None
        raise


async def _until_gone(context: CallContext, method: Callable[..., Any], values: Values, *, in_thread: bool) -> Any:
    """Run a method and cancel it when its caller goes away."""
    if context.is_request_cancelled():
        raise ClientDisconnect
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    context.watch(on_gone=task.cancel)
    try:
        if in_thread:
            result = await _in_thread_to_leave(lambda: method(**values))
        else:
            result = method(**values)
        return await result if inspect.isawaitable(result) else result
    except asyncio.CancelledError:
        if not context.cancelled:
            raise
        task.uncancel()
        raise ClientDisconnect from None
    finally:
        context.close()  # the end of the answer is told as a disconnect, too, and background tasks may still run


def _has_general_handler(scope: Scope) -> bool:
    """Whether the application answers unexpected errors itself."""
    app = scope.get("app")
    handlers = getattr(app, "exception_handlers", {})
    return bool(getattr(app, "debug", False)) or Exception in handlers or 500 in handlers
