"""An application with open streams, for servers of all kinds; it prints what happens to them."""

import asyncio
from collections.abc import AsyncIterator, Iterator

from fastapi import FastAPI

from fastapi_poto import Poto, PotoModule, poto_router, public, rpc


def say(text: str) -> None:
    print(text, flush=True)


@public
class Ticks(PotoModule):
    async def get_slow(self) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            say("async closed")

    def get_sync(self) -> Iterator[int]:
        try:
            number = 0
            while True:
                yield (number := number + 1)
                import time

                time.sleep(0.02)
        finally:
            say("sync closed")

    async def get_bytes(self) -> AsyncIterator[bytes]:
        try:
            yield b"x"
            await asyncio.sleep(3600)
        finally:
            say("bytes closed")

    @rpc(first_item_timeout=0)
    async def get_pauses(self) -> AsyncIterator[bytes]:
        for number in range(3):
            await asyncio.sleep(0.2)
            yield b"%d" % number


app = FastAPI()
app.include_router(poto_router(Ticks, poto=Poto("Jq8vN2xR5tB7wK9mZ4cH6pL1sD3fG0yA-deployments", ping_interval=0.05)))
