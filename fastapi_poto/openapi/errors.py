"""The responses of an operation that are errors: a component per code, a union per status, and the general one."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from ..errors import (
    CrossSiteRequest,
    DeadlineExceeded,
    Forbidden,
    InvalidArguments,
    PastReplay,
    PotoError,
    RetryLater,
    StreamLost,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from ..operations import Operation
from ..streaming.frames import ERROR_MEMBER
from .route_arguments import by_status, error_name
from .schemas import PREFIX, Add, Schema, camel, named, ref

ANY_OTHER: Final = "Any other error"
"""By which a refined operation is known."""

_TEXT: Schema = {"type": "string"}
_CHALLENGE = {"WWW-Authenticate": {"description": "How to authenticate (RFC 6750).", "schema": _TEXT}}
_RETRY = {"Retry-After": {"description": "Seconds until it is worth trying again.", "schema": {"type": "integer"}}}


def general_error(add: Add) -> str:
    """The component of an error of which nothing is known but its form."""
    return add(
        {
            "type": "object",
            "description": "Any error that has no component of its own.",
            "properties": {"code": _TEXT, "detail": {}},
            "required": ["detail"],
        },
        "GeneralError",
    )


def validation_error(add: Add) -> str:
    """The component of a 422: FastAPI's list of what is wrong."""
    item = add(
        {
            "type": "object",
            "description": "One thing that is wrong with what was sent.",
            "properties": {
                "loc": {
                    "type": "array",
                    "description": "Where: `body` or `query`, then the members down to the place.",
                    "items": {"anyOf": [_TEXT, {"type": "integer"}]},
                },
                "msg": {"type": "string", "description": "What is wrong, in English."},
                "type": {"type": "string", "description": "What is wrong, as a code."},
                "input": {"description": "What was sent there."},
                "ctx": {"type": "object", "description": "The limits that it passed.", "additionalProperties": True},
            },
            "required": ["loc", "msg", "type"],
        },
        "ValidationErrorItem",
    )
    return add(
        {
            "type": "object",
            "description": "What was sent does not fit.",
            "properties": {"code": _constant(InvalidArguments.code), "detail": {"type": "array", "items": ref(item)}},
            "required": ["code", "detail"],
        },
        "ValidationError",
    )


def stream_error(add: Add) -> str:
    """The component of a stream's `event: error`: the body that the response would have had."""
    general, invalid = general_error(add), validation_error(add)
    return add(
        {
            "type": "object",
            "description": "The stream failed: the data of its last event, which is named `error`.",
            "properties": {ERROR_MEMBER: {"anyOf": [ref(general), ref(invalid)]}},
            "required": [ERROR_MEMBER],
        },
        "StreamError",
    )


def error_component(error: type[PotoError], add: Add) -> str:
    """The component of an error without data."""
    return add(
        {
            "type": "object",
            "description": error.default_detail(),
            "properties": {"code": _constant(error.code), "detail": _TEXT},
            "required": ["code", "detail"],
        },
        error_name(error),
    )


def _constant(code: str) -> Schema:
    """For generators that read `const`, and for those that read `enum`."""
    return {"type": "string", "const": code, "enum": [code]}


def errors_of(operation: Operation, *, has_cookies: bool) -> list[type[PotoError]]:
    """The errors that a call can meet before its method runs, and that a client can tell apart."""
    guarded = not operation.guard.public
    found: list[tuple[bool, type[PotoError]]] = [
        (True, Unauthenticated),  # a public method too: a bad token is refused
        (bool(operation.guard.roles) or operation.resumable, Forbidden),
        (has_cookies, CrossSiteRequest),
        (operation.resumable, PastReplay),
        (operation.resumable, StreamLost),
        (operation.body_type is not None or operation.form, TooLarge),
        (guarded or operation.is_stream, Unavailable),
        (True, DeadlineExceeded),
    ]
    return [error for can_occur, error in found if can_occur]


def reasons_of(operation: Operation) -> dict[type[PotoError], str]:
    """Why a call is refused, where there is one reason."""
    if not operation.guard.roles or operation.resumable or Forbidden in operation.errors:
        return {}
    return {Forbidden: "Needs the role " + " or ".join(f"`{name}`" for name in sorted(operation.guard.roles))}


def add_errors(
    shown: dict[str, Any],
    declared: Sequence[type[PotoError]],
    automatic: Iterable[type[PotoError]],
    add: Add,
    *,
    own_statuses: Iterable[str] = (),
    reasons: Mapping[type[PotoError], str] | None = None,
) -> None:
    """Write the error responses of an operation; `reasons` are why an error occurs here, where that is known.

    Of a status that the application describes itself (`own_statuses`) its words stay, and the body if it has one.
    """
    responses: dict[str, Any] = shown["responses"]
    kept = set(own_statuses)
    reasons = reasons or {}
    for status, errors in by_status([*declared, *automatic]).items():
        key = str(status)
        said = responses[key] if key in kept and not any(error.status == status for error in declared) else {}
        if "content" in said:
            continue
        given = _injected(responses.get(key, {}))
        members = [ref(name) for name in given]
        # What FastAPI was told of comes first, in this order.
        for error in errors[len(given) :]:
            component = ref(error_component(error, add))
            if component not in members:
                members.append(component)
        if status == HTTPStatus.UNPROCESSABLE_ENTITY and ("parameters" in shown or "requestBody" in shown):
            members.append(ref(validation_error(add)))
        name = f"{camel(shown['operationId'])}Error{status}"
        schema = members[0] if len(members) == 1 else ref(add({"anyOf": members}, name))
        response: dict[str, Any] = {
            "description": "; ".join(
                f"`{error.code}`: {reasons.get(error) or error.default_detail()}" for error in errors
            ),
            "content": {"application/json": {"schema": schema}},
        }
        if headers := _headers(errors):
            response["headers"] = headers
        responses[key] = {**response, **said}
    general = {"application/json": {"schema": ref(general_error(add))}}
    responses.setdefault("default", {"description": ANY_OTHER, "content": general})
    for key, response in responses.items():
        if key[0] in "45":
            response.setdefault("content", general)


def _injected(response: dict[str, Any]) -> list[str]:
    """The components that FastAPI made of the declared errors of a status."""
    for content in (response.get("content") or {}).values():
        schema = content.get("schema") or {}
        if (name := named(schema)) is not None:
            return [name]
        return [one["$ref"].removeprefix(PREFIX) for one in schema.get("anyOf", ()) if "$ref" in one]
    return []


def _headers(errors: Iterable[type[PotoError]]) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    for error in errors:
        if error.status == HTTPStatus.UNAUTHORIZED or error is Forbidden:
            headers |= _CHALLENGE
        if issubclass(error, RetryLater):
            headers |= _RETRY
    return headers
