"""What a request for a stream is answered before its method runs: it may have been answered before."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.responses import Response

from ..context import CallContext
from .event_stream import ResumedStream, wants_ndjson
from .frames import END_ID, last_event_id
from .stream_options import StreamOptions


async def resume(
    context: CallContext,
    options: StreamOptions,
    arguments: Mapping[str, Any],
    *,
    is_active: Callable[[], Awaitable[bool]] | None = None,
) -> Response | None:
    """The response to a client that reconnects, or whose stream runs already; None: the method is to run.

    204 after the end, for any stream. Of a resumable method, the rest of the stream, or the one with the same key.
    Raises `Forbidden` for another user's stream, `PastReplay` for one that cannot be resumed from there, and
    `TooManyRequests` if one more would be too many.
    """
    last = last_event_id(context.headers)
    if last == END_ID:
        return Response(status_code=204)
    streams = options.streams
    if streams is None:
        return None
    if last:
        frames = await streams.resume(last, context)
    elif wants_ndjson(context):
        return None
    else:
        frames = await streams.admit(context, "" if options.stream_key is None else options.stream_key(arguments))
    if frames is None:
        return None
    return ResumedStream(frames, context=context, options=options, is_active=is_active)
