"""What is there only while its process lives: fields of records, beside one lease record for each process.

A field is `<process> <value>`. Whoever reads leaves out those of processes whose lease has run out.
"""

import asyncio
import logging
from contextlib import suppress
from contextvars import Context
from functools import partial
from secrets import token_hex
from time import monotonic
from typing import Final

from ..errors import TooLarge, Unavailable
from ..stores import records
from ..stores.base import Store
from ..stores.log import DAY

log = logging.getLogger("fastapi_poto")

LEASE_SECONDS: Final = 6.0
RENEW_SECONDS: Final = 2.0
_KNOWN_SECONDS: Final = 1.0
"""So long an answer about another process holds."""
_KEPT: Final = 7 * DAY


class Leases:
    """The fields that one event loop holds, renewed by one write for all of them."""

    def __init__(self, store: Store) -> None:
        self.process = token_hex(8)
        self._lease = records.process(self.process)
        self._store = store
        self._held: dict[tuple[str, str], bytes] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._entering: asyncio.Task[None] | None = None
        self._alive: dict[str, tuple[float, asyncio.Future[dict[str, bytes] | None]]] = {}

    async def hold(self, record: str, field: str, value: bytes, *, most: int | None = None) -> None:
        """Set a field for as long as this process lives. Raises `TooLarge` if the record would have more than `most`.

        Fields of processes that are gone do not count.
        """
        await self._enter()
        # What may have been written is held: whoever lets go removes it.
        own = self._held[record, field] = b"%b %b" % (self.process.encode(), value)
        write = partial(self._store.write, record, {field: own}, create=True, expires_in=_KEPT, max_fields=most)
        try:
            try:
                await write()
            except TooLarge:
                if not await self.drop_dead(record):
                    raise
                await write()
        except TooLarge:
            del self._held[record, field]
            raise

    def held(self, record: str, field: str) -> bytes | None:
        """The value of a field that is held here."""
        own = self._held.get((record, field))
        return None if own is None else own.partition(b" ")[2]

    async def release(self, record: str, field: str) -> None:
        """Remove a field. One that cannot be reached now goes with its record, or when somebody needs its room."""
        if self._held.pop((record, field), None) is not None:
            with suppress(Unavailable):
                await self._store.write(record, {field: None})

    async def living(self, record: str) -> dict[str, bytes]:
        """The values of the fields whose processes live."""
        return {field: value.partition(b" ")[2] for field, value, is_alive in await self._fields(record) if is_alive}

    async def drop_dead(self, record: str) -> list[str]:
        """Remove the fields whose processes are gone, and give those that nobody else removed."""
        dead = [(field, value) for field, value, is_alive in await self._fields(record) if not is_alive]
        done = await asyncio.gather(*(self._store.swap(record, field, value, None) for field, value in dead))
        return [field for (field, _), is_mine in zip(dead, done, strict=True) if is_mine]

    async def _fields(self, record: str) -> list[tuple[str, bytes, bool]]:
        found = await self._store.read(record) or {}
        processes = {value.partition(b" ")[0].decode() for value in found.values()}
        alive = dict(zip(processes, await asyncio.gather(*map(self.is_alive, processes)), strict=True))
        return [(field, value, alive[value.partition(b" ")[0].decode()]) for field, value in found.items()]

    async def is_alive(self, process: str) -> bool:
        """Whether a process lives, as of a second ago. Raises `Unavailable`."""
        if process == self.process:
            return True
        known = self._alive.get(process)
        if known is None or monotonic() - known[0] > _KNOWN_SECONDS:
            if len(self._alive) > 1_000:
                self._alive.clear()
            looking = asyncio.ensure_future(self._store.read(records.process(process), ()))
            known = self._alive[process] = (monotonic(), looking)
        return await asyncio.shield(known[1]) is not None

    # The lease of this process

    async def _enter(self) -> None:
        if self._renewing is None or self._renewing.done():
            if self._entering is None or self._entering.done():
                self._entering = asyncio.get_running_loop().create_task(self._make_lease(), context=Context())
            await asyncio.shield(self._entering)

    async def _make_lease(self) -> None:
        await self._store.write(self._lease, {}, create=True, expires_in=LEASE_SECONDS)
        self._renewing = asyncio.get_running_loop().create_task(self._renew(), context=Context())

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                if not await self._store.write(self._lease, {}, expires_in=LEASE_SECONDS):
                    await self._enter_again()
            except Exception as error:  # a store that is away: the next turn tries again
                log.debug("The lease of this process could not be renewed: %s", error)

    async def _enter_again(self) -> None:
        """This process slept, or the store was away, past its lease: others have taken it for dead."""
        await self._store.write(self._lease, {}, create=True, expires_in=LEASE_SECONDS)
        for (record, field), value in list(self._held.items()):
            await self._store.write(record, {field: value}, create=True, expires_in=_KEPT)

    async def close(self) -> None:
        """Give the lease back: what is still held ends at once."""
        renewing, self._renewing = self._renewing, None
        self._held.clear()
        if renewing is not None:
            renewing.cancel()
            with suppress(Unavailable):
                await self._store.delete(self._lease)
