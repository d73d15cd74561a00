"""What a client may send beside the arguments of a method, and what it gets of a stream, in words."""

from typing import Any, Final

from ..auth.cookies import HEADER
from ..operations import Operation
from .schemas import Schema

HeaderObject = dict[str, Any]


def _header(name: str, description: str, schema: Schema) -> HeaderObject:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


DEADLINE: Final = _header(
    "Poto-Timeout-Ms",
    "How long the caller waits, in milliseconds. After that the call is cancelled, and answered with 504.",
    {"type": "integer", "minimum": 1, "maximum": 9_999_999_999},
)
LAST_EVENT_ID: Final = _header(
    "Last-Event-ID",
    "The id of the last event that arrived, to go on after it. With `~end` the answer is 204.",
    {"type": "string"},
)
COOKIE_MODE: Final = _header(
    HEADER,
    "For a page that signs in by cookies: wherever it writes, this header shows that the request is its own.",
    {"type": "string", "enum": ["cookie"]},
)


def headers_of(operation: Operation, *, has_cookies: bool) -> list[HeaderObject]:
    """The headers that a client may add to a call."""
    reconnects = operation.kind == "stream" and (operation.resumable or operation.verb == "GET")
    found = [(True, DEADLINE), (reconnects, LAST_EVENT_ID), (has_cookies and operation.verb != "GET", COOKIE_MODE)]
    return [header for applies, header in found if applies]


def add_headers(shown: dict[str, Any], headers: list[HeaderObject]) -> None:
    """Add those that the operation does not declare itself."""
    parameters: list[HeaderObject] = shown.setdefault("parameters", [])
    declared = {one["name"].lower() for one in parameters if one["in"] == "header"}
    parameters += [header for header in headers if header["name"].lower() not in declared]
    if not parameters:
        del shown["parameters"]


def stream_words(operation: Operation | None) -> str:
    """What is to be known of a stream beyond its schema; None: of one that is followed, whatever its operation."""
    events = "some" if operation is None else operation.events
    names = {"all": "have names", "some": "may have names", "none": "have no name"}[events]
    text = (
        f"Server-sent events: the `data` of each is an item, as JSON. Events {names}. `event: close` ends a stream "
        'that is complete, `event: error` one that failed, with `{"$error": …}`; without either it was cut off.'
    )
    if operation is None or operation.resumable:
        text += " Every event has an id: send the last one as `Last-Event-ID` to go on where you were."
    if operation is not None:
        if operation.resumable:
            text += (
                " The header `Content-Location`, if there is one, is where it is followed (GET) and stopped (DELETE)."
            )
        text += " With `Accept: application/x-ndjson` the items are lines of JSON."
    return f"{text} A page that waits for whole responses shows a stream when it has ended."
