"""The streams that are running: how many there may be, and how they are found, followed and stopped."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from secrets import token_hex
from time import monotonic, time
from typing import Final

from pydantic import FiniteFloat
from starlette.types import Scope

from ..context import CallContext
from ..errors import NotFound, PastReplay, Unavailable
from ..settings import Settings
from ..stores import records
from ..stores.base import Store
from ..stores.log import DAY, Entry
from ..stores.per_loop import PerLoop
from ..users import User
from .limits import Limit
from .local_streams import LocalStreams
from .remote_stream import read_remote
from .stream_records import ITEM_ID, StreamHead, Ticket
from .tails import NOW

_KEY_PATIENCE: Final = 2.0
_STOP_PATIENCE: Final = 0.5
_RESUME_PAUSES: Final = (0.0, 0.05, 0.1, 0.2, 0.4)
"""A reader may come back, to another process, before its first items have been stored: seconds between looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStream:
    """A stream that runs: it can be followed and stopped."""

    id: str
    operation: str
    """`Module.method`."""
    key: str
    """By which another call finds it: `@rpc(key="chat:{chat_id}")`; empty without one."""
    since: FiniteFloat
    """Seconds since 1970."""
    readers: int
    """How many read it, on all servers; without one it goes on for a while."""


class Streams:
    """The resumable streams of one store, in every process that uses it: `poto.streams`."""

    def __init__(self, store: Store, settings: Settings, *, address_of: Callable[[Scope], str]) -> None:
        self.has_routes = False
        """Whether a router serves `/streams`."""
        self._store = store
        what = "resumable streams running: stop one of them, or wait for its end"
        self._limit = Limit("streams", what, settings.streams_per_user, settings.streams_per_address, address_of)
        self._local = PerLoop(lambda: LocalStreams(store, settings))

    @property
    def local(self) -> LocalStreams:
        """Those of the running event loop."""
        return self._local.get()

    async def list(self, user: str) -> "list[RunningStream]":
        """The running streams of a user."""
        leases, running = self.local.leases, []
        for stream, value in (await leases.living(records.open_streams("streams", user))).items():
            head = StreamHead.decode(value)
            elsewhere = len(await leases.living(records.readers(stream)))
            running.append(
                RunningStream(
                    id=stream,
                    operation=head.operation,
                    key=head.key,
                    since=head.since,
                    readers=head.readers + elsewhere,
                )
            )
        return running

    async def stop(self, stream: str, *, context: CallContext | None = None) -> None:
        """Close a stream's generator, wherever it runs; its readers see a good end. One that has ended stays so.

        Raises `NotFound` for an id that is unknown or forgotten, `Forbidden` if the stream is not that of `context`'s
        caller, where one is given.
        """
        head = await self._head(stream)
        if head is None:
            raise NotFound("There is no such stream")
        if context is not None:
            head.check(context.user)
        writer = self.local.live.get(stream)
        if writer is not None:
            writer.stop()
            if await writer.finished(within=_STOP_PATIENCE):
                return  # it stores its last items and its end itself
        await self.local.end(stream, b"")

    async def forget(self, user: str) -> None:
        """Stop the streams of a user who is gone for good, and leave no record of them."""
        for one in await self.list(user):
            await self.stop(one.id)
            await self._store.delete(records.running_stream(user, one.operation, one.key))
        for kind in ("streams", "subscriptions"):
            await self._store.delete(records.open_streams(kind, user))

    async def follow(self, stream: str, context: CallContext, *, after: int = 0) -> AsyncIterator[bytes]:
        """A stream's frames after an item, whatever its operation. Raises `NotFound`, `Forbidden`."""
        head = await self._head(stream)
        if head is None:
            raise NotFound("There is no such stream")
        head.check(context.user)
        return await self._read(stream, head, after)

    async def resume(self, last_event_id: str, context: CallContext) -> AsyncIterator[bytes]:
        """Frames after an item. Raises `Forbidden` for another user's stream, `PastReplay` if there would be a gap."""
        known = ITEM_ID.fullmatch(last_event_id)
        if known is None:
            raise PastReplay
        head = None
        for pause in _RESUME_PAUSES:
            await asyncio.sleep(pause)
            head = await self._head(known[1])
            if head is not None:
                break
        if head is None:
            raise PastReplay
        head.check(context.user)
        if head.operation != context.operation:
            raise PastReplay
        return await self._read(known[1], head, int(known[2]))

    async def _head(self, stream: str) -> StreamHead | None:
        return (await self._look(stream))[0]

    async def _look(self, stream: str) -> tuple[StreamHead | None, bool]:
        """What a stream is about, None if it is not known; and whether it has ended."""
        writer = self.local.live.get(stream)
        if writer is not None:
            return writer.head, writer.ended
        key = records.stream(stream)
        found = (await self._store.log.read({key: NOW}, begin=False)).get(key)
        if found is None or found.head is None:
            return None, False
        return StreamHead.decode(found.head), found.end is not None

    async def _read(self, stream: str, head: StreamHead, after: int) -> AsyncIterator[bytes]:
        writer = self.local.live.get(stream)
        if writer is not None:
            if not writer.first - 1 <= after <= writer.last:
                raise PastReplay
            return writer.read(after)
        return read_remote(self.local, stream, head, after)

    # Beginning one

    async def admit(self, context: CallContext, key: str = "") -> AsyncIterator[bytes] | None:
        """Make room for a stream of this call; or the frames of the one that runs under the same key.

        Raises `TooManyRequests`, which says whose limit it is.
        """
        local, stream, user = self.local, token_hex(12), context.user
        head = StreamHead(
            owner="" if user is None else user.id,
            roles=[] if user is None else sorted(user.roles),
            operation=context.operation,
            key=key,
            since=time(),
            process=local.leases.process,
        )
        async with AsyncExitStack() as taken:
            # Strangers are not one user: each has their own, whatever the key.
            if key and user is not None and (frames := await self._find(stream, head, user, taken)) is not None:
                return frames
            await self._limit.take(local.leases, context, stream, taken, head.encode())
            context.ticket = Ticket(id=stream, head=head, taken=taken.pop_all())
        return None

    async def _find(
        self, stream: str, head: StreamHead, user: User, taken: AsyncExitStack
    ) -> AsyncIterator[bytes] | None:
        """The stream that runs under a key, or None: then the key is this one's, until `taken` is closed."""
        local = self.local
        record = records.running_stream(head.owner, head.operation, head.key)
        own = f"{stream} {head.process}".encode()
        began = monotonic()
        while True:
            found = (await self._store.read(record, ["stream"]) or {}).get("stream")
            if found is not None:
                other, _, process = found.decode().partition(" ")
                running, has_ended = await self._look(other)
                is_alive = await local.leases.is_alive(process)
                if running is not None and is_alive and not has_ended:
                    running.check(user)
                    return await self._read(other, running, 0)
                if running is None and is_alive and monotonic() - began < _KEY_PATIENCE:
                    await asyncio.sleep(0.02)  # it has been claimed, and nobody can see it yet
                    continue
            if await self._store.swap(record, "stream", found, own, create=True, expires_in=DAY):
                taken.push_async_callback(self._free, record, own)
                await local.tails.append(Entry(key=records.stream(stream), head=head.encode()))
                return None

    async def _free(self, record: str, own: bytes) -> None:
        with suppress(Unavailable):  # then the next call finds that the stream has ended
            await self._store.swap(record, "stream", own, None, expires_in=0.001)

    async def close(self) -> None:
        """Let the streams of this loop end, and store how."""
        local = self._local.pop()
        if local is not None:
            await local.close()
