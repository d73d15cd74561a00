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

from ..errors import Unavailable
from ..stores.log import Entry
from .local_streams import LocalStreams
from .tails import NOW
from .topics import Channel

log = logging.getLogger("fastapi_poto")

LEAVE_SECONDS: Final = 5.0
"""So long a user who has left may come back, as a page that is loaded again does, before anybody is told."""
_SWEEP_SECONDS: Final = 1.5


@dataclass(frozen=True, slots=True)
class Member:
    """A user who listens to a channel."""

    user: str
    since: float
    """Seconds since 1970, of the oldest of the user's connections that are open."""


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """Somebody came to a channel, or left it."""

    kind: Literal["join", "leave"]
    user: str


class Presence:
    """What one event loop knows of who is on its channels."""

    def __init__(self, local: LocalStreams, *, leave_after: float = LEAVE_SECONDS) -> None:
        self._local = local
        self._leave_after = leave_after
        self._connections: dict[tuple[str, str], int] = {}
        self._leaving: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._swept_at: dict[str, float] = {}

    async def enter(self, channel: Channel[Any], user: str) -> None:
        """One more connection of a user."""
        place = (channel.key, user)
        self._connections[place] = self._connections.get(place, 0) + 1
        leaving = self._leaving.pop(place, None)
        if leaving is not None:
            leaving.cancel()
        elif self._connections[place] == 1:
            leases, record = self._local.leases, _record(channel.key)
            await leases.hold(record, f"{user} {leases.process}", str(time()).encode())
            if sum(one.user == user for one in await self._entries(channel)) == 1:
                await self._tell(channel, "join", user)

    def leave(self, channel: Channel[Any], user: str) -> None:
        """One connection less; who does not come back has left."""
        place = (channel.key, user)
        self._connections[place] -= 1
        if not self._connections[place]:
            self._leaving[place] = asyncio.get_running_loop().create_task(
                self._leave(channel, user), context=Context()
            )  # fmt: skip

    async def _leave(self, channel: Channel[Any], user: str) -> None:
        place = (channel.key, user)
        await asyncio.sleep(self._leave_after)
        del self._connections[place], self._leaving[place]
        try:
            leases = self._local.leases
            await leases.release(_record(channel.key), f"{user} {leases.process}")
            if not any(one.user == user for one in await self._entries(channel)):
                await self._tell(channel, "leave", user)
        except Unavailable as error:
            log.warning("Nobody could be told that a user left %r: %s", channel, error)

    async def who(self, channel: Channel[Any]) -> list[Member]:
        """The users on a channel, in all processes."""
        oldest: dict[str, Member] = {}
        for member in await self._entries(channel):
            known = oldest.get(member.user)
            if known is None or member.since < known.since:
                oldest[member.user] = member
        return list(oldest.values())

    async def _entries(self, channel: Channel[Any]) -> list[Member]:
        """A member for each process that a user is connected to."""
        found = await self._local.leases.living(_record(channel.key))
        return [Member(field.rpartition(" ")[0], float(since)) for field, since in found.items()]

    async def watch(self, channel: Channel[Any]) -> AsyncIterator[PresenceChange]:
        """Who is there, as so many joins, and from then on who comes and goes."""
        reader = self._local.tails.reader(_record(channel.key))
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
                    if change.kind == "join" and change.user not in present:
                        present.add(change.user)
                        yield change
                    elif change.kind == "leave" and change.user in present and not await self._is_here(channel, change):
                        present.discard(change.user)
                        yield change
        finally:
            reader.close()

    async def _is_here(self, channel: Channel[Any], change: PresenceChange) -> bool:
        # Somebody who left one process and came to another at the same moment.
        return any(member.user == change.user for member in await self.who(channel))

    async def _sweep(self, channel: Channel[Any]) -> None:
        """Tell who has left with a process that is gone: one of all that look does."""
        if monotonic() - self._swept_at.get(channel.key, 0.0) < _SWEEP_SECONDS / 2:
            return
        self._swept_at[channel.key] = monotonic()
        record, store = _record(channel.key), self._local.store
        living = await self._local.leases.living(record)
        for field, value in (await store.read(record) or {}).items():
            if field in living or not await store.swap(record, field, value, None):
                continue
            user = field.rpartition(" ")[0]
            if not any(one.rpartition(" ")[0] == user for one in living):
                await self._tell(channel, "leave", user)

    async def _tell(self, channel: Channel[Any], kind: str, user: str) -> None:
        event = json.dumps({"kind": kind, "user": user}).encode()
        await self._local.tails.append(Entry(key=_record(channel.key), events=[event], life=60))

    def close(self) -> None:
        for leaving in self._leaving.values():
            leaving.cancel()


def _record(key: str) -> str:
    return f"presence:{key}"
