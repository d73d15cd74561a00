"""One method, called: arguments from the request, the instance, the result into the response."""

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, cast

from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send

from ..body import JSON, Receiver, check_content_type, read_body
from ..context import CallContext
from ..errors import Forbidden, insufficient
from ..operations import Operation, Parameter
from ..pipeline import Pipeline, with_headers
from ..runtime import Poto
from ..streaming.stream_options import StreamOptions
from .arguments import INJECTED, Binder, Inject, Values, check_shapes
from .responses import activity_check, encoder, is_plain_json, respond_with, sender, stream_options


class OperationPipeline(Pipeline):
    """The pipeline of one method. All that can be known before a request has been worked out here."""

    runtime: Poto

    def __init__(self, operation: Operation, poto: Poto) -> None:
        super().__init__(poto, operation.where, poto.settings.max_body_size)
        self.operation = operation
        self.poto = poto
        self.authenticate = poto.authenticator.authenticate  # type: ignore[method-assign]
        self.binder = Binder(operation)
        check_shapes(operation)
        self._injected = _injected(operation.parameters)
        self._injected_into_constructor = _injected(operation.constructor)
        self._is_made_by_init = operation.cls.__init__ is not object.__init__
        self._is_plain = not operation.in_thread and not operation.cancel_on_disconnect
        self._options = stream_options(operation, poto.settings, poto.streams)
        if self._options is not None:
            from ..streaming.resume import resume  # slow to import, with uvicorn

            self._resume = resume
        self._body_timeout = poto.settings.body_timeout
        self.prepare: Callable[[Any], Any] = encoder(operation)
        """What goes out of what the method returned. Raises `ResponseValidationError`."""
        self.send = sender(operation, self._options, poto.authenticator.is_active)
        self._guard = operation.guard
        self._strict_content_type = True

    def mounted(
        self, response_class: type[Response], *, strict_content_type: bool, max_body_size: int | None
    ) -> "OperationPipeline":
        """The same, as the application and its routers want responses to be made, and bodies to be announced."""
        mounted = copy.copy(self)
        mounted._strict_content_type = strict_content_type
        if max_body_size is not None:
            mounted.max_body_size = max_body_size
        if self.operation.kind == "unary" and not is_plain_json(response_class):
            mounted.prepare = respond_with(response_class, self.operation)
        return mounted

    def check_guard(self, context: CallContext) -> None:
        guard, user = self._guard, context.user
        if guard.public:
            return
        if user is None:
            raise self.poto.authenticator.refuse(context.scope)
        if guard.roles and guard.roles.isdisjoint(user.roles):
            raise Forbidden(headers=insufficient())
        if guard.named and user.visitor:
            raise Forbidden("Not for visitors", headers=insufficient())

    # Two ways to the method's arguments. The fast path needs nothing of FastAPI's solver.

    async def direct(self, context: CallContext, receive: Receive, send: Send) -> None:
        """Find the arguments, call the method, and send what it returns."""
        binder, scope = self.binder, context.scope
        if binder.reads_body:
            body = await read_body(receive, self.max_body_size, self._body_timeout)
            values = self._bind_body(context, body)
        elif binder.reads_query:
            values = binder.query(scope["query_string"])
        else:
            values = {}
        result = await self.run(context, values, {})
        if not isinstance(result, Response):
            result = self.prepare(result)
        if isinstance(result, Response):
            await result(scope, receive, with_headers(context, send))
        else:
            await self.send(result, context, scope, receive, send)

    async def solved(self, solver: ASGIApp, context: CallContext, receive: Receive, send: Send) -> None:
        """Have an application of FastAPI's find the arguments; it ends in the method's endpoint (see `endpoints`)."""
        receiver = Receiver(receive, self.max_body_size, self._body_timeout)
        context.receive_with(receiver)
        await solver(context.scope, receiver, with_headers(context, send))

    async def bind(self, context: CallContext, request: Request) -> Values:
        """The wire parameters of a request that FastAPI has solved the rest of."""
        binder = self.binder
        if binder.reads_query:
            return binder.query(context.scope["query_string"])
        if binder.reads_form:
            return await binder.form(await request.form())
        if not binder.reads_body:
            return {}
        return self._bind_body(context, await request.body())

    def _bind_body(self, context: CallContext, body: bytes) -> Values:
        context.body = body
        if body:
            sent = context.headers.get(b"content-type", b"")
            if sent != JSON and (sent or self._strict_content_type):
                check_content_type(sent)
        return self.binder.body(body)

    # Running

    def run(self, context: CallContext, values: Values, constructor: Values) -> Awaitable[Any]:
        """Make the instance and call the method; what it returns, not yet encoded. Of a stream: its iterator."""
        if self._options is not None:
            return self._stream(self._options, context, values, constructor)
        for name, give, parameter in self._injected:
            values[name] = give(context, parameter)
        method = self._method(context, constructor)
        if not self._is_plain:
            return self._invoke(context, method, values)
        result = method(**values)
        return result if result.__class__ is CoroutineType else _awaited(result)

    async def _stream(self, options: StreamOptions, context: CallContext, values: Values, constructor: Values) -> Any:
        is_active = activity_check(context, self.poto.authenticator.is_active)
        resumed = await self._resume(context, options, values, is_active=is_active)
        if resumed is not None:
            return resumed
        for name, give, parameter in self._injected:
            values[name] = give(context, parameter)
        return await self._invoke(context, self._method(context, constructor), values)

    def _method(self, context: CallContext, constructor: Values) -> Callable[..., Any]:
        operation = self.operation
        for name, give, parameter in self._injected_into_constructor:
            constructor[name] = give(context, parameter)
        instance = operation.cls.__new__(operation.cls)
        instance.__dict__["_poto_context"] = context  # a frozen dataclass, say, has a `__setattr__` of its own
        if self._is_made_by_init:
            instance.__init__(**constructor)  # type: ignore[misc]
        if context.deadline is not None:
            context.check_deadline()  # dependencies may have taken all of it
        method: Callable[..., Any] = getattr(instance, operation.name)
        return method

    async def _invoke(self, context: CallContext, method: Callable[..., Any], values: Values) -> Any:
        operation = self.operation
        if operation.cancel_on_disconnect:
            return await _until_gone(context, method, values, in_thread=operation.in_thread)
        if operation.in_thread:
            run = to_thread.run_sync if context.deadline is None else _in_thread_to_leave
            return await _awaited(await run(lambda: method(**values)))
        return await _awaited(method(**values))


