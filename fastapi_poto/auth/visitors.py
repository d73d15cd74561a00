"""Which visitors have been away for too long."""

import asyncio
from collections.abc import Awaitable, Callable

from ..settings import DAY
from ..stores.base import Store

_LOOK_BACK_DAYS = 120


class Visitors:
    """Notes when visitors were here, by the day, so that nobody has to look at all of them to find the idle ones.

    `visitors:<day>` has a field for each visitor of that day, `visitor:<id>` the last `day` of one.
    """

    def __init__(self, store: Store, *, idle: float, clock: Callable[[], float]) -> None:
        self._store = store
        self._idle = idle
        self._clock = clock
        self._purged_to: int | None = None

    async def note(self, user_id: str) -> None:
        """This visitor signed in or refreshed now."""
        day = int(self._clock() // DAY)
        record = f"visitor:{user_id}"
        if await self._last_day(user_id) < day:
            life = self._idle + (_LOOK_BACK_DAYS + 2) * DAY
            await self._store.write(f"visitors:{day}", {user_id: b""}, create=True, expires_in=life)
            await self._store.write(record, {"day": b"%d" % day}, create=True, expires_in=life)

    async def purge(self, remove: Callable[[str], Awaitable[None]]) -> int:
        """Call `remove` for every visitor who was idle for too long, letting others have their turns; their number."""
        last = int((self._clock() - self._idle) // DAY) - 1
        if last == self._purged_to:
            return 0
        removed = 0
        for day in range(last, last - _LOOK_BACK_DAYS, -1):
            noted = await self._store.read(f"visitors:{day}")
            if noted is None:
                continue
            for user_id in noted:
                if await self._last_day(user_id) <= day:
                    await remove(user_id)
                    await self._store.delete(f"visitor:{user_id}")
                    removed += 1
                await asyncio.sleep(0)  # the memory store never waits
            # Last: who is interrupted begins this day again, and finds those gone whom it removed.
            await self._store.delete(f"visitors:{day}")
        self._purged_to = last
        return removed

    async def _last_day(self, user_id: str) -> int:
        noted = await self._store.read(f"visitor:{user_id}", ("day",))
        day = noted.get("day", b"") if noted else b""
        return int(day) if day.isdigit() else -1
