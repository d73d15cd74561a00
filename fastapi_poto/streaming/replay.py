"""What is kept of resumable streams, so that a client that was cut off can go on where it was.

A record `replay:<stream id>` has the fields `owner` and `operation`; `first`, `last` and a field per item number;
`beat`, which changes while the generator lives; `reader`, which changes while a reader in another process lives;
and at the end `end`: empty, or the status and the body of the error.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from secrets import token_hex
from time import monotonic
from typing import Final

from starlette.exceptions import HTTPException

from ..context import CallContext
from ..error_bodies import error_body
from ..errors import Forbidden, PastReplay, PotoError, ShuttingDown, StreamLost, Unavailable, insufficient
from ..stores.base import Store
from .channel import Channel
from .frames import status_of

log = logging.getLogger("fastapi_poto")

_ITEM_ID: Final = re.compile(r"([0-9a-f]{24})-([0-9]{1,15})")
_WINDOW: Final = 64
_FOLLOW_POLL: Final = 0.05
_READER_INTERVAL: Final = 0.5
_KEPT_AFTER_END: Final = 60.0


class Replays:
    """The resumable streams of one store: those that run in this process, and how to follow those of others."""

    def __init__(
        self,
        store: Store,
        *,
        grace: float = 30.0,
        max_items: int = 1000,
        max_bytes: int = 1 << 20,
        cleanup_timeout: float = 10.0,
        beat_interval: float = 1.0,
    ) -> None:
        """`grace`: seconds for which a generator goes on without a reader. `max_*`: what is kept of one stream."""
        self.live: dict[str, Channel] = {}
        self.grace = grace
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.cleanup_timeout = cleanup_timeout
        self.beat_interval = beat_interval
        self._store = store
        self._stored: dict[str, tuple[int, int]] = {}
        """First and last item that the store has, of the streams that run here."""
        self._readers: dict[str, bytes] = {}

    async def resume(self, last_event_id: str, context: CallContext) -> AsyncIterator[bytes]:
        """Frames after an item. Raises `Forbidden` for another user's stream, `PastReplay` if there would be a gap."""
        known = _ITEM_ID.fullmatch(last_event_id)
        if known is None:
            raise PastReplay
        stream, after = known[1], int(known[2])
        channel = self.live.get(stream)
        if channel is not None:
            _check(channel.owner, channel.operation, context)
            if not channel.first - 1 <= after <= channel.last:
                raise PastReplay
            return channel.read(after)
        found = await self._store.read(_record(stream), ["owner", "operation", "first", "last"])
        if found is None or not found.keys() >= {"owner", "operation", "first", "last"}:
            raise PastReplay
        _check(found["owner"].decode(), found["operation"].decode(), context)
        if after < int(found["first"]) - 1 or after > int(found["last"]) + self.max_items:
            raise PastReplay
        return self._follow(stream, after)

    async def _follow(self, stream: str, after: int) -> AsyncIterator[bytes]:
        """The frames of a stream that runs in another process, or has ended."""
        record, token = _record(stream), token_hex(4)
        beat, beat_at, told_at = b"", monotonic(), 0.0
        lost_after = max(3 * self.beat_interval, 1.0)
        while True:
            wanted = [str(number) for number in range(after + 1, after + 1 + _WINDOW)]
            try:
                found = await self._store.read(record, [*wanted, "first", "last", "end", "beat"])
            except Unavailable:
                found = {"beat": beat, "last": b"0"}
            if found is None:
                raise StreamLost
            came = False
            while (frame := found.get(str(after + 1))) is not None:
                after += 1
                came = True
                yield frame
            last = int(found["last"])
            if not came and after < last:
                raise PastReplay
            if after >= last and (end := found.get("end")) is not None:
                if end:
                    raise _recorded(end)
                return
            now = monotonic()
            if found["beat"] != beat:
                beat, beat_at = found["beat"], now
            elif now - beat_at > lost_after:
                raise StreamLost
            if came or now - told_at > _READER_INTERVAL:
                told_at = now
                await self._tell(record, f"{after} {token} {now}")
            if not came:
                await asyncio.sleep(_FOLLOW_POLL)

    async def _tell(self, record: str, reader: str) -> None:
        with suppress(Unavailable):
            await self._store.write(record, {"reader": reader.encode()})

    # What a channel of this process asks for

    async def save(self, channel: Channel) -> None:
        """Write what is new of a stream. A store that fails is tried again with the next items."""
        first, last = self._stored.get(channel.id, (1, 0))
        changes: dict[str, bytes | None] = {
            str(number): frame for number, frame in channel.frames.items() if number > last
        }
        changes |= dict.fromkeys(map(str, range(first, min(channel.first, last + 1))))
        changes |= {
            "first": b"%d" % channel.first,
            "last": b"%d" % channel.last,
            "beat": str(monotonic()).encode(),
            "owner": channel.owner.encode(),
            "operation": channel.operation.encode(),
        }
        if channel.ended:
            error = StreamLost() if isinstance(channel.error, ShuttingDown) else channel.error
            changes["end"] = b"" if error is None else b"%d %b" % (status_of(error), error_body(error))
        stored = (channel.first, channel.last)
        try:
            await self._store.write(
                _record(channel.id), changes, create=True, expires_in=self.grace + _KEPT_AFTER_END
            )  # fmt: skip
        except Exception as error:  # who reads the stream here does not suffer for the store
            log.warning("%s: its items could not be stored: %s", channel.operation, error)
        else:
            self._stored[channel.id] = stored
        if channel.ended:
            self._stored.pop(channel.id, None)
            self._readers.pop(channel.id, None)

    async def remote_reader(self, channel: Channel) -> int | None:
        """Up to which item a reader in another process has come since it was last asked; None without one."""
        try:
            found = await self._store.read(_record(channel.id), ["reader"])
        except Exception:
            return None
        reader = (found or {}).get("reader")
        if reader is None or reader == self._readers.get(channel.id):
            return None
        self._readers[channel.id] = reader
        return int(reader.split()[0])


def _record(stream: str) -> str:
    return f"replay:{stream}"


def _check(owner: str, operation: str, context: CallContext) -> None:
    user = context.user.id if context.user is not None else ""
    if owner and owner != user:
        raise Forbidden("The stream is another user's", headers=insufficient())
    if operation != context.operation:
        raise PastReplay


def _recorded(end: bytes) -> HTTPException:
    """The error with which a stream ended."""
    status, _, body = end.partition(b" ")
    payload = json.loads(body)
    if "code" not in payload:
        return HTTPException(int(status), detail=payload["detail"])
    return PotoError.received(status=int(status), **payload)
