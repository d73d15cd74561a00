"""A generator's items as server-sent events, or as lines of JSON."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from sse_starlette import EventSourceResponse

from ..context import CallContext
from ..errors import ShuttingDown
from .frames import CLOSE, LAST_CLOSE, PING, UNTOUCHED, error_frame, error_line, event_frame, line_frame, retry_field
from .stream import Stream
from .stream_options import StreamOptions
from .writer import Writer

EVENT_STREAM: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"

_EVENTS: Final = (b"content-type", b"text/event-stream; charset=utf-8")
_LINES: Final = (b"content-type", NDJSON.encode("ascii"))


class EventStream(Stream, EventSourceResponse):
    """The answer of a method that streams values. `encode` gives an item's JSON.

    An exception before the first item is raised from the call, before the status line: the application's handlers
    answer it. A later one is the stream's last frame. `is_active` is asked from time to time whether the caller's
    credentials stand.
    """

    # An EventSourceResponse, so that middleware and tools that know that class leave the stream alone (they do not
    # compress, buffer or time it). Of its parts, sending, pings, the watch for the client and for the server's end
    # are replaced by `Stream`: its own run the generator in the sender's task and a task each, and cannot hold the
    # status line back for the first item.

    ndjson = False
    media_type = EVENT_STREAM
    keep_alive = PING
    _writer: Writer | None = None
    """Of a resumable stream, what runs its generator."""

    def __init__(
        self,
        items: Any,
        *,
        context: CallContext,
        encode: Callable[[Any], bytes],
        options: StreamOptions,
        is_active: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self.body_iterator = items
        self.raw_headers = [_EVENTS, *UNTOUCHED]
        if options.ndjson or wants_ndjson(context):
            self.ndjson, self.media_type, self.keep_alive = True, NDJSON, b"\n"
            self.raw_headers[0] = _LINES
            frame = line_frame(encode)
        elif options.streams is not None:
            self.resumable = True
            self._writer = Writer(items, context=context, encode=encode, is_active=is_active, ticket=context.ticket)
            context.ticket = None
            items, frame = self._writer.read(0), bytes
            if address := stream_address(self._writer.id, context, options):
                self.raw_headers.append((b"content-location", address))
        else:
            frame = event_frame(encode)
        Stream.__init__(self, items, context=context, frame=frame, options=options, is_active=is_active)
        if not (self.ndjson or self.resumable):
            context.emit = self._pump.put

    def prepare(self) -> None:
        if self._writer is not None:
            self.options.streams.local.begin(self._writer)

    def head(self) -> bytes:
        retry = self.options.retry_ms
        return b"" if retry is None or self.ndjson else retry_field(retry)

    def tail(self, error: BaseException | None, shaped: bytes | None = None) -> bytes:
        if self.ndjson:
            return b"" if error is None else error_line(error, shaped) + b"\n"
        reconnects = self.resumable or self.context.scope.get("method") == "GET"
        if error is None:
            return LAST_CLOSE if reconnects else CLOSE
        # Another server may go on where this one stops.
        return error_frame(error, shaped=shaped, is_last=reconnects and not isinstance(error, ShuttingDown))

    # A resumable stream's generator outlives its connection. What the request brought with it (dependencies, the
    # context) is kept until the generator has been closed: the request's task waits for it.

    def tell_gone(self) -> None:
        if self._writer is None:
            super().tell_gone()

    async def _close(self) -> None:
        await super()._close()
        if self._writer is not None:
            if self._interruption is not None:
                self._writer.stop(self._interruption)
            await self._writer.finished()


class ResumedStream(EventStream):
    """The rest of a stream: `items` are frames that have been made before."""

    resumable = True

    def __init__(
        self,
        items: AsyncIterator[bytes],
        *,
        context: CallContext,
        options: StreamOptions,
        is_active: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self.body_iterator = items
        self.raw_headers = [_EVENTS, *UNTOUCHED]
        Stream.__init__(self, items, context=context, frame=bytes, options=options, is_active=is_active)


def stream_address(stream: str, context: CallContext, options: StreamOptions) -> bytes | None:
    """The path at which a stream is followed and stopped, where its router has `/streams`."""
    if not options.streams.has_routes or "{" in options.path:
        return None
    path: str = context.scope["path"]
    prefix = path.removesuffix(options.path)
    return None if prefix == path else quote(f"{prefix}/streams/{stream}").encode("ascii")


def wants_ndjson(context: CallContext) -> bool:
    """Whether the client asks for lines of JSON."""
    accepted = context.headers.get(b"accept", b"").lower()
    return b"application/x-ndjson" in accepted and b"text/event-stream" not in accepted
