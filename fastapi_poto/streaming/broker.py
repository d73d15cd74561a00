"""Publishing and subscribing, for `Poto` and for the code of calls."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from secrets import token_hex
from typing import Any, Final, TypeVar

from starlette.types import Scope

from ..context import CallContext
from ..settings import Settings
from .frames import Event, last_event_id, named_frame
from .limits import Limit
from .presence import Member, PresenceChange
from .streams import Streams
from .topics import After, Channel, Policy, Subscription, checked

T = TypeVar("T")

_OPEN: Final = b"event: open\nid: %b\n\n"


class Broker:
    """The topics of one store, in every process that uses it."""

    def __init__(self, streams: Streams, settings: Settings, *, address_of: Callable[[Scope], str]) -> None:
        self._streams = streams
        most = settings.subscriptions_per_user, settings.subscriptions_per_address
        self._limit = Limit("subscriptions", "subscriptions open: close one of them", *most, address_of)

    async def publish(self, channel: Channel[T], data: T) -> str:
        """Say something to whoever listens to a channel, now and for as long as it is kept; gives the event's id.

        Raises `TypeError` for data that is not of the topic's type, `TooLarge` past 64 KiB, and `Unavailable`, after
        which the event may have been published or not.
        """
        done = await self._streams.local.tails.append(checked(channel).entry(data))
        return f"{done.last:016d}" if done is not None else ""

    async def subscribe(
        self, channels: tuple[Channel[Any], ...], after: After, policy: Policy
    ) -> AsyncIterator[Event[Any]]:
        """The events of some channels, outside a call."""
        async with aclosing(Subscription(self._streams.local.tails, channels, after, policy)) as subscription:
            async for event in subscription:
                yield event

    async def subscribe_in(
        self, context: CallContext, channels: tuple[Channel[Any], ...], after: After, policy: Policy, presence: bool
    ) -> AsyncIterator[Event[Any]]:
        """The same within a call, which goes on where its client lost it, and counts for its user."""
        sent = last_event_id(context.headers)
        emit = context.emit
        subscription = Subscription(
            self._streams.local.tails,
            channels,
            sent or after,
            policy,
            on_begin=None if emit is None else lambda position: emit(_OPEN % position.encode()),
            on_gap=None if emit is None else lambda after: emit(named_frame(b'{"after":"%b"}' % after.encode(), "gap")),
        )
        local, user, connection = self._streams.local, context.user, token_hex(8)
        async with AsyncExitStack() as taken:
            taken.push_async_callback(subscription.aclose)
            await self._limit.take(local.leases, context, connection, taken)
            if presence and user is not None:
                for channel in channels:
                    taken.callback(local.presence.leave, channel, user.id, connection)
                    await local.presence.enter(channel, user.id, connection)
            async for event in subscription:
                yield event

    async def who(self, channel: Channel[Any]) -> list[Member]:
        """The users who subscribe to a channel with `presence=True`, in all processes."""
        return await self._streams.local.presence.who(checked(channel))

    def watch_presence(self, channel: Channel[Any]) -> AsyncIterator[PresenceChange]:
        """Who is there, as so many joins, and from then on who comes and goes."""
        return self._streams.local.presence.watch(checked(channel))
