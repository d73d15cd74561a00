"""A method as an endpoint of FastAPI, with two signatures: one that documents it, one that is solved.

They cannot be one: of what FastAPI documents, it reads and validates every part itself, by rules of its own and
beside ours. The solved signature has only what FastAPI alone can find; the body and the query are bound by the call.
"""

from __future__ import annotations  # of functions that are made for each method

import inspect
from collections.abc import Awaitable, Callable
from inspect import Signature
from typing import Annotated, Any

from fastapi import Body, Depends, Form, Query, Request, Response
from fastapi.dependencies.models import Dependant
from starlette.types import Receive, Scope, Send

from .._compat import fastapi as _fastapi
from ..auth.dependencies import current_user
from ..context import SCOPE_KEY, CallContext
from ..errors import ConfigurationError
from ..operations import Operation, Parameter, Source, arguments_type, is_upload, is_value, unaliased
from ..wire import describe
from .pipeline import OperationPipeline

Endpoint = Callable[..., Awaitable[Any]]


def documented_endpoint(call: OperationPipeline) -> Endpoint:
    """An endpoint with the signature that FastAPI documents. It carries its specification as `poto_spec`.

    It is called only where FastAPI's records of inclusions cannot be read (see `_compat.fastapi`).
    """
    operation, wire = call.operation, call.operation.wire_parameters
    parameters = _dependencies(operation, is_called=not _fastapi.ARE_INCLUSIONS_KNOWN)
    if operation.carried_in == "form":
        parameters += map(_form, wire)
    elif operation.carried_in == "query":
        parameters += [_keyword(one.name, Annotated[unaliased(one.annotation), Query()], _default(one)) for one in wire]
    elif operation.carried_in == "body":
        required = any(parameter.required for parameter in wire)
        body = arguments_type(operation)
        body = body if required else body | None
        parameters.append(_keyword("poto_body", Annotated[body, Body()], Signature.empty if required else None))
    if not _fastapi.ARE_INCLUSIONS_KNOWN:
        parameters.append(_keyword("poto_user", Any, Depends(current_user)))
    return _endpoint(call, parameters)


def solved_endpoint(call: OperationPipeline) -> Endpoint:
    """An endpoint with the signature of what only FastAPI can find."""
    operation = call.operation
    parameters = _dependencies(operation)
    if operation.carried_in == "form":  # FastAPI reads it, within its limits, and closes what it uploaded
        parameters.append(_keyword("poto_form", Annotated[Any, Form()], None))
    parameters.append(_keyword("poto_user", Any, Depends(current_user)))
    return _endpoint(call, parameters)


def _endpoint(call: OperationPipeline, parameters: list[inspect.Parameter]) -> Endpoint:
    """The method with what FastAPI has found, in a call that the pipeline has opened."""
    operation = call.operation
    dependencies = [parameter.name for parameter in operation.parameters if parameter.source is Source.DEPENDENCY]

    async def endpoint(
        poto_io: tuple[Request, Response], poto_init: dict[str, Any], poto_user: Any = None, **solved: Any
    ) -> Response:
        request, response = poto_io
        context: CallContext = request.scope[SCOPE_KEY]
        if not context.is_admitted:  # app.dependency_overrides[current_user]
            context.user = poto_user
            call.check_guard(context)
        values = await call.bind(context, request)
        values.update((name, solved[name]) for name in dependencies)
        result = await call.run(context, values, poto_init)
        if not isinstance(result, Response):
            result = call.prepare(result)
        # One list from now on: a generator has yet to run, and sets what goes out with its first item, or its status.
        context.response = response
        response.raw_headers[:0] = context.headers_beside(response.raw_headers)
        context.response_headers = response.raw_headers
        if isinstance(result, Response):
            return result
        return PipelineResponse(call, context, result)

    # What logging, tracing and profiling show of an endpoint is the method.
    endpoint.__name__ = operation.name
    endpoint.__qualname__ = operation.where
    endpoint.__module__ = operation.cls.__module__
    endpoint.__doc__ = operation.doc
    endpoint.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    endpoint.poto_spec = operation  # type: ignore[attr-defined]
    return endpoint


class PipelineResponse(Response):
    """What a call returned, on its way out through FastAPI."""

    def __init__(self, call: OperationPipeline, context: CallContext, result: Any) -> None:
        super().__init__()
        self._call = call
        self._context = context
        self._result = result

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._call.respond(self._result, self._context, receive, send)
        if self.background is not None:
            await self.background()


async def _request_and_response(request: Request, response: Response) -> tuple[Request, Response]:
    return request, response


def _dependencies(operation: Operation, *, is_called: bool = True) -> list[inspect.Parameter]:
    """What FastAPI finds for the method, and for the constructor of its class, whose names are its own."""

    async def constructor_arguments(**solved: Any) -> dict[str, Any]:
        return solved

    of_constructor = [_solved(one) for one in operation.constructor if one.source is Source.DEPENDENCY]
    constructor_arguments.__signature__ = Signature(of_constructor)  # type: ignore[attr-defined]
    parameters = [_solved(one) for one in operation.parameters if one.source is Source.DEPENDENCY]
    if is_called or of_constructor:
        parameters.append(_keyword("poto_init", Any, Depends(constructor_arguments)))
    if is_called:
        parameters.append(_keyword("poto_io", Any, Depends(_request_and_response)))
    return parameters


def check_dependencies(operation: Operation, dependant: Dependant) -> None:
    """Raise `ConfigurationError` for what dependencies, however deep, want of a call and cannot get."""
    wire = {one.name for one in operation.wire_parameters}  # which have been looked at
    for field in (*dependant.query_params, *dependant.header_params, *dependant.cookie_params, *dependant.path_params):
        try:
            if field.name not in wire:
                describe(Annotated[field.field_info.annotation, field.field_info]).document("validation")
        except TypeError as error:
            raise ConfigurationError(
                f"{operation.where}: {field.name!r} has a type that no document can have: {error}. Use another."
            ) from error
    for one in dependant.dependencies:
        name = getattr(one.call, "__name__", repr(one.call))
        if one.websocket_param_name is not None:
            raise ConfigurationError(
                f"{operation.where}: the dependency {name} takes a WebSocket, but calls come by HTTP. "
                "Let it take a `Request`, or an `HTTPConnection`."
            )
        if one.body_params and operation.carried_in != "form":
            wanted = ", ".join(repr(field.name) for field in one.body_params)
            raise ConfigurationError(
                f"{operation.where}: the dependency {name} takes {wanted} from the body, which is the method's own. "
                "Let the method take it, or let the dependency take a `Request` and read it."
            )
        check_dependencies(operation, one)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _solved(parameter: Parameter) -> inspect.Parameter:
    return _keyword(parameter.name, parameter.annotation, Signature.empty if parameter.required else parameter.default)


def _default(parameter: Parameter) -> Any:
    if parameter.required:
        return Signature.empty
    return parameter.default if parameter.default_factory is None else parameter.default_factory()


def _is_json_field(parameter: Parameter) -> bool:
    return not is_upload(parameter.annotation) and not is_value(parameter.annotation)


def _form(parameter: Parameter) -> inspect.Parameter:
    """A plain parameter of a multipart method: a form field; what is no single value, as JSON in one."""
    if is_upload(parameter.annotation):
        return _keyword(parameter.name, parameter.annotation, _default(parameter))
    # A model as the only Form() would be documented as the form itself; ours is JSON in one of its fields.
    mark = Body() if _is_json_field(parameter) else Form()
    return _keyword(parameter.name, Annotated[unaliased(parameter.annotation), mark], _default(parameter))
