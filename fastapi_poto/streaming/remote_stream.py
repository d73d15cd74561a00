"""A resumable stream whose generator runs in another process, or has ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from secrets import token_hex
from typing import Final

from ..errors import PastReplay, StreamLost, Unavailable
from ..stores import records
from ..stores.log import Entry
from .local_streams import LocalStreams
from .stream_records import KEPT_BYTES, StreamHead, number_of, recorded_end, recorded_error
from .tail import Step

_LOOK_SECONDS: Final = 1.5
"""Silence after which it is asked whether the generator's process lives."""


async def read_remote(local: LocalStreams, stream: str, head: StreamHead, after: int) -> AsyncIterator[bytes]:
    """The frames after an item. Raises what the generator raised, `PastReplay` for a gap, and `Unavailable`."""
    reader, token = local.tails.reader(records.stream(stream)), token_hex(4)
    told, untold_bytes = after, 0
    try:
        await reader.begin(0)
        await local.leases.hold(records.readers(stream), token, b"")  # the generator's process learns of a reader
        while True:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    step = await reader.step()
            except TimeoutError:
                step = Step()
                with suppress(Unavailable):  # the next silence asks again
                    if not await local.leases.is_alive(head.process):
                        await local.end(stream, recorded_end(StreamLost()))  # for everybody
            for _, frame in step.events:
                number = number_of(frame)
                if number <= after:
                    continue  # seen, or an append that was tried again and is there twice
                if number != after + 1:
                    raise PastReplay
                after = number
                untold_bytes += len(frame)
                # A generator may wait to hear how far its reader has come; that of a short stream never does.
                if 4 * (after - told) >= local.settings.replay_items or 4 * untold_bytes >= KEPT_BYTES:
                    seen = Entry(records.seen(stream), [b"%d" % after], keep=1, remember=local.kept_after_end)
                    with suppress(Unavailable):  # the next item tries again
                        await local.tails.append(seen)
                        told, untold_bytes = after, 0
                yield frame
            if step.end is not None:
                if (error := recorded_error(step.end)) is not None:
                    raise error
                return
    finally:
        reader.close()
        await local.leases.release(records.readers(stream), token)
