"""Two modules that do the same: one keeps what it knows in the class, the module and the process, one does not.

`make suites` and test_module_design.py call both at once from many callers. Every method first waits until all the
callers of a round are in it, which is what an `await` of a database does now and then.
"""

import asyncio
import uuid
from collections import Counter

from fastapi import FastAPI

from fastapi_poto import PotoModule, poto_router

orders: list[str] = []
last_caller: str | None = None


class Meeting:
    """Lets its visitors go when as many are there as said they would come."""

    def __init__(self) -> None:
        self.present: Counter[str] = Counter()
        self.opened: dict[str, asyncio.Event] = {}

    async def __call__(self, name: str, of: int) -> None:
        self.present[name] += 1
        gate = self.opened.setdefault(name, asyncio.Event())
        if self.present[name] >= of:
            gate.set()
        async with asyncio.timeout(10):
            await gate.wait()


meeting = Meeting()


class Shared(PotoModule):
    """What not to do."""

    counts: dict[str, int] = {}
    next_number = 0

    async def count(self, meet: str, of: int) -> int:
        """Read, wait, write: whoever read the same value overwrites it."""
        count = self.counts.get(self.user.id, 0)
        await meeting(meet, of)
        self.counts[self.user.id] = count + 1
        return self.counts[self.user.id]

    async def order(self, meet: str, of: int) -> int:
        """A counter as an id: the same for all who read it before it was written."""
        number = Shared.next_number + 1
        await meeting(meet, of)
        Shared.next_number = number
        orders.append(str(number))
        return number

    async def whoami(self, meet: str, of: int) -> str | None:
        """The caller in a global: whoever came last."""
        global last_caller
        last_caller = self.user.id
        await meeting(meet, of)
        return last_caller

    async def get_count(self) -> int:
        return self.counts.get(self.user.id, 0)


class Apart(PotoModule):
    """The same, as it is right."""

    async def count(self, meet: str, of: int) -> int:
        """One atomic step of the session, which all processes share."""
        await meeting(meet, of)
        return await self.session.increment("count")

    async def order(self, meet: str, of: int) -> str:
        """An id that needs no counter. One that must have no gaps is the database's."""
        number = uuid.uuid4().hex
        await meeting(meet, of)
        return number

    async def whoami(self, meet: str, of: int) -> str:
        """The caller is this call's."""
        await meeting(meet, of)
        return self.user.id

    async def get_count(self) -> int:
        count: int = await self.session.get("count", 0)
        return count


def make_app() -> FastAPI:
    app = FastAPI()
    app.include_router(poto_router(Shared, Apart))
    return app
