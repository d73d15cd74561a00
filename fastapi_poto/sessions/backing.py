"""One user's session in a store: finds it for each operation, and again if it was moved or ended meanwhile."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from ..errors import SessionConflict, TooLarge

if TYPE_CHECKING:
    from .lifecycle import Sessions

SEEN = "~seen"
"""The field with the time of the session's last use."""
_ATTEMPTS = 20


class UserBacking:
    """One user's session in a store. `trusted`: on behalf of the server, not of a sign-in."""

    __slots__ = ("_had_one", "_identity", "_sessions", "_trusted", "_user_id", "value_bytes")

    def __init__(self, sessions: "Sessions", user_id: str, identity: Any, trusted: bool = False) -> None:
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

    def turn(self, key: str) -> AbstractAsyncContextManager[Any]:
        return self._sessions.turn(self._user_id, key)

    async def _find_again(self) -> str | None:
        self._sessions.forget(self._user_id)
        return await self._sessions.find(self._user_id)

    async def _obtain(self) -> str:
        self._sessions.forget(self._user_id)
        return await self._sessions.obtain(self._user_id, self._allowed)

    async def _allowed(self, ended: bool) -> bool:
        if self._trusted:
            return True
        if self._sessions.still_valid is None:
            return not (ended and self._had_one)
        return await self._sessions.still_valid(self._identity)

    def _too_many_keys(self) -> TooLarge:
        return TooLarge(f"A session has at most {self._sessions.max_keys} keys")
