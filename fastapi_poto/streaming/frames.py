"""What goes over the wire for an item, an error, an end and a keep-alive. Pure: values in, bytes out."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ..error_bodies import error_body

T = TypeVar("T")
U = TypeVar("U")

Encode = Callable[[Any], bytes]
Frame = Callable[[Any], bytes]

ERROR_MEMBER: Final = "$error"

END_ID: Final = "~end"
"""The id of a stream's last frame: a client that reconnects with it is told that there is no more."""

LAST_EVENT_ID: Final = b"last-event-id"

UNTOUCHED: Final = [(b"cache-control", b"no-store, no-transform"), (b"x-accel-buffering", b"no")]
"""Headers that have proxies pass a stream on as it comes."""

# One newline: with two, httpx-sse makes an event of it once an id has been seen.
PING: Final = b": ping\n"

_LF: Final = 10
_CR: Final = 13
"""As numbers: bytes are searched for one eight times as fast as for other bytes."""
_BREAKS_A_LINE: Final = re.compile("[\r\n\0\v\f\x1c-\x1e\x85\u2028\u2029]")
_LINE_BREAK: Final = re.compile(rb"\r\n|\r|\n")
_UNICODE_LINE_BREAKS: Final = [(one.encode(), b"\\u%04x" % ord(one)) for one in "\x85\u2028\u2029"]


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """An item with a name or an id of its own: `yield Event(data=…, event="progress", id="7")`.

    Raises `ValueError` for a name or an id with CR, LF or NUL: what follows would be read as another field.
    """

    data: T
    event: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        for field, value in (("event", self.event), ("id", self.id)):
            if value is not None and _BREAKS_A_LINE.search(value):
                raise ValueError(f"the {field} of a server-sent event must not contain CR, LF or NUL: {value!r}")
        if self.event in ("close", "error", "open", "gap"):
            raise ValueError(f"the event name {self.event!r} is that of a stream's first or last frame, or of a gap")
        if self.id == END_ID:
            raise ValueError(f"the id {END_ID!r} is that of a stream's last frame")

    def map(self, change: Callable[[T], U]) -> "Event[U]":
        """The same event with other data: its name and its id, by which a client resumes, stay."""
        return Event(change(self.data), self.event, self.id)


def event_frame(encode: Encode) -> Frame:
    """A function from items, or `Event`s of items, to frames. `encode` gives an item's JSON."""

    def frame(item: Any) -> bytes:
        if item.__class__ is Event:
            return named_frame(_escaped(encode(item.data)), item.event, item.id)
        data = _escaped(encode(item))
        if _LF in data or _CR in data:
            data = _LINE_BREAK.sub(b"\ndata: ", data)
        return b"data: %b\n\n" % data

    return frame


def named_frame(data: bytes, event: str | None = None, number: str | None = None) -> bytes:
    """One event with whatever fields it has, its id first; newlines in the data are split."""
    fields = b"" if number is None else b"id: %b\n" % number.encode()
    if event is not None:
        fields += b"event: %b\n" % event.encode()
    return b"%bdata: %b\n\n" % (fields, _LINE_BREAK.sub(b"\ndata: ", data))


def _escaped(data: bytes) -> bytes:
    """The same JSON with the line breaks of Unicode escaped.

    To server-sent events they are none, but much that reads lines (httpx, `str.splitlines`) ends one there.
    """
    if not data.isascii():
        for line_break, escape in _UNICODE_LINE_BREAKS:
            data = data.replace(line_break, escape)
    return data


def line_frame(encode: Encode) -> Frame:
    """A function from items to lines of JSON."""

    def frame(item: Any) -> bytes:
        data = _escaped(encode(item.data if item.__class__ is Event else item))
        return b"%b\n" % (_LINE_BREAK.sub(b" ", data) if _LF in data or _CR in data else data)

    return frame


def last_event_id(headers: Mapping[bytes, bytes]) -> str:
    """Behind which event a client wants to go on; empty: from the start."""
    return headers.get(LAST_EVENT_ID, b"").decode("latin-1")


CLOSE: Final = b"event: close\n\n"
"""The end of a stream that ended well. Without data, so that no client takes it for an item."""

# The name of a field alone is a field with an empty value (HTML, 9.2.6): an EventSource tells its page of the event,
# and clients that look for `data:` still see no item.
LAST_CLOSE: Final = b"id: %b\nevent: close\ndata\n\n" % END_ID.encode()
"""The same, for clients that reconnect by themselves."""


def error_frame(error: BaseException, *, shaped: bytes | None = None, is_last: bool = False) -> bytes:
    """The end of a stream that failed; `is_last` adds the id `~end`, for clients that reconnect by themselves.

    `shaped` is the JSON that the application's own exception handler makes of the error.
    """
    return named_frame(error_line(error, shaped), "error", END_ID if is_last else None)


def error_line(error: BaseException, shaped: bytes | None = None) -> bytes:
    """An error among items: under a member that no item has."""
    body = error_body(error) if shaped is None else _LINE_BREAK.sub(b" ", shaped)
    return _escaped(b'{"%b":%b}' % (ERROR_MEMBER.encode(), body))


def retry_field(milliseconds: int) -> bytes:
    """How long a browser waits before it reconnects: a line that joins the frame that follows."""
    return b"retry: %d\n" % milliseconds


def is_told(error: BaseException) -> bool:
    """Whether the caller is told what this error is; any other is a general one that the server logs."""
    return isinstance(error, HTTPException | RequestValidationError)


def status_of(error: BaseException) -> int:
    """The status that the response would have had."""
    if isinstance(error, HTTPException):
        return error.status_code
    return 422 if isinstance(error, RequestValidationError) else 500