async def _awaited(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def _injected(parameters: tuple[Parameter, ...]) -> tuple[tuple[str, Inject, Parameter], ...]:
    return tuple((one.name, INJECTED[one.source], one) for one in parameters if one.source in INJECTED)


async def _in_thread_to_leave(work: Callable[[], Any]) -> Any:
    """Run in a worker thread, which whoever is cancelled leaves: it keeps its place among them until it is done."""
    limiter, place = to_thread.current_default_thread_limiter(), object()
    await limiter.acquire_on_behalf_of(place)
    running = asyncio.ensure_future(to_thread.run_sync(work, limiter=CapacityLimiter(1)))
    running.add_done_callback(lambda _: limiter.release_on_behalf_of(place))
    return await asyncio.shield(running)


async def _until_gone(context: CallContext, method: Callable[..., Any], values: Values, *, in_thread: bool) -> Any:
    """Run a method and cancel it when its caller goes away."""
    if context.is_request_cancelled():
        raise ClientDisconnect
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    context.watch(on_gone=task.cancel)
    try:
        if in_thread:
            return await _awaited(await _in_thread_to_leave(lambda: method(**values)))
        return await _awaited(method(**values))
    except asyncio.CancelledError:
        if not context.cancelled:
            raise
        task.uncancel()
        raise ClientDisconnect from None
    finally:
        context.close()  # the end of the answer is told as a disconnect, too, and background tasks may still run
