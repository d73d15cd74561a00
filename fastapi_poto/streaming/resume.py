"""Reconnecting: what a request with `Last-Event-ID` is answered before its method runs."""

from collections.abc import Awaitable, Callable

from starlette.responses import Response

from ..context import CallContext
from .event_stream import ResumedStream
from .frames import END_ID
from .stream import StreamOptions


async def resume(
    context: CallContext, options: StreamOptions, *, is_active: Callable[[], Awaitable[bool]] | None = None
) -> Response | None:
    """The answer to a client that reconnects to a stream; None: the method is to run.

    204 after the end, for any stream. The rest of a resumable stream; raises `Forbidden` for another user's,
    `PastReplay` for one that cannot be resumed from there.
    """
    sent = next((value for name, value in context.scope["headers"] if name == b"last-event-id"), None)
    if not sent:
        return None
    last = sent.decode("latin-1")
    if last == END_ID:
        return Response(status_code=204)
    if options.replays is None:
        return None
    frames = await options.replays.resume(last, context)
    return ResumedStream(frames, context=context, options=options, is_active=is_active)
