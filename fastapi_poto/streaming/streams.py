"""The streams that are running: how many there may be, and how they are found, followed and stopped."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, time
from typing import Final

from starlette.types import Scope

from ..context import CallContext
from ..errors import Forbidden, NotFound, PastReplay, TooLarge, TooManyRequests, Unavailable, insufficient
from ..stores.base import Store
from ..stores.log import DAY, Entry
from ..stores.per_loop import PerLoop
from .local_streams import LocalStreams
from .remote_stream import RemoteStream
from .stream_records import ITEM_ID, StreamHead, new_stream_id, stream_key
from .tails import NOW

_KEY_PATIENCE: Final = 2.0
_STOP_PATIENCE: Final = 0.5
_RESUME_PAUSES: Final = (0.0, 0.05, 0.1, 0.2, 0.4)
"""A reader may come back, to another process, before its first items have been stored: seconds between looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStream:
    """A resumable stream whose generator runs, in whatever process."""

    id: str
    operation: str
    """`Module.method`."""
    key: str
    """By which another call finds it: `@rpc(key="chat:{chat_id}")`; empty without one."""
    since: float
    """Seconds since 1970."""


class Ticket:
    """The room that one stream takes among those of its user and address."""

    def __init__(self, local: LocalStreams, stream: str, key: str) -> None:
        self.stream = stream
        self.key = key
        self._local = local
        self._records: list[str] = []
        self._claim: tuple[str, bytes] | None = None

    async def take(self, record: str, info: bytes, most: int | None, whose: str) -> None:
        try:
            await self._local.leases.hold(record, self.stream, info, most=most)
        except TooLarge:
            raise TooManyRequests(
                f"{whose} has {most} resumable streams running: stop one of them, or wait for its end", retry_after=5
            ) from None
        self._records.append(record)

    def claimed(self, record: str, value: bytes) -> None:
        """The stream is found by a key, until it ends."""
        self._claim = (record, value)

    async def give_back(self) -> None:
        """The stream has ended, or never began."""
        records, self._records = self._records, []
        claim, self._claim = self._claim, None
        for record in records:
            await self._local.leases.release(record, self.stream)
        if claim is not None:
            with suppress(Unavailable):  # then the next call finds that the stream has ended
                await self._local.store.swap(claim[0], "stream", claim[1], None)


