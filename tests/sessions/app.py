"""What the processes of the tests serve: sessions of the store that POTO_STORE names."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI

from fastapi_poto import Poto, PotoModule, poto_router


class Box(PotoModule):
    """One user's things."""

    async def put(self, key: str, value: int) -> None:
        await self.session.set(key, value)

    async def count(self) -> int:
        return await self.session.increment("count")

    async def grow(self) -> int:
        grown: int = await self.session.update("grown", lambda value: value + 1, default=0)
        return grown

    async def get_things(self) -> dict[str, int]:
        return await self.session.all()

    async def read_slowly(self, gate: Path) -> dict[str, int]:
        """Read, wait for the gate, note that it was read."""
        things = await self.session.all()
        await pass_gate(gate)
        await self.session.set("reader", len(things))
        return things

    async def write_slowly(self, gate: Path, touch: bool) -> None:
        """Wait for the gate, having used the session or not, and write."""
        if touch:
            await self.session.set("slow", 0)
        await pass_gate(gate)
        await self.session.set("slow", 1)

    async def tick(self, gate: Path) -> AsyncIterator[int]:
        """One item, and another one behind the gate."""
        yield 1
        await pass_gate(gate)
        yield 2

    async def get_process(self) -> int:
        return os.getpid()


async def pass_gate(gate: Path) -> None:
    """Say that one waits, and wait."""
    gate.with_suffix(".waiting").touch()
    while not gate.exists():
        await asyncio.sleep(0.005)


app = FastAPI()
secrets = [os.environ.get("POTO_SECRET", "zB7q-Lm2Xv9TfKc4Wn8RsYd1Hg6PjUa3")]
secrets += os.environ.get("POTO_PREVIOUS_SECRETS", "").split()
poto = Poto(secrets, store=os.environ["POTO_STORE"], session_keys=410, cookies=True)
app.include_router(poto_router(Box, poto=poto))
