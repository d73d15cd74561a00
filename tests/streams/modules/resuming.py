"""Streams that end at a deadline, or that are gone on with."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from fastapi_poto import Event, PotoModule, public, rpc
from tests.streams.modules.items import KIBIBYTE, SoldOut, SoldOutData
from tests.streams.probe import PROBES


@public
class Deadlines(PotoModule):
    async def get_ticks(self, tag: str) -> AsyncIterator[float]:
        try:
            while True:
                yield self.context.remaining or -1.0
                await asyncio.sleep(0.02)
        finally:
            PROBES[tag].note("closed")

    async def get_nothing(self, tag: str) -> AsyncIterator[int]:
        try:
            await asyncio.sleep(60)
            yield 1
        finally:
            PROBES[tag].note("closed")

    def get_sync_ticks(self, tag: str) -> Iterator[int]:
        try:
            while True:
                yield 1
                time.sleep(0.02)
        finally:
            PROBES[tag].note("closed")


@public
class Resuming(PotoModule):
    @rpc(resumable=True)
    async def get_count(self, tag: str, count: int = 10, pause: float = 0.05) -> AsyncIterator[int]:
        probe = PROBES[tag]
        probe.note("started")
        try:
            for number in range(1, count + 1):
                yield number
                probe.note("item")
                await asyncio.sleep(pause)
        finally:
            probe.note("closed")

    @rpc(resumable=True)
    async def get_count_on(self, sign: str, count: int) -> AsyncIterator[int]:
        """One item, and the others as soon as there is a file: in whatever process this runs."""
        yield 1
        while not await asyncio.to_thread(Path(sign).exists):
            await asyncio.sleep(0.01)
        for number in range(2, count + 1):
            yield number

    @rpc(resumable=True)
    async def get_slow_start(self, tag: str) -> AsyncIterator[int]:
        probe = PROBES[tag]
        try:
            probe.note("started")
            await asyncio.sleep(60)
            yield 1
        finally:
            probe.note("closed")

    @rpc(resumable=True)
    async def get_failing(self) -> AsyncIterator[int]:
        yield 1
        raise SoldOut(data=SoldOutData(sku="a"))

    @rpc(resumable=True)
    async def get_failing_early(self) -> AsyncIterator[int]:
        raise SoldOut(data=SoldOutData(sku="a"))
        yield 1

    @rpc(resumable=True)
    async def get_lumps(self) -> AsyncIterator[str]:
        """Items of all sizes; the largest is more than what is kept of a stream."""
        for kibibytes in (80, 80, 80, 80, 3000, 1, 80, 1):
            yield KIBIBYTE * kibibytes

    @rpc(resumable=True)
    def get_sync_count(self, count: int = 5) -> Iterator[int]:
        for number in range(1, count + 1):
            yield number
            time.sleep(0.02)

    @rpc(resumable=True)
    async def get_own_id(self) -> AsyncIterator[Event[int]]:
        yield Event(data=1, id="mine")

    @rpc(resumable=True)
    async def get_other(self) -> AsyncIterator[int]:
        yield 1


class Private(PotoModule):
    @rpc(resumable=True)
    async def get_count(self, count: int = 10) -> AsyncIterator[str]:
        for number in range(1, count + 1):
            yield f"{self.user.id} {number}"
            await asyncio.sleep(0.02)