class Streams:
    """The resumable streams of one store, in every process that uses it: `poto.streams`."""

    def __init__(
        self,
        store: Store,
        *,
        grace: float = 30.0,
        max_items: int = 1000,
        max_bytes: int = 1 << 20,
        cleanup_timeout: float = 10.0,
        recheck_interval: float = 15.0,
        per_user: int | None = 8,
        per_address: int | None = 64,
        most_detached: int | None = 200,
        address_of: Callable[[Scope], str] = lambda scope: "unknown",
    ) -> None:
        """`grace`: seconds for which a generator goes on without a reader. `max_*`: what is kept of one stream."""
        self.has_routes = False
        """Whether a router serves `/streams`."""
        self._store = store
        self._per_user = per_user
        self._per_address = per_address
        self._address_of = address_of
        self._local = PerLoop(
            lambda: LocalStreams(
                store,
                grace=grace,
                max_items=max_items,
                max_bytes=max_bytes,
                cleanup_timeout=cleanup_timeout,
                recheck_interval=recheck_interval,
                most_detached=most_detached,
            )
        )

    @property
    def local(self) -> LocalStreams:
        """Those of the running event loop."""
        return self._local.get()

    async def list(self, user: str) -> "list[RunningStream]":
        """The running streams of a user."""
        found = await self.local.leases.living(f"streams:{user}")
        return [RunningStream(id=stream, **json.loads(value)) for stream, value in found.items()]

    async def stop(self, stream: str, *, user: str | None = None) -> None:
        """Close a stream's generator, wherever it runs; its readers see a good end. One that has ended stays so.

        Raises `NotFound` for an id that is unknown or forgotten, `Forbidden` if the stream belongs to another user
        than `user`, where one is given.
        """
        head = await self._head(stream)
        if head is None:
            raise NotFound("There is no such stream")
        if user is not None:
            _check_owner(head, user)
        writer = self.local.live.get(stream)
        if writer is not None:
            writer.stop()
            if await writer.finished(within=_STOP_PATIENCE):
                return  # it stores its last items and its end itself
        await self.local.end(stream, b"")

    async def follow(self, stream: str, context: CallContext, *, after: int = 0) -> AsyncIterator[bytes]:
        """A stream's frames after an item, whatever its operation. Raises `NotFound`, `Forbidden`."""
        head = await self._head(stream)
        if head is None:
            raise NotFound("There is no such stream")
        _check_owner(head, _user_of(context))
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
        _check_owner(head, _user_of(context))
        if head.operation != context.operation:
            raise PastReplay
        return await self._read(known[1], head, int(known[2]))

    async def _head(self, stream: str) -> StreamHead | None:
        return (await self._look(stream))[0]

    async def _look(self, stream: str) -> tuple[StreamHead | None, bool]:
        """What a stream is about, None if it is not known; and whether it has ended."""
        writer = self.local.live.get(stream)
        if writer is not None:
            return writer.head(self.local.leases.process), writer.ended
        key = stream_key(stream)
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
        remote = RemoteStream(self.local, stream, head, after)
        await remote.begin()
        return remote

    # Beginning one

    async def admit(self, context: CallContext, key: str = "") -> AsyncIterator[bytes] | None:
        """Make room for a stream of this call; or the frames of the one that runs under the same key.

        Raises `TooManyRequests`, which says whose limit it is.
        """
        user, local = context.user, self.local
        ticket = Ticket(local, new_stream_id(), key)
        try:
            if key and (frames := await self._find(ticket, context)) is not None:
                return frames
            info = json.dumps({"operation": context.operation, "key": key, "since": time()}).encode()
            if user is not None:
                await ticket.take(f"streams:{user.id}", info, self._per_user, "This user")
            if user is None or user.visitor:
                address = self._address_of(context.scope)
                await ticket.take(f"streams-at:{address}", info, self._per_address, "This address")
        except BaseException:
            await ticket.give_back()
            raise
        context.ticket = ticket
        return None

    async def _find(self, ticket: Ticket, context: CallContext) -> AsyncIterator[bytes] | None:
        """The stream that runs under a key, or None: then the key is this ticket's."""
        local, user = self.local, _user_of(context)
        record = f"stream-key:{user}:{context.operation}:{ticket.key}"
        own = f"{ticket.stream} {local.leases.process}".encode()
        began = monotonic()
        while True:
            found = (await self._store.read(record, ["stream"]) or {}).get("stream")
            if found is not None:
                stream, _, process = found.decode().partition(" ")
                head, has_ended = await self._look(stream)
                is_alive = await local.leases.is_alive(process)
                if head is not None and is_alive and not has_ended:
                    _check_owner(head, user)
                    return await self._read(stream, head, 0)
                if head is None and is_alive and monotonic() - began < _KEY_PATIENCE:
                    await asyncio.sleep(0.02)  # it has been claimed, and nobody can see it yet
                    continue
            if await self._store.swap(record, "stream", found, own, create=True, expires_in=DAY):
                ticket.claimed(record, own)
                head = StreamHead(
                    owner=user, operation=context.operation, key=ticket.key, since=time(), process=local.leases.process
                )
                await local.tails.append(Entry(key=stream_key(ticket.stream), head=head.encode()))
                return None

    async def close(self) -> None:
        """Let the streams of this loop end, and store how."""
        local = self._local.pop()
        if local is not None:
            await local.close()


def _user_of(context: CallContext) -> str:
    return context.user.id if context.user is not None else ""


def _check_owner(head: StreamHead, user: str) -> None:
    if head.owner and head.owner != user:
        raise Forbidden("The stream is another user's", headers=insufficient())
