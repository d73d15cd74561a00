"""The two functions that stand for a method in FastAPI: one that documents it, one that is called."""

import inspect
from collections.abc import Awaitable, Callable
from inspect import Signature
from typing import Annotated, Any

from fastapi import Body, Depends, Form, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import ValidationError
from starlette.datastructures import UploadFile as StarletteUploadFile
from starlette.types import Receive, Scope, Send

from ..auth.dependencies import current_user
from ..context import CallContext
from ..operations import Operation, Parameter, Source, is_upload, is_value, unaliased
from ..wire import WireType, wire_errors
from .pipeline import Pipeline

Endpoint = Callable[..., Awaitable[Any]]


def documenting_endpoint(operation: Operation, security: list[Any]) -> Endpoint:
    """An endpoint with the signature that FastAPI documents. It carries its specification as `poto_spec`."""

    async def endpoint(**_: Any) -> None:
        raise AssertionError("documents only")  # pragma: no cover

    wire = operation.wire_parameters
    parameters = [_solved(parameter) for parameter in operation.parameters if parameter.source is Source.DEPENDENCY]
    if operation.form:
        # A model as the only Form() would be documented as the form itself; ours is JSON in one of its fields.
        parameters += [_form(one, mark=Body() if _is_json_field(one) else None) for one in wire]
    elif operation.query_type is not None:
        parameters += [_keyword(one.name, Annotated[unaliased(one.annotation), Query()], _default(one)) for one in wire]
    elif operation.body_type is not None:
        required = any(parameter.required for parameter in wire)
        body = operation.body_type if required else operation.body_type | None
        parameters.append(_keyword("poto_body", Annotated[body, Body()], Signature.empty if required else None))
    parameters += [
        _keyword(f"poto_init_{one.name}", one.annotation, Signature.empty)
        for one in operation.constructor
        if one.source is Source.DEPENDENCY
    ]
    parameters += [_keyword(f"poto_security_{n}", Any, Depends(scheme)) for n, scheme in enumerate(security)]
    return _dressed(endpoint, operation, parameters)


def dependency_endpoint(call: Pipeline) -> Endpoint:
    """An endpoint that lets FastAPI find what only it can, and then walks the same corridor as a direct call."""
    operation = call.operation
    wire_names = {parameter.name for parameter in operation.wire_parameters}
    json_fields = {
        one.name: WireType[Any](one.annotation)
        for one in operation.wire_parameters
        if operation.form and _is_json_field(one)
    }

    async def endpoint(
        poto_io: tuple[Request, Response], poto_user: Any, poto_init: dict[str, Any], **solved: Any
    ) -> Response:
        request, response = poto_io
        context: CallContext = request.scope["poto.context"]
        if poto_user is not context.user:  # app.dependency_overrides[current_user]
            context.user = poto_user
        call.check_guard(context)
        values = await call.bind(request)
        for name, value in solved.items():
            if name in json_fields and value is not _ABSENT:
                text = await value.read() if isinstance(value, StarletteUploadFile) else value
                values[name] = _from_json(name, text, json_fields[name])
            elif name not in wire_names or value is not _ABSENT:
                values[name] = value
        if operation.form:
            values = call.binder.fill(values)
        result = await call.run(context, values, poto_init)
        # One list from now on: a generator has yet to run, and sets what goes out with its first item.
        response.raw_headers[:0] = context.response_headers
        context.response_headers = response.raw_headers
        if isinstance(result, Response):
            return result
        return PipelineResponse(call, context, result, response.status_code)

    parameters = [
        _keyword("poto_io", Any, Depends(_request_and_response)),
        _keyword("poto_user", Any, Depends(current_user)),
        _keyword("poto_init", Any, Depends(_constructor_arguments(operation))),
    ]
    parameters += [_solved(parameter) for parameter in operation.parameters if parameter.source is Source.DEPENDENCY]
    if operation.form:
        parameters += [_form(one, absent=_ABSENT, as_text=one.name in json_fields) for one in operation.wire_parameters]
    return _dressed(endpoint, operation, parameters)


class PipelineResponse(Response):
    """What a call returned, on its way out through FastAPI."""

    def __init__(self, call: Pipeline, context: CallContext, result: Any, status_code: int | None) -> None:
        super().__init__(status_code=status_code or 200)
        self._call = call
        self._context = context
        self._result = result
        self._status = status_code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._call.respond(self._result, self._context, scope, receive, send, self._status)
        if self.background is not None:
            await self.background()


class _Absent:
    def __deepcopy__(self, memo: Any) -> "_Absent":
        return self  # FastAPI copies defaults

    def __repr__(self) -> str:
        return "the method's own default"


_ABSENT: Any = _Absent()


async def _request_and_response(request: Request, response: Response) -> tuple[Request, Response]:
    return request, response


def _constructor_arguments(operation: Operation) -> Endpoint:
    async def arguments(**solved: Any) -> dict[str, Any]:
        return solved

    parameters = [_solved(parameter) for parameter in operation.constructor if parameter.source is Source.DEPENDENCY]
    arguments.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return arguments


def _dressed(endpoint: Endpoint, operation: Operation, parameters: list[inspect.Parameter]) -> Endpoint:
    # What logging, tracing and profiling show of an endpoint is the method.
    endpoint.__name__ = operation.name
    endpoint.__qualname__ = operation.where
    endpoint.__module__ = operation.cls.__module__
    endpoint.__doc__ = operation.doc
    endpoint.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    endpoint.poto_spec = operation  # type: ignore[attr-defined]
    return endpoint


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


def _form(parameter: Parameter, *, absent: Any = None, as_text: bool = False, mark: Any = None) -> inspect.Parameter:
    """A plain parameter of a multipart method: a form field; what is no single value, as JSON in one."""
    default = Signature.empty if parameter.required else (absent if absent is not None else _default(parameter))
    if is_upload(parameter.annotation):
        return _keyword(parameter.name, parameter.annotation, default)
    annotation = Any if as_text else unaliased(parameter.annotation)
    return _keyword(parameter.name, Annotated[annotation, mark or Form()], default)


def _from_json(name: str, text: str | bytes, type_: WireType[Any]) -> Any:
    try:
        return type_.validate_json(text)
    except ValidationError as error:
        errors = wire_errors(error, "body")
        raise RequestValidationError([{**one, "loc": ("body", name, *one["loc"][1:])} for one in errors]) from None
