"""One method, called: arguments from the request, the instance, the result into the response."""

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from types import CoroutineType
from typing import Any, cast

from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send

from ..body import JSON, Receiver, check_content_type, read_body, resumed
from ..context import CallContext
from ..errors import Forbidden, insufficient
from ..operations import Operation, Parameter
from ..pipeline import Pipeline, with_headers
from ..runtime import Poto
from ..streaming.frames import LAST_EVENT_ID
from ..streaming.stream_options import StreamOptions
from .arguments import INJECTED, Binder, Inject, Values, check_shapes
from .responses import (
    activity_check,
    encoder,
    is_plain_json,
    respond_with,
    stream_options,
    stream_sender,
    unary_messages,
)

_set = object.__setattr__


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
            self._send_stream = stream_sender(operation, self._options, poto.authenticator.is_active)
        self._body_timeout = poto.settings.body_timeout
        self.prepare: Callable[[Any], Any] = encoder(operation)
        """What goes out of what the method returned. Raises `ResponseValidationError`."""
        self._messages = unary_messages(operation.kind, operation.status_code, operation.options.media_type)
        self._guard = operation.guard
        self._name = operation.name
        self._new = partial(operation.cls.__new__, operation.cls)
        self._is_usual = self._is_plain and self._options is None and not self._is_made_by_init
        self._strict_content_type = True

    def mounted(
        self, response_class: type[Response], *, strict_content_type: bool, max_body_size: int | None
    ) -> "OperationPipeline":
        """The same, as the application and its routers want responses to be made, and bodies to be announced."""
        mounted = copy.copy(self)
        mounted._strict_content_type = strict_content_type
        if max_body_size is not None:
            mounted.limit_bodies(max_body_size)
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

    async def direct(  # noqa: C901 - one function for what are four elsewhere: each adds 2 % to the time of every call
        self, context: CallContext, receive: Receive, send: Send
    ) -> None:
        """Find the arguments, call the method, and send what it returns."""
        binder = self.binder
        values: Values = {}
        if binder.reads_body:
            receiving: Any = receive()
            message: Message = {}
            if receiving.__class__ is CoroutineType:
                try:
                    receiving = resumed(receiving, receiving.send(None))
                except StopIteration as ready:  # it is there already, as nearly always, and needs no timer
                    message = ready.value
            body: Any = message.get("body")
            if body.__class__ is not bytes or len(body) > self.max_body_size or message.get("more_body", False):
                body = await read_body(message, receiving, receive, self.max_body_size, self._body_timeout)
            context.body = body
            if body and context.headers.get(b"content-type") != JSON:
                self._check_content_type(context)
            values = binder.body(body)
        elif binder.reads_query:
            values = binder.query(context.scope["query_string"])
        if self._is_usual:
            for name, give, parameter in self._injected:
                values[name] = give(context, parameter)
            instance = self._new()
            _set(instance, "_poto_context", context)
            if context.deadline is not None:
                context.check_deadline()
            result = getattr(instance, self._name)(**values)
            if result.__class__ is CoroutineType or inspect.isawaitable(result):
                result = await result
        else:
            result = await self.run(context, values, {})
        if not isinstance(result, Response):
            result = self.prepare(result)
        if isinstance(result, Response):
            await result(context.scope, receive, with_headers(context, send))
        elif self._options is None:
            start, end = self._messages(result, context)
            await send(start)
            await send(end)
        else:
            await self._send_stream(result, context, receive, send)

    async def respond(self, result: Any, context: CallContext, receive: Receive, send: Send) -> None:
        """Send what `prepare` gave."""
        if self._options is not None:
            await self._send_stream(result, context, receive, send)
            return
        for message in self._messages(result, context):
            await send(message)

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
            self._check_content_type(context)
        return self.binder.body(body)

    def _check_content_type(self, context: CallContext) -> None:
        sent = context.headers.get(b"content-type", b"")
        if sent or self._strict_content_type:
            check_content_type(sent)

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
        if options.streams is not None or LAST_EVENT_ID in context.headers:
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
        _set(instance, "_poto_context", context)  # a frozen dataclass, say, has a `__setattr__` of its own
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
