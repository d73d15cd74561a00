"""Responses and frames that tell of an error, as the error's class: by its code, else by its status."""

import contextlib
import json
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import Any

from pydantic import ValidationError

from .. import errors as framework
from ..error_bodies import data_codec
from ..errors import InvalidArguments, PotoError, RetryLater
from ..streaming.frames import ERROR_MEMBER


def error_classes(declared: Iterable[type[PotoError]] = ()) -> dict[str, type[PotoError]]:
    """Classes by code: the framework's, and those that a method declares, which go before."""
    return {one.code: one for one in (*framework.known_errors(), *declared)}


_FRAMEWORK = error_classes()
_BY_STATUS: dict[int, type[PotoError]] = {
    one.status: one
    for one in (
        framework.BadRequest,
        framework.Unauthenticated,
        framework.Forbidden,
        framework.NotFound,
        framework.Conflict,
        framework.TooLarge,
        framework.TooManyRequests,
        framework.Unavailable,
        framework.DeadlineExceeded,
    )
}


def error_from_body(
    body: bytes,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    classes: Mapping[str, type[PotoError]] = _FRAMEWORK,
) -> PotoError:
    """The error that a body tells of: of a response with its status and headers, or of a frame of a stream.

    An unknown code is a plain `PotoError` that has it; a plain HTTP error is the class of its status, if there is one.
    """
    headers = headers or {}
    error = _error(_payload(body), status, headers, classes)
    if request_id := headers.get("x-request-id"):
        error.add_note(f"request {request_id}")
    return error


def _error(
    payload: dict[str, Any], status: int | None, headers: Mapping[str, str], classes: Mapping[str, type[PotoError]]
) -> PotoError:
    code, detail, data = payload.get("code"), payload.get("detail"), payload.get("data")
    if isinstance(detail, list):
        return InvalidArguments.received(code=InvalidArguments.code, status=422, detail=detail)
    if isinstance(code, str):
        found = classes.get(code, PotoError)
    else:
        found = _BY_STATUS.get(status or 500, PotoError)
        code = found.code if found is not PotoError else f"http_{status or 500}"
        detail, data = (detail, None) if isinstance(detail, str) else (None, detail)
    known_status = status or (found.status if found is not PotoError else 500)
    error = found.received(
        code=code, status=known_status, detail=str(detail or _phrase(known_status)), data=_parsed(found, data)
    )
    if isinstance(error, RetryLater):
        error.retry_after = _retry_after(headers.get("retry-after"))
        error.headers = {"Retry-After": str(error.retry_after)}
    return error


def _payload(body: bytes) -> dict[str, Any]:
    """The error in a body or an event; nothing in what no framework wrote, such as a proxy's page."""
    with contextlib.suppress(ValueError, RecursionError):
        told = json.loads(body)
        if isinstance(told, dict):
            inner = told.get(ERROR_MEMBER)
            return inner if isinstance(inner, dict) else told
    return {}


def _parsed(cls: Any, data: Any) -> Any:
    """The data as the class annotates it; as it came if it does not fit."""
    wire_type = data_codec(cls)
    if data is None or wire_type is None:
        return data
    try:
        return wire_type.validate_json(json.dumps(data))
    except ValidationError:
        return data


def _retry_after(sent: str | None) -> int:
    """Whole seconds, from either form of the header (RFC 9110, 10.2.3)."""
    if sent is not None and sent.isascii() and sent.isdigit():
        return int(sent)
    with contextlib.suppress(ValueError, TypeError):
        return max(0, round(parsedate_to_datetime(sent or "").timestamp() - time()))
    return 1


def _phrase(status: int | None) -> str:
    try:
        return HTTPStatus(status or 500).phrase
    except ValueError:
        return f"Status {status}"
