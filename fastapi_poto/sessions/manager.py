"""How a user's session begins, is found, changes its id, and ends.

`owner:<user id>` has one field, `session`, that says where the user's session is:

    <id>           in the record `session:<id>`
    <id>><id>      it is being moved from the first to the second; whoever reads this helps to finish
    !<random>      it was ended; another random one each time, so that who looked before the end can tell

It is only ever changed by compare-and-set. An id is 192 random bits and the time at which the session began.
Clients never see it, nor can they name one.
"""

import logging
import re
import secrets
import time
from asyncio import get_running_loop
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from ..errors import SessionConflict, SessionEnded, TooLarge
from ..settings import DAY
from ..stores.base import Store
from ..stores.wait_queue import WaitQueue
from .session import Caller, Session, SessionStats

logger = logging.getLogger("fastapi_poto.sessions")

_ATTEMPTS = 20
_ENDED_FOR = 3_600.0
_REMEMBERED = 10_000
_LOCK_SECONDS = 0.2


@dataclass(slots=True)
class _Known:
    """Where a user's session was found, and when. Others may move or end it: then the next use says so."""

    id: str
    ends_at: float
    checked_at: float


class SessionManager:
    """The sessions of all users, one each, kept in `store`.

    Times are in seconds by `clock`. A session ends `idle` after it was last used and `absolute` after it began;
    its last use is written at most once in `touch`. `still_valid` is asked, with the caller's identity, before a
    session is made: a call whose sign-in was ended while it ran gets `SessionEnded`.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
        idle: float = 14 * DAY,
        absolute: float = 30 * DAY,
        touch: float = 60.0,
        value_bytes: int = 64 * 1024,
        max_keys: int = 256,
        is_active: Callable[[Any], Awaitable[bool]] | None = None,
    ) -> None:
        self.store = store
        self.is_active = is_active
        self.value_bytes = value_bytes
        self.max_keys = max_keys
        self._clock = clock
        self._idle = idle
        self._absolute = absolute
        self._touch = min(touch, idle / 4)
        self._known: dict[str, _Known] = {}
        self._wait_queues: WeakValueDictionary[tuple[int, str, str], WaitQueue] = WeakValueDictionary()

    def handle(self, caller: Caller) -> Session[Any]:
        """The session of the call's user. Does no I/O."""
        if caller.user is None:
            raise SessionEnded("A session needs a signed-in caller")
        return Session(StoreBackend(self, caller.user.id, caller.identity))

    def of_user(self, user_id: str) -> Session[Any]:
        """The session of a user outside a call: for jobs and administration."""
        return Session(StoreBackend(self, user_id, None, trusted=True))

    async def rotate(self, user_id: str) -> None:
        """Give the user's session, if there is one, another id; its values and its age stay."""
        for _ in range(_ATTEMPTS):
            current = await self._owner(user_id)
            ids = _ids(current)
            if current is None or not ids:
                return
            if len(ids) == 2:
                await self._finish_move(user_id, current)
                continue
            moving = f"{ids[0]}>{_new_id(_began_at(ids[0]))}".encode()
            if await self._set_owner(user_id, current, moving):
                await self._finish_move(user_id, moving)
                self.forget(user_id)
                return
        raise SessionConflict

    async def end(self, user_id: str) -> None:
        """Remove the user's session. End the sign-in first, so that `still_valid` refuses it a new one."""
        self.forget(user_id)
        for _ in range(_ATTEMPTS):
            current = await self._owner(user_id)
            ended = b"!" + secrets.token_hex(8).encode()
            if not await self._set_owner(user_id, current, ended, expires_in=_ENDED_FOR):
                continue
            for session_id in _ids(current):  # of a move: the old one first, or it could still move
                await self.store.delete(f"session:{session_id}")
            return
        raise SessionConflict

    async def stats(self, *, limit: int = 100_000) -> SessionStats:
        """For administrators: reads the names of all sessions, up to `limit`."""
        live = len(await self.store.scan("session:", limit=limit))
        return SessionStats(live=live, complete=live < limit, store=type(self.store).__name__)

    # For the backing

    def forget(self, user_id: str) -> None:
        """Look in the store the next time."""
        self._known.pop(user_id, None)

    async def find(self, user_id: str) -> str | None:
        """The id of the user's session, as last seen; None if there is none."""
        known = self._known.get(user_id)
        if known is not None:
            now = self._clock()
            if now < known.ends_at and 0 <= now - known.checked_at < self._touch:
                return known.id
        return await self._look_up(user_id, await self._owner(user_id))

    async def obtain(self, user_id: str, is_active: Callable[[bool], Awaitable[bool]]) -> str:
        """The id of the user's session, which is made if need be.

        Raises `SessionEnded` if not `allowed`, which is told whether a sign-out ended the last one.
        """
        for _ in range(_ATTEMPTS):
            # In this order: who ends the sign-in and then the session in between makes the swap below fail.
            current = await self._owner(user_id)
            if not await is_active(current is not None and current.startswith(b"!")):
                raise SessionEnded
            found = await self._look_up(user_id, current)
            if found is not None:
                return found
            now = self._clock()
            session_id = _new_id(int(now))
            record = f"session:{session_id}"
            await self.store.write(record, {SEEN: b"%d" % now}, create=True, expires_in=min(self._idle, self._absolute))
            if await self._set_owner(user_id, current, session_id.encode(), expires_in=self._absolute):
                self._remember(user_id, session_id, now)
                return session_id
            await self.store.delete(record)
        raise SessionConflict

    @asynccontextmanager
    async def key_lock(self, user_id: str, key: str) -> AsyncIterator[None]:
        """One update of a key at a time in this process and event loop, as long as the line moves on."""
        name = (id(get_running_loop()), user_id, key)
        wait_queue = self._wait_queues.get(name)
        if wait_queue is None:
            wait_queue = self._wait_queues[name] = WaitQueue(1, _LOCK_SECONDS)
        taken = answered = False
        with suppress(TimeoutError):  # the store may be down: whoever waits in line would be told too late
            await wait_queue.take()
            taken = True
        try:
            yield
            answered = True
        finally:
            if taken:
                wait_queue.give_back(answered=answered)

    # The owner's record

    async def _owner(self, user_id: str) -> bytes | None:
        found = await self.store.read(f"owner:{user_id}", ("session",))
        return None if found is None else found.get("session")

    async def _set_owner(self, user_id: str, old: bytes | None, new: bytes, *, expires_in: float | None = None) -> bool:
        swapped = await self.store.swap(
            f"owner:{user_id}", "session", old, new, create=old is None, expires_in=expires_in
        )
        return bool(swapped)

    async def _finish_move(self, user_id: str, moving: bytes) -> None:
        old, new = _ids(moving)
        await self.store.rename(f"session:{old}", f"session:{new}")
        await self._set_owner(user_id, moving, new.encode())

    async def _look_up(self, user_id: str, current: bytes | None) -> str | None:
        """The live session that the owner's record names; its last use is written if that was long ago."""
        for _ in range(_ATTEMPTS):
            while current is not None and len(_ids(current)) == 2:
                await self._finish_move(user_id, current)
                current = await self._owner(user_id)
            ids = _ids(current)
            if not ids:
                self.forget(user_id)
                return None
            session_id = ids[0]
            if await self._alive(session_id):
                self._remember(user_id, session_id, self._clock())
                return session_id
            # Moved between the two reads?
            before, current = current, await self._owner(user_id)
            if current == before:
                self.forget(user_id)
                return None
        raise SessionConflict

    async def _alive(self, session_id: str) -> bool:
        record = f"session:{session_id}"
        found = await self.store.read(record, (SEEN,))
        if found is None:
            return False
        now, ends_at = self._clock(), _began_at(session_id) + self._absolute
        try:
            seen = int(found.get(SEEN, b""))
        except ValueError:
            logger.warning("A session without a readable time of its last use is treated as expired")
            seen = 0
        if now >= min(seen + self._idle, ends_at):
            await self.store.delete(record)
            return False
        if now - seen >= self._touch:
            return await self.store.write(record, {SEEN: b"%d" % now}, expires_in=min(self._idle, ends_at - now))
        return True

    def _remember(self, user_id: str, session_id: str, now: float) -> None:
        while len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known), ""), None)
        self._known[user_id] = _Known(session_id, _began_at(session_id) + self._absolute, now)


