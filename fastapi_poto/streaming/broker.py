"""Publishing and subscribing, for `Poto` and for the code of calls."""

from collections.abc import AsyncIterator, Callable
from secrets import token_hex
from typing import Any, Final, TypeVar

from starlette.types import Scope

from ..context import CallContext
from ..errors import TooLarge, TooManyRequests
from ..stores.per_loop import PerLoop
from .frames import Event, named_frame
from .presence import Member, Presence, PresenceChange
from .streams import Streams
from .topics import After, Channel, Policy, Subscription

T = TypeVar("T")

_OPEN: Final = b"event: open\nid: %b\n\n"


class Broker:
    """The topics of one store, in every process that uses it."""

    def __init__(
        self,
        streams: Streams,
        *,
        per_user: int | None,
        per_address: int | None,
        address_of: Callable[[Scope], str],
    ) -> None:
        self._streams = streams
        self._per_user = per_user
        self._per_address = per_address
        self._address_of = address_of
        self._presence = PerLoop(lambda: Presence(streams.local))

    async def publish(self, channel: Channel[T], data: T) -> str:
        """Say something to whoever listens to a channel, now and for as long as it is kept; gives the event's id.

        Raises `TypeError` for data that is not of the topic's type, `TooLarge` past 64 KiB, and `Unavailable`, after
        which the event may have been published or not.
        """
        done = await self._streams.local.tails.append(channel.entry(data))
        return f"{done.last:016d}" if done is not None else ""

    async def subscribe(
        self, channels: tuple[Channel[Any], ...], after: After, policy: Policy
    ) -> AsyncIterator[Event[Any]]:
        """The events of some channels, outside a call."""
        subscription = Subscription(self._streams.local.tails, channels, after, policy)
        try:
            async for event in subscription:
                yield event
        finally:
            await subscription.aclose()

    async def subscribe_in(
        self, context: CallContext, channels: tuple[Channel[Any], ...], after: After, policy: Policy, presence: bool
    ) -> AsyncIterator[Event[Any]]:
        """The same within a call, which goes on where its client lost it, and counts for its user."""
        sent = context.headers.get(b"last-event-id", b"").decode("latin-1")
        emit = context.emit
        subscription = Subscription(
            self._streams.local.tails,
            channels,
            sent or after,
            policy,
            on_begin=None if emit is None else lambda position: emit(_OPEN % position.encode()),
            on_gap=None if emit is None else lambda after: emit(named_frame(b'{"after":"%b"}' % after.encode(), "gap")),
        )
        local, field = self._streams.local, token_hex(8)
        records: list[str] = []
        entered: list[Channel[Any]] = []
        try:
            for record, most, whose in self._limits(context):
                try:
                    await local.leases.hold(record, field, b"", most=most)
                except TooLarge:
                    raise TooManyRequests(
                        f"{whose} has {most} subscriptions open: close one of them", retry_after=5
                    ) from None  # fmt: skip
                records.append(record)
            if presence and context.user is not None:
                for channel in channels:
                    entered.append(channel)
                    await self._presence.get().enter(channel, context.user.id)
            async for event in subscription:
                yield event
        finally:
            await subscription.aclose()
            for channel in entered:
                self._presence.get().leave(channel, context.need_user().id)
            for record in records:
                await local.leases.release(record, field)

    def _limits(self, context: CallContext) -> list[tuple[str, int | None, str]]:
        user = context.user
        limits = [] if user is None else [(f"subscriptions:{user.id}", self._per_user, "This user")]
        if user is None or user.visitor:
            address = self._address_of(context.scope)
            limits.append((f"subscriptions-at:{address}", self._per_address, "This address"))
        return limits

    async def who(self, channel: Channel[Any]) -> list[Member]:
        """The users who subscribe to a channel with `presence=True`, in all processes."""
        return await self._presence.get().who(channel)

    def watch_presence(self, channel: Channel[Any]) -> AsyncIterator[PresenceChange]:
        """Who is there, as so many joins, and from then on who comes and goes."""
        return self._presence.get().watch(channel)

    def close(self) -> None:
        """Let go of what belongs to this loop."""
        presence = self._presence.pop()
        if presence is not None:
            presence.close()
