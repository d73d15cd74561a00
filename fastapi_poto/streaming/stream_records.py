"""What is kept of resumable streams (under which names: see `stores.records`).

A stream's log has a frame for each item; its head says whose it is, its end how the generator ended: empty, or the
status and the body of the error.
"""

import json
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final, NamedTuple

from starlette.exceptions import HTTPException

from ..error_bodies import error_body
from ..errors import Forbidden, PotoError, ShuttingDown, StreamLost, insufficient
from ..users import User
from .frames import status_of

ITEM_ID: Final = re.compile(r"([0-9a-f]{24})-([0-9]{1,15})")
_FRAME_ID: Final = re.compile(rb"id: [0-9a-f]{24}-([0-9]+)\n")
KEPT_BYTES: Final = 1 << 20
"""Of the frames of one stream."""
KEPT_AFTER_END: Final = 60.0


class StreamHead(NamedTuple):
    """What a stream is about."""

    owner: str
    """The user who began it; empty: nobody in particular."""
    roles: Sequence[str]
    """Those that its user had: its method may have asked for them."""
    operation: str
    key: str
    since: float
    process: str
    """Whose lease has to be alive for the stream to go on."""
    readers: int = 1
    """How many read in that process, as of when this was written."""

    def check(self, user: User | None) -> None:
        """Raise `Forbidden` for another user than began it, and for the same with fewer roles."""
        if self.owner and (user is None or user.id != self.owner or not user.roles.issuperset(self.roles)):
            raise Forbidden("The stream is another user's, or of more roles", headers=insufficient())

    def encode(self) -> bytes:
        return json.dumps(self._asdict()).encode()

    @classmethod
    def decode(cls, data: bytes) -> "StreamHead":
        return cls(**json.loads(data))


class Ticket(NamedTuple):
    """A stream that may begin."""

    id: str
    head: StreamHead
    taken: AsyncExitStack
    """What counts as this stream's, to be closed with it: its place in the limits, its key."""


def number_of(frame: bytes) -> int:
    """The number of a stored frame's item."""
    found = _FRAME_ID.match(frame)
    return int(found[1]) if found else 0


def recorded_end(error: BaseException | None) -> bytes:
    """The end of a stream's log."""
    if isinstance(error, ShuttingDown):
        error = StreamLost()
    return b"" if error is None else b"%d %b" % (status_of(error), error_body(error))


def recorded_error(end: bytes) -> HTTPException | None:
    """The error with which a stream ended; None if it ended well."""
    if not end:
        return None
    status, _, body = end.partition(b" ")
    payload = json.loads(body)
    if "code" not in payload:
        return HTTPException(int(status), detail=payload["detail"])
    return PotoError.received(status=int(status), **payload)
