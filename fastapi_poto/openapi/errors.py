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
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    known_errors,
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

ErrorClasses = Sequence[type[PotoError]]
Coded = dict[str, Schema]
"""References to components, by the codes of their errors."""


def errors_of(operation: Operation, *, has_cookies: bool) -> list[type[PotoError]]:
    """The errors that a call can meet before its method runs, and that a client can tell apart."""
    guarded = not operation.guard.public
    found: list[tuple[bool, type[PotoError]]] = [
        (True, Unauthenticated),  # a public method too: a bad token is refused
        (bool(operation.guard.roles) or operation.guard.named or operation.resumable, Forbidden),
        (has_cookies, CrossSiteRequest),
        (operation.resumable, PastReplay),
        (operation.resumable, StreamLost),
        (operation.resumable, TooManyRequests),
        (operation.carried_in in ("body", "form"), TooLarge),
        (guarded or operation.is_stream, Unavailable),
        (True, DeadlineExceeded),
    ]
    return [error for can_occur, error in found if can_occur]


def reasons_of(operation: Operation) -> dict[type[PotoError], str]:
    """Why a call is refused, where there is one reason."""
    guard = operation.guard
    if not (guard.roles or guard.named) or operation.resumable or Forbidden in operation.errors:
        return {}
    if not guard.roles:
        return {Forbidden: "Not for visitors"}
    return {Forbidden: "Needs the role " + " or ".join(f"`{name}`" for name in sorted(guard.roles))}


class ErrorComponents:
    """The components of one document's errors, and the responses that they make."""

    def __init__(self, add: Add, documented: Iterable[type[PotoError]]) -> None:
        """`documented` are the errors that have a component of their own anywhere in the document."""
        self._add = add
        own = {error.code for error in documented} | {InvalidArguments.code}
        known = {error.code for error in known_errors()} - {InvalidArguments.code}
        self._known_codes = sorted(known)
        self._other_codes = sorted(known - own)

    def add_responses(
        self,
        shown: dict[str, Any],
        declared: ErrorClasses,
        automatic: ErrorClasses,
        *,
        reasons: Mapping[type[PotoError], str] | None = None,
    ) -> None:
        """Write the error responses of an operation; `reasons` are why an error occurs here, where that is known.

        Of a status that the application describes itself its words stay, and the body if it has one.
        """
        responses: dict[str, Any] = shown["responses"]
        for status, errors in by_status([*declared, *automatic]).items():
            is_declared = any(error.status == status for error in declared)
            said = {} if is_declared else responses.get(str(status), {})
            if "content" not in said:
                made = self._response(shown, status, errors, is_declared=is_declared, reasons=reasons or {})
                responses[str(status)] = {**made, **said}
        unfit = responses.get("422", {})
        if not unfit.get("content") and unfit.get("description") == InvalidArguments.default_detail():
            if _takes_arguments(shown):
                unfit["content"] = _json(self._validation())
            else:
                del responses["422"]
        any_other = _json(self._any())
        responses.setdefault("default", {"description": ANY_OTHER, "content": any_other})
        for key, response in responses.items():
            if key[0] in "45":
                response.setdefault("content", any_other)

    def _response(
        self,
        shown: dict[str, Any],
        status: int,
        errors: ErrorClasses,
        *,
        is_declared: bool,
        reasons: Mapping[type[PotoError], str],
    ) -> dict[str, Any]:
        members = self._components(errors, _bodies(shown["responses"].get(str(status), {})))
        if status == HTTPStatus.UNPROCESSABLE_ENTITY and _takes_arguments(shown):
            members[InvalidArguments.code] = self._validation()
        if is_declared or len(members) > 1:
            schema = ref(self._add(self._union(members), f"{camel(shown['operationId'])}Failure{status}"))
        else:
            (schema,) = members.values()
        described = (f"`{error.code}`: {reasons.get(error) or error.default_detail()}" for error in errors)
        response = {"description": "; ".join(described), "content": _json(schema)}
        return response | ({"headers": headers} if (headers := _headers(errors)) else {})

    def stream_failure(self, shown: dict[str, Any], errors: ErrorClasses) -> Schema:
        """The last event of a stream that failed, by the errors that its operation can meet."""
        members: Coded = {}
        for status, group in by_status(errors).items():
            members |= self._components(group, _bodies(shown["responses"].get(str(status), {})))
        members[InvalidArguments.code] = self._validation()
        failure = {
            "type": "object",
            "description": "The stream failed: the data of its last event, which is named `error`.",
            "properties": {ERROR_MEMBER: self._union(members)},
            "required": [ERROR_MEMBER],
        }
        return ref(self._add(failure, f"{camel(shown['operationId'])}StreamFailure"))

    def _components(self, errors: ErrorClasses, given: Sequence[str]) -> Coded:
        """`given` are the components that FastAPI made of the first of them."""
        named_so = [ref(name) for name in given]
        return {
            error.code: named_so[number] if number < len(named_so) else self._component(error)
            for number, error in enumerate(errors)
        }

    def _union(self, members: Coded) -> Schema:
        """What may come where these errors are expected: told apart by `code`, and anything else of that form."""
        general = self._general()
        targets = members | {code: general for code in self._other_codes if code not in members}
        refs = [*{one["$ref"]: one for one in members.values()}.values(), general]
        mapping = {code: one["$ref"] for code, one in targets.items()}
        return {"oneOf": refs, "discriminator": {"propertyName": "code", "mapping": mapping}}

    def _general(self) -> Schema:
        properties = {"code": {"type": "string", "enum": self._other_codes}, "detail": _TEXT}
        return self._object("GeneralError", "An error that has no schema of its own.", properties)

    def _any(self) -> Schema:
        """What an application answers by an `HTTPException` has no code, and so no place in a union."""
        properties = {"code": {"type": "string", "enum": self._known_codes}, "detail": _TEXT}
        return self._object("AnyError", "Any other error; it may have no code.", properties, optional={"code"})

    def _validation(self) -> Schema:
        """A 422: FastAPI's list of what is wrong."""
        item = self._object(
            "ValidationErrorItem",
            "One thing that is wrong with what was sent.",
            {
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
            optional={"input", "ctx"},
        )
        properties = {"code": _constant(InvalidArguments.code), "detail": {"type": "array", "items": item}}
        return self._object("ValidationError", "What was sent does not fit.", properties)

    def _component(self, error: type[PotoError]) -> Schema:
        """The component of an error of the framework."""
        properties = {"code": _constant(error.code), "detail": _TEXT}
        return self._object(error_name(error), error.default_detail(), properties)

    def _object(
        self, name: str, description: str, properties: dict[str, Schema], *, optional: Iterable[str] = ()
    ) -> Schema:
        required = [one for one in properties if one not in optional]
        schema = {"type": "object", "description": description, "properties": properties, "required": required}
        return ref(self._add(schema, name))


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _constant(code: str) -> Schema:
    """For generators that read `const`, and for those that read `enum`."""
    return {"type": "string", "const": code, "enum": [code]}


def _takes_arguments(shown: dict[str, Any]) -> bool:
    return bool("requestBody" in shown or shown.get("parameters"))


def _bodies(response: dict[str, Any]) -> list[str]:
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
