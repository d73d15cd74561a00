"""A generator's bytes, chunk by chunk, with nothing added."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from starlette.responses import StreamingResponse

from ..context import CallContext, current_context
from .frames import UNTOUCHED
from .stream import Stream
from .stream_options import StreamOptions

_BUFFERS: Final = 4
"""Bytes come in chunks as large as the buffer of a stream of items: there is room for a few."""


class ByteStream(Stream, StreamingResponse):
    """The answer of a method that streams bytes.

    An exception before the first chunk is raised from the call, before the status line. A later one is raised too,
    and the server cuts the connection: bytes have no other way to say that they are not all.
    """

    def __init__(
        self,
        items: Any,
        *,
        context: CallContext,
        options: StreamOptions,
        media_type: str = "application/octet-stream",
        content_length: int | None = None,
        filename: str | None = None,
        is_active: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        limit = _BUFFERS * options.buffer_bytes
        Stream.__init__(self, items, context=context, frame=_chunk, options=options, is_active=is_active, limit=limit)
        self.body_iterator = items
        self.media_type = media_type
        self.raw_headers = [
            (b"content-type", media_type.encode("latin-1")),
            *UNTOUCHED,
            *_describe(filename, content_length),
        ]

    def tail(self, error: BaseException | None, shaped: bytes | None = None) -> bytes:
        if error is not None:
            raise error
        return b""

    def on_shutdown(self) -> None:
        # One with an end is awaited, as any answer is when a server stops.
        if not any(name == b"content-length" for name, _ in (*self.raw_headers, *self.context.response_headers)):
            super().on_shutdown()


def describe_download(*, filename: str | None = None, content_length: int | None = None) -> None:
    """Say, in a method that streams bytes and before its first chunk, what they will be saved as and how many come."""
    current_context().response_headers.extend(_describe(filename, content_length))


def _describe(filename: str | None, content_length: int | None) -> list[tuple[bytes, bytes]]:
    headers = []
    if content_length is not None:
        headers.append((b"content-length", b"%d" % content_length))
    if filename is not None:
        headers.append((b"content-disposition", _attachment(filename)))
    return headers


def _chunk(item: Any) -> bytes:
    if item.__class__ is bytes:
        return item
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item)
    raise TypeError(f"a stream of bytes yielded {type(item).__name__}")


def _attachment(filename: str) -> bytes:
    """RFC 6266: a plain name as it is, any other in UTF-8."""
    quoted = quote(filename)
    if quoted == filename:
        return f'attachment; filename="{filename}"'.encode("ascii")
    return f"attachment; filename*=utf-8''{quoted}".encode("ascii")
