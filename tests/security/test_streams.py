"""Streams that one caller opens and leaves, and what others feel of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
from fastapi import FastAPI

from fastapi_poto import Poto, PotoModule, poto_router, rpc
from fastapi_poto.stores import MemoryStore
from fastapi_poto.testing import serve
from tests.secret import SECRET


class Counting(MemoryStore):
    """Counts what is asked of it."""

    operations = 0

    async def read(self, record: str, fields: Any = None) -> dict[str, bytes] | None:
        self.operations += 1
        return await super().read(record, fields)

    async def write(self, record: str, changes: Mapping[str, bytes | None], **options: Any) -> bool:
        self.operations += 1
        return await super().write(record, changes, **options)


class Slow(PotoModule):
    @rpc(resumable=True, first_item_timeout=0.01)
    async def get_answer(self) -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(60)


def test_35_abandoned_streams() -> None:
    """A visitor who opens and leaves 40 streams has eight; while they wait for a reader they cost the store nothing."""
    store = Counting()
    app = FastAPI()
    app.include_router(poto_router(Slow, poto=Poto(SECRET, store=store)))
    with serve(app) as live:
        pair = httpx.post(f"{live.url}/auth/visitor").json()
        headers = {"Authorization": f"Bearer {pair['access_token']}"}
        statuses = []
        for _ in range(40):
            with httpx.stream("GET", f"{live.url}/Slow/answer", headers=headers) as response:
                statuses.append(response.status_code)
                if response.status_code == 200:
                    next(response.iter_bytes())
        assert sorted(statuses) == [200] * 8 + [429] * 32
        time.sleep(0.3)
        before = store.operations
        time.sleep(2.1)
        assert store.operations - before <= 2, "one lease of the process is renewed"
