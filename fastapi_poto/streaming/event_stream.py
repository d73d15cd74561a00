"""A generator's items as server-sent events, or as lines of JSON."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from sse_starlette import EventSourceResponse

from ..context import CallContext
from ..errors import ShuttingDown
from .frames import PING, close_frame, error_body, error_frame, event_frame, line_frame, retry_field
from .options import StreamOptions
from .stream import Stream

EVENT_STREAM: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"

_COMMON: Final = [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
_CLOSE: Final = close_frame()
_LAST_CLOSE: Final = close_frame(is_last=True)


class EventStream(Stream, EventSourceResponse):
    """The answer of a method that streams values. `encode` gives an item's JSON.

    An exception before the first item is raised from the call, before the status line: the application's handlers
    answer it. A later one is the stream's last frame. `still_valid` is asked from time to time whether the caller's
    credentials stand.
    """

    # An EventSourceResponse, so that middleware and tools that know that class leave the stream alone (they do not
    # compress, buffer or time it). Of its parts, sending, pings, the watch for the client and for the server's end
    # are replaced by `Stream`: its own run the generator in the sender's task and a task each, and cannot hold the
    # status line back for the first item.

    def __init__(
        self,
        items: Any,
        *,
        context: CallContext,
        encode: Callable[[Any], bytes],
        options: StreamOptions,
        still_valid: Callable[[], Awaitable[bool]] | None = None,
        status_code: int = 200,
    ) -> None:
        self.ndjson = options.ndjson or _wants_ndjson(context)
        frame = line_frame(encode) if self.ndjson else event_frame(encode)
        Stream.__init__(self, items, context=context, frame=frame, options=options, still_valid=still_valid)
        self.body_iterator = items
        self.status_code = status_code
        self.background = None
        self.media_type = NDJSON if self.ndjson else EVENT_STREAM
        self.keep_alive = b"" if self.ndjson else PING  # type: ignore[misc]
        content_type = (b"content-type", NDJSON.encode() if self.ndjson else b"text/event-stream; charset=utf-8")
        self.raw_headers = [content_type, *_COMMON]

    def head(self) -> bytes:
        retry = self.options.retry_ms
        return b"" if retry is None or self.ndjson else retry_field(retry)

    def tail(self, error: BaseException | None) -> bytes:
        if self.ndjson:
            return b"" if error is None else error_body(error) + b"\n"
        reconnects = self.context.scope.get("method") == "GET"
        if error is None:
            return _LAST_CLOSE if reconnects else _CLOSE
        # Another server may go on where this one stops.
        return error_frame(error, is_last=reconnects and not isinstance(error, ShuttingDown))


def _wants_ndjson(context: CallContext) -> bool:
    for name, value in context.scope["headers"]:
        if name == b"accept":
            return b"application/x-ndjson" in value and b"text/event-stream" not in value
    return False
