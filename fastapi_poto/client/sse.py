"""Server-sent events out of bytes: knows no connection. WHATWG HTML, 9.2.6."""

# Our own, and not httpx-sse's: once an id has been seen, that one makes an event of every blank line (the keep-alives
# of many a proxy), and what it reads is text, which would be decoded and encoded again for each item's JSON.

import re
from dataclasses import dataclass
from typing import Final

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event. An id belongs to the event that brought it; it is up to the reader to remember it."""

    data: bytes | None
    """None: there was no data line, as in `event: close`."""
    event: str = "message"
    id: str | None = None


class EventDecoder:
    """Feed it the body's chunks, cut anywhere. What is incomplete at the end was no event."""

    def __init__(self) -> None:
        self.retry_ms: int | None = None
        """How long the server asked to wait before reconnecting."""
        self._pending: list[bytes] = []
        self._after_cr = False
        self._at_start = True
        self._begin()

    def _begin(self) -> None:
        self._data: list[bytes] = []
        self._event = ""
        self._id: str | None = None

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that end in this chunk."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\n" not in chunk and b"\r" not in chunk:
            if chunk:
                self._pending.append(chunk)
            return []
        # A CR at the very end is a line's end already: only the LF that may follow it is not another one.
        self._after_cr = chunk.endswith(b"\r")
        lines = _LINE_END.split(chunk) if b"\r" in chunk else chunk.split(b"\n")
        if self._pending:
            lines[0] = b"".join([*self._pending, lines[0]])
            self._pending.clear()
        if rest := lines.pop():
            self._pending.append(rest)
        if self._at_start:
            lines[0] = lines[0].removeprefix(_BOM)
            self._at_start = False
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit():
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> ServerEvent | None:
        data, event, id_ = self._data, self._event, self._id
        self._begin()
        # A browser drops what has no data. Ours ends with such an event, so a name is enough; an id is not.
        if not data and not event:
            return None
        return ServerEvent(b"\n".join(data) if data else None, event or "message", id_)