_ID = r"[A-Za-z0-9_-]{1,64}\.[0-9]{1,12}"
_PLACE = re.compile(f"({_ID})(?:>({_ID}))?".encode())


def _ids(owner: bytes | None) -> list[str]:
    """The session that an owner's record names, or the two of a move; none if it was ended, or is unreadable."""
    found = _PLACE.fullmatch(owner) if owner is not None else None
    return [] if found is None else [one.decode() for one in found.groups() if one is not None]


def _new_id(began_at: int) -> str:
    return f"{secrets.token_urlsafe(24)}.{began_at}"


def _began_at(session_id: str) -> int:
    return int(session_id.rpartition(".")[2])


SEEN = "~seen"
"""The field with the time of the session's last use."""
_ATTEMPTS = 20


class StoreBackend:
    """One user's session in a store. `trusted`: on behalf of the server, not of a sign-in."""

    __slots__ = ("_had_one", "_identity", "_sessions", "_trusted", "_user_id", "value_bytes")

    def __init__(self, sessions: "SessionManager", user_id: str, identity: Any, trusted: bool = False) -> None:
        self.value_bytes = sessions.value_bytes
        self._sessions = sessions
        self._user_id = user_id
        self._identity = identity
        self._trusted = trusted
        self._had_one = False

    async def read(self, keys: Sequence[str] | None) -> dict[str, bytes]:
        session_id = await self._sessions.find(self._user_id)
        found = None
        if session_id is not None:
            found = await self._sessions.store.read(f"session:{session_id}", keys)
            if found is None:
                session_id = await self._find_again()
                if session_id is not None:
                    found = await self._sessions.store.read(f"session:{session_id}", keys)
        if found is None:
            return {}
        self._had_one = True
        if keys is None:
            found.pop(SEEN, None)
        return found

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        removes = all(value is None for value in changes.values())
        session_id = await self._sessions.find(self._user_id)
        for _ in range(_ATTEMPTS):
            if session_id is None:
                if removes:
                    return
                session_id = await self._obtain()
            try:
                # One more for the time of the last use.
                done = await self._sessions.store.write(
                    f"session:{session_id}", changes, max_fields=self._sessions.max_keys + 1
                )
            except TooLarge:
                raise self._too_many_keys() from None
            if done:
                self._had_one = True
                return
            session_id = await self._find_again() if removes else await self._obtain()
        raise SessionConflict

    async def add(self, key: str, by: int) -> int:
        session_id = await self._sessions.find(self._user_id) or await self._obtain()
        for _ in range(_ATTEMPTS):
            try:
                total = await self._sessions.store.add(
                    f"session:{session_id}", key, by, max_fields=self._sessions.max_keys + 1
                )
            except TooLarge:
                raise self._too_many_keys() from None
            if total is not None:
                self._had_one = True
                return total
            session_id = await self._obtain()
        raise SessionConflict

    async def swap(self, key: str, old: bytes | None, new: bytes) -> bool:
        session_id = await self._sessions.find(self._user_id) or await self._obtain()
        for _ in range(_ATTEMPTS):
            try:
                swapped = await self._sessions.store.swap(
                    f"session:{session_id}", key, old, new, max_fields=self._sessions.max_keys + 1
                )
            except TooLarge:
                raise self._too_many_keys() from None
            if swapped is not None:
                self._had_one = True
                return swapped
            session_id = await self._obtain()
        raise SessionConflict

    async def clear(self) -> None:
        await self.write(dict.fromkeys(await self.read(None)))

    def key_lock(self, key: str) -> AbstractAsyncContextManager[Any]:
        return self._sessions.key_lock(self._user_id, key)

    async def _find_again(self) -> str | None:
        self._sessions.forget(self._user_id)
        return await self._sessions.find(self._user_id)

    async def _obtain(self) -> str:
        self._sessions.forget(self._user_id)
        return await self._sessions.obtain(self._user_id, self._is_active)

    async def _is_active(self, ended: bool) -> bool:
        if self._trusted:
            return True
        if self._sessions.is_active is None:
            return not (ended and self._had_one)
        return await self._sessions.is_active(self._identity)

    def _too_many_keys(self) -> TooLarge:
        return TooLarge(f"A session has at most {self._sessions.max_keys} keys")
