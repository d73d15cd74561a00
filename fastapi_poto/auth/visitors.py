"""Which visitors have been away for too long."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from zlib import crc32

from ..settings import DAY
from ..stores import records
from ..stores.base import Store

_LOOK_BACK_DAYS = 120
_SHARDS = 256
_AT_ONCE = 16

logger = logging.getLogger("fastapi_poto.auth")


class Visitors:
    """Notes when visitors were here, by the day, so that nobody has to look at all of them to find the idle ones.

    `visitor:<id>` has the last `day` of one; `visitors:<day>:<shard>` a field for each visitor of that day in one of
    256 shards, so that no record is too large to be read in one go; `visitor_shards:<day>` a field for each of them.
    """

    def __init__(self, store: Store, *, idle: float, clock: Callable[[], float]) -> None:
        self._store = store
        self._idle = idle
        self._clock = clock
        self._noted_shards: tuple[int, set[int]] = (0, set())
        self._purged_to: int | None = None

    async def note(self, user_id: str) -> None:
        """This visitor signed in or refreshed now."""
        day, last = int(self._clock() // DAY), await self._last_day(user_id)
        if last >= day:
            return
        life = self._idle + (_LOOK_BACK_DAYS + 2) * DAY
        shard = _shard(user_id)
        if self._noted_shards[0] != day:
            self._noted_shards = (day, set())
        shards = self._noted_shards[1]
        if shard not in shards:
            await self._store.write(records.visitor_shards(day), {str(shard): b""}, create=True, expires_in=life)
            shards.add(shard)
        await self._store.write(records.visitors(day, shard), {user_id: b""}, create=True, expires_in=life)
        await self._store.write(records.visitor(user_id), {"day": b"%d" % day}, create=True, expires_in=life)
        await self._store.write(records.visitors(last, shard), {user_id: None})

    async def forget(self, user_id: str) -> None:
        """Leave nothing of somebody who is gone, or who has a name now."""
        await self._store.write(records.visitors(await self._last_day(user_id), _shard(user_id)), {user_id: None})
        await self._store.delete(records.visitor(user_id))

    async def purge(self, remove: Callable[[str], Awaitable[None]]) -> int:
        """Call `remove` for every visitor who was idle for too long, letting others have their turns; their number.

        A day that fails is tried again in the next round, and stops no other.
        """
        last = int((self._clock() - self._idle) // DAY) - 1
        if last == self._purged_to:
            return 0
        removed, failed = 0, False

        async def count(user_id: str) -> None:
            nonlocal removed
            await remove(user_id)
            removed += 1

        for day in range(last, last - _LOOK_BACK_DAYS, -1):
            try:
                await self._purge_day(day, count)
            except Exception:
                failed = True
                logger.warning(
                    "Visitors of day %d could not be removed; the next round tries again", day, exc_info=True
                )
        if not failed:
            self._purged_to = last
        return removed

    async def _purge_day(self, day: int, remove: Callable[[str], Awaitable[None]]) -> None:
        shards = await self._store.read(records.visitor_shards(day))
        for shard in shards or ():
            record = records.visitors(day, shard)
            noted = list(await self._store.read(record) or ())
            for start in range(0, len(noted), _AT_ONCE):
                batch = (self._purge_one(user_id, day, remove) for user_id in noted[start : start + _AT_ONCE])
                results = await asyncio.gather(*batch, return_exceptions=True)
                for result in results:
                    if result is not None:
                        raise result
            # Last: who is interrupted begins this shard again, and finds those gone whom it removed.
            await self._store.delete(record)
        if shards is not None:
            await self._store.delete(records.visitor_shards(day))

    async def _purge_one(self, user_id: str, day: int, remove: Callable[[str], Awaitable[None]]) -> None:
        await asyncio.sleep(0)  # the memory store never waits
        if await self._last_day(user_id) <= day:
            await remove(user_id)
            await self._store.delete(records.visitor(user_id))

    async def _last_day(self, user_id: str) -> int:
        noted = await self._store.read(records.visitor(user_id), ("day",))
        day = noted.get("day", b"") if noted else b""
        return int(day) if day.isdigit() else -1


def _shard(user_id: str) -> int:
    return crc32(user_id.encode(errors="surrogatepass")) % _SHARDS
