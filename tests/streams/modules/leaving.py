"""Streams whose clients leave, and those with little patience."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends

from fastapi_poto import PotoModule, public
from tests.streams.modules.items import KIBIBYTE
from tests.streams.probe import PROBES

OPEN: list[str] = []
"""Generators that are open: what a shutdown must not find."""


@public
class Leaving(PotoModule):
    """Generators whose clients leave. Each notes when its `finally` has run, an await included."""

    async def get_long_await(self, tag: str) -> AsyncIterator[int]:
        probe = PROBES[tag]
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.005)
            probe.note("cancelled" if self.is_request_cancelled() else "not cancelled")
            probe.note("closed")

    async def long_await(self, tag: str) -> AsyncIterator[int]:
        async for item in self.get_long_await(tag):
            yield item

    async def get_before_first(self, tag: str) -> AsyncIterator[int]:
        probe = PROBES[tag]
        try:
            probe.note("started")
            await asyncio.sleep(60)
            yield 1
        finally:
            await asyncio.sleep(0.005)
            probe.note("closed")

    async def get_flood(self, tag: str) -> AsyncIterator[str]:
        """Faster than its reader, with an await a turn."""
        probe = PROBES[tag]
        try:
            while True:
                yield KIBIBYTE
                probe.note("item")
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0.005)
            probe.note("closed")

    async def get_hot(self, tag: str) -> AsyncIterator[int]:
        """Never awaits."""
        number = 0
        try:
            while True:
                number += 1
                yield number
        finally:
            PROBES[tag].note("closed")

    async def get_hot_and_slow(self, tag: str) -> AsyncIterator[int]:
        """Never awaits, and computes for 5 ms an item."""
        number = 0
        try:
            while True:
                number += 1
                until = time.perf_counter() + 0.005
                while time.perf_counter() < until:
                    pass
                yield number
        finally:
            PROBES[tag].note("closed")

    def get_sync_ticks(self, tag: str) -> Iterator[int]:
        probe = PROBES[tag]
        number = 0
        try:
            while True:
                number += 1
                yield number
                time.sleep(0.01)
        finally:
            probe.note("cancelled" if self.is_request_cancelled() else "not cancelled")
            probe.note("closed")

    def get_sync_flood(self, tag: str) -> Iterator[str]:
        probe = PROBES[tag]
        try:
            while True:
                yield KIBIBYTE
                probe.note("item")
        finally:
            probe.note("closed")

    def get_sync_blocked(self, tag: str) -> Iterator[int]:
        """Blocks, and asks now and then whether anybody still waits."""
        probe = PROBES[tag]
        try:
            yield 1
            probe.note("blocking")
            while not self.is_request_cancelled():
                time.sleep(0.005)
            probe.note("noticed")
        finally:
            probe.note("closed")

    async def get_asking_in_a_thread(self, tag: str) -> AsyncIterator[int]:
        """In one that is not the server's own."""

        def ask() -> None:
            PROBES[tag].note("blocking")
            while not self.is_request_cancelled():
                time.sleep(0.005)
            PROBES[tag].note("noticed")

        try:
            yield 1
            await asyncio.shield(asyncio.to_thread(ask))
        finally:
            await asyncio.sleep(0.05)
            PROBES[tag].note("closed")

    async def get_stubborn(self, tag: str) -> AsyncIterator[int]:
        """Swallows its cancellation and yields on."""
        probe = PROBES[tag]
        yield 1
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                probe.note("swallowed")
            except GeneratorExit:
                probe.note("exit")
                raise
            try:
                yield 2
            finally:
                probe.note("closed")

    async def get_long_cleanup(self, tag: str) -> AsyncIterator[int]:
        probe = PROBES[tag]
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            for step in range(5):
                await asyncio.sleep(0.01)
                probe.note(f"step {step}")
            probe.note("closed")

    async def get_failing_cleanup(self, tag: str) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            PROBES[tag].note("closed")
            raise ZeroDivisionError("in the cleanup")

    async def get_idle(self, tag: str) -> AsyncIterator[int]:
        probe = PROBES[tag]
        OPEN.append(tag)
        try:
            yield 1
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            OPEN.remove(tag)
            probe.note("closed")

    async def get_dozing(self, tag: str) -> AsyncIterator[int]:
        """No item at all."""
        OPEN.append(tag)
        try:
            await asyncio.sleep(3600)
            yield 1
        finally:
            OPEN.remove(tag)

    def get_status(self) -> str:
        return "open"

    async def get_async_status(self) -> str:
        return "open"


async def database(tag: str) -> AsyncIterator[str]:
    """A dependency that must outlive the generator that uses it."""
    PROBES[tag].note("opened")
    yield "db"
    PROBES[tag].note("torn down")


@public
class Depending(PotoModule):
    async def get_rows(self, tag: str, db: Annotated[str, Depends(database)]) -> AsyncIterator[str]:
        try:
            yield db
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02)
            PROBES[tag].note("closed")


@public
class Quick(PotoModule):
    """With short timeouts."""

    async def get_silent(self) -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(0.5)
        yield 2

    async def get_flood(self, tag: str) -> AsyncIterator[str]:
        probe = PROBES[tag]
        try:
            while True:
                yield KIBIBYTE
                probe.note("item")
        finally:
            probe.note("closed")

    async def get_hanging_cleanup(self, tag: str) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            PROBES[tag].note("cleaning")
            await asyncio.sleep(60)
