"""Who is on a channel: records that live as long as their processes, and a log of who came and went."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from time import monotonic, time
from typing import Any, Final, Literal

from pydantic import FiniteFloat

from ..errors import Unavailable
from ..stores import records
from ..stores.log import Entry
from .leases import Leases
from .tails import NOW, Tails
from .topics import Channel

log = logging.getLogger("fastapi_poto")

LEAVE_SECONDS: Final = 5.0
"""So long a user who has left may come back, as a page that is loaded again does, before anybody is told."""
_SWEEP_SECONDS: Final = 1.5


@dataclass(frozen=True, slots=True)
class Member:
    """A user who listens to a channel."""

    user: str
    connections: int
    """Open ones, on all servers; 0 for a moment, of who has left and may come back."""
    since: FiniteFloat
    """Seconds since 1970, of the oldest of the user's connections."""


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """Somebody came to a channel, or left it."""

    kind: Literal["join", "leave"]
    user: str


class Presence:
    """Who is on channels, as of one event loop. A connection is a field `<user> <connection>`: since when."""

    def __init__(self, tails: Tails, leases: Leases, *, leave_after: float = LEAVE_SECONDS) -> None:
        self._tails = tails
        self._leases = leases
        self._leave_after = leave_after
        self._leaving: set[asyncio.Task[None]] = set()
        self._swept_at: dict[str, float] = {}

    async def enter(self, channel: Channel[Any], user: str, connection: str) -> None:
        """One more connection of a user."""
        since = time()
        await self._leases.hold(records.presence(channel.key), f"{user} {connection}", b"%f" % since)
        others = [one for one in await self._connections(channel, user) if one[1] != connection]
        # Of several that come at once, the one that all others see as the oldest tells.
        if all((since, connection) < (one[2], one[1]) for one in others):
            await self._tell(channel, "join", user)

    def leave(self, channel: Channel[Any], user: str, connection: str) -> None:
        """One connection less; who does not come back has left."""
        leaving = asyncio.get_running_loop().create_task(self._leave(channel, user, connection), context=Context())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _leave(self, channel: Channel[Any], user: str, connection: str) -> None:
        record, field = records.presence(channel.key), f"{user} {connection}"
        since = self._leases.held(record, field)
        if since is not None:
            with suppress(Unavailable):
                await self._leases.hold(record, field, since + b" left")
        await asyncio.sleep(self._leave_after)
        try:
            await self._leases.release(record, field)
            if not await self._connections(channel, user):
                await self._tell(channel, "leave", user)
        except Unavailable as error:
            log.warning("Nobody could be told that a user left %r: %s", channel, error)

    async def who(self, channel: Channel[Any]) -> list[Member]:
        """The users on a channel, in all processes."""
        found: dict[str, Member] = {}
        for user, _, since, is_open in await self._connections(channel):
            known = found.get(user, Member(user, 0, since))
            found[user] = Member(user, known.connections + is_open, min(known.since, since))
        return list(found.values())

    async def _connections(self, channel: Channel[Any], user: str | None = None) -> list[tuple[str, str, float, bool]]:
        """User, connection, since when, and whether it is open: of all, or of one user."""
        found = []
        for field, value in (await self._leases.living(records.presence(channel.key))).items():
            whose, _, connection = field.rpartition(" ")
            since, _, left = value.partition(b" ")
            if user in (None, whose):
                found.append((whose, connection, float(since), not left))
        return found

    async def watch(self, channel: Channel[Any]) -> AsyncIterator[PresenceChange]:
        """Who is there, as so many joins, and from then on who comes and goes."""
        reader = self._tails.reader(records.presence(channel.key))
        try:
            await reader.begin(NOW)
            present = {member.user for member in await self.who(channel)}
            for user in present:
                yield PresenceChange("join", user)
            while True:
                try:
                    async with asyncio.timeout(_SWEEP_SECONDS):
                        step = await reader.step()
                except TimeoutError:
                    with suppress(Unavailable):
                        await self._sweep(channel)
                    continue
                for _, data in step.events:
                    change = PresenceChange(**json.loads(data))
                    if change.kind == "join":
                        if change.user not in present:
                            present.add(change.user)
                            yield change
                    # Unless somebody left one process and came to another at the same moment.
                    elif change.user in present and not await self._connections(channel, change.user):
                        present.discard(change.user)
                        yield change
        finally:
            reader.close()

    async def _sweep(self, channel: Channel[Any]) -> None:
        """Tell who has left with a process that is gone: one of all that look does."""
        if monotonic() - self._swept_at.get(channel.key, 0.0) < _SWEEP_SECONDS / 2:
            return
        self._swept_at[channel.key] = monotonic()
        for field in await self._leases.drop_dead(records.presence(channel.key)):
            user = field.rpartition(" ")[0]
            if not await self._connections(channel, user):
                await self._tell(channel, "leave", user)

    async def _tell(self, channel: Channel[Any], kind: str, user: str) -> None:
        event = json.dumps({"kind": kind, "user": user}).encode()
        await self._tails.append(Entry(key=records.presence(channel.key), events=[event], life=60))

    def close(self) -> None:
        for leaving in self._leaving:
            leaving.cancel()
