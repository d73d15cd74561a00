"""How errors are answered: the same flat body from every route and in every stream."""

from contextlib import suppress
from functools import cache, wraps
from typing import Any, get_type_hints

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from pydantic_core import ValidationError, to_json
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from .context import SCOPE_KEY
from .errors import InternalError, InvalidArguments, PotoError
from .wire import WireType, bounded


def error_body(error: BaseException) -> bytes:
    """The JSON of an error. Of one that callers are not told about, that of an `InternalError`."""
    payload: Any
    if isinstance(error, PotoError):
        payload = error.payload()
        if "data" in payload:
            del payload["data"]  # which has the conventions of the wire: bytes, big integers
            return b'%b,"data":%b}' % (_json(payload)[:-1], _data_json(type(error), error.data))
    elif isinstance(error, HTTPException):
        payload = {"detail": error.detail}
    elif isinstance(error, RequestValidationError):
        payload = {"code": InvalidArguments.code, "detail": bounded(error.errors())}
    else:
        payload = InternalError().payload()
    return _json(payload)


def _json(value: Any) -> bytes:
    return to_json(value, by_alias=True, inf_nan_mode="strings", fallback=str)


def _data_json(error: Any, data: Any) -> bytes:
    codec = data_codec(error)
    if codec is not None:
        with suppress(ValidationError):  # what breaks its annotation is sent as it is
            return codec.encode(data)
    return _json(data)


@cache
def data_codec(error: Any) -> WireType[Any] | None:
    """The codec of an error's `data` as the class annotates it."""
    try:
        annotation = get_type_hints(error, include_extras=True)["data"]
        return None if annotation is Any else WireType(annotation)
    except (NameError, TypeError):  # names that only a type checker knows
        return None


def error_response(error: PotoError | RequestValidationError) -> Response:
    """An error as the answer of a call."""
    status, headers = (error.status_code, error.headers) if isinstance(error, PotoError) else (422, None)
    return Response(error_body(error), status, headers, "application/json")


async def _answer(request: Request, error: PotoError) -> Response:
    return error_response(error)


async def _answer_invalid(request: Request, error: RequestValidationError) -> Response:
    if SCOPE_KEY in request.scope:
        return error_response(error)
    # Of a route of the application itself.
    return await request_validation_exception_handler(request, error)


def install() -> None:
    """Let applications answer so where they have no exception handlers of their own."""
    # Neither a router nor an exception can say how it is answered; FastAPI's own handler wraps all in `detail`.
    original = FastAPI.build_middleware_stack
    if hasattr(original, "__poto__"):
        return

    @wraps(original)
    def build_middleware_stack(self: FastAPI) -> ASGIApp:
        handlers: dict[Any, Any] = self.exception_handlers
        of_errors = next((handlers[one] for one in PotoError.__mro__ if one in handlers), None)
        if of_errors is http_exception_handler:
            handlers[PotoError] = _answer
        if handlers.get(RequestValidationError) is request_validation_exception_handler:
            handlers[RequestValidationError] = _answer_invalid
        return original(self)

    build_middleware_stack.__poto__ = True  # type: ignore[attr-defined]
    FastAPI.build_middleware_stack = build_middleware_stack  # type: ignore[method-assign]
