"""What FastAPI is told of a method, so that its document has it: the arguments of a route."""

import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import Field
from starlette.responses import JSONResponse, RedirectResponse, Response
from typing_extensions import TypedDict

from ..errors import ConfigurationError, InvalidArguments, PotoError
from ..operations import Operation, members


class OctetStream(Response):
    media_type = "application/octet-stream"


class EventStreamBody(JSONResponse):  # of JSON: so FastAPI documents the type of the items
    media_type = "text/event-stream"


def route_arguments(operation: Operation) -> Mapping[str, Any]:
    """The arguments of `APIRouter.add_api_route` that describe a method. What they cannot say, `openapi` adds."""
    options = operation.options
    arguments: dict[str, Any] = {
        "name": operation.where,
        "operation_id": operation.operation_id,
        "tags": list(options.tags) if options.tags is not None else [operation.module_name],
        "deprecated": options.deprecated,
        "openapi_extra": dict(options.openapi_extra) if options.openapi_extra else None,
        "response_model": None,
        "status_code": operation.status_code,
        "include_in_schema": options.include_in_schema is not False,
        "responses": _responses(operation),
    }
    if operation.kind == "empty":
        arguments["response_class"] = Response
    elif operation.kind == "unary":
        arguments["response_model"] = operation.result
    elif operation.kind == "stream":
        arguments |= {"response_model": operation.result, "response_class": EventStreamBody}
    elif operation.kind in ("bytes", "byte_stream"):
        arguments["response_class"] = _of_media_type(options.media_type) if options.media_type else OctetStream
    elif operation.kind == "response":
        arguments["response_class"] = _response_class(operation)
    return arguments


def _response_class(operation: Operation) -> type[Response]:
    """The class of a method that returns responses itself: what its annotation and `media_type` tell of them."""
    if operation.options.media_type is not None:
        return _of_media_type(operation.options.media_type)
    classes: list[Any] = list(members(operation.result))
    one = classes[0] if len(classes) == 1 else Response
    return one if one.media_type is not None or issubclass(one, RedirectResponse) else OctetStream


def _of_media_type(media_type: str) -> type[Response]:
    return type("Body", (Response,), {"media_type": media_type})


# Errors


def error_name(error: type[PotoError]) -> str:
    """The component of an error: `SoldOutError`."""
    return error.__name__ if error.__name__.endswith("Error") else f"{error.__name__}Error"


def by_status(errors: Sequence[type[PotoError]]) -> dict[int, list[type[PotoError]]]:
    found: dict[int, list[type[PotoError]]] = {}
    for error in dict.fromkeys(errors):
        found.setdefault(error.status, []).append(error)
    return found


def _responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    return {
        # Without one, FastAPI adds its own, whose components take the place of models that are called like them.
        422: {"description": InvalidArguments.default_detail()},
        **{
            status: {"model": Union[tuple(_bodies(errors))]}  # noqa: UP007 - of a tuple
            for status, errors in by_status(operation.errors).items()
        },
        **{status: dict(response) for status, response in (operation.options.responses or {}).items()},
    }


def _bodies(errors: Sequence[Any]) -> list[Any]:
    return [error_body(error) for error in errors]


@cache  # one type for a class, of which FastAPI makes one component
def error_body(error: Any) -> Any:
    """The type of an error's body: `{"code": …, "detail": …, "data": …}`."""
    make: Any = TypedDict  # a checker wants a literal class, and a literal value
    literal: Any = Literal
    # `enum` as well, for generators that do not read `const`.
    code = Annotated[literal[error.code], Field(json_schema_extra={"enum": [error.code]})]
    fields: dict[str, Any] = {"code": code, "detail": str}
    data = data_type(error)
    if data is not None:
        fields["data"] = data
    body = make(error_name(error), fields)
    body.__doc__ = error.default_detail()
    body.__module__ = error.__module__  # the name under which a clash of two components is told apart
    return body


def data_type(error: type[PotoError]) -> Any:
    """What an error's `data` is annotated with; None if it is not annotated."""
    owner = next(base for base in error.__mro__ if "data" in getattr(base, "__annotations__", {}))
    if owner is PotoError:
        return None
    try:
        annotation = typing.get_type_hints(owner, include_extras=True)["data"]
    except NameError as problem:
        raise ConfigurationError(
            f"{error.__qualname__}.data: the annotation names {problem.name!r}, which cannot be resolved. "
            f"Import or define it at the top of {owner.__module__} (not under TYPE_CHECKING, nor in a function)."
        ) from problem
    return annotation
