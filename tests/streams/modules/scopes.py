"""Scopes and contexts round a `yield`."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar

import anyio

from fastapi_poto import PotoModule, current_context, public
from tests.streams.modules.items import KIBIBYTE
from tests.streams.probe import PROBES

mine: ContextVar[int] = ContextVar("mine", default=0)


@public
class Scopes(PotoModule):
    """Timeouts, cancel scopes and task groups round a `yield`."""

    async def get_timeout(self) -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(0.05):
                yield "before"
                await asyncio.sleep(60)
        except TimeoutError:
            yield "timed out"
        yield "after"

    async def get_anyio_scope(self) -> AsyncIterator[str]:
        with anyio.move_on_after(0.05):
            yield "before"
            await anyio.sleep(60)
        yield "after"

    async def get_fail_after(self) -> AsyncIterator[str]:
        try:
            with anyio.fail_after(0.05):
                yield "before"
                await anyio.sleep(60)
        except TimeoutError:
            yield "timed out"

    async def get_timeout_at_yield(self, tag: str) -> AsyncIterator[str]:
        """The timeout strikes while the reader stalls, that is at the `yield`."""
        try:
            async with asyncio.timeout(0.3):
                while True:
                    yield KIBIBYTE
        except TimeoutError:
            PROBES[tag].note("timed out")
        yield "after"

    async def get_scope_at_yield(self, tag: str) -> AsyncIterator[str]:
        with anyio.move_on_after(0.3):
            while True:
                yield KIBIBYTE
        PROBES[tag].note("timed out")
        yield "after"

    async def get_task_group(self, tag: str) -> AsyncIterator[int]:
        probe = PROBES[tag]

        async def child() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.005)
                probe.note("child closed")

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                for number in range(1000):
                    yield number
                    await asyncio.sleep(0.01)
        finally:
            probe.note("closed")

    async def get_anyio_group(self, tag: str) -> AsyncIterator[int]:
        probe = PROBES[tag]

        async def child() -> None:
            try:
                await anyio.sleep(60)
            finally:
                probe.note("child closed")

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(child)
                for number in range(1000):
                    yield number
                    await anyio.sleep(0.01)
        finally:
            probe.note("closed")

    async def get_group_stalled(self, tag: str, kind: str) -> AsyncIterator[str]:
        """A task group whose body sits at a `yield` when the client leaves."""
        probe = PROBES[tag]

        async def child() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                probe.note("child closed")

        try:
            if kind == "asyncio":
                async with asyncio.TaskGroup() as group:
                    group.create_task(child())
                    while True:
                        yield KIBIBYTE
                        probe.note("item")
            else:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(child)
                    while True:
                        yield KIBIBYTE
                        probe.note("item")
        finally:
            probe.note("closed")

    async def get_failing_child(self) -> AsyncIterator[str]:
        async def child() -> None:
            await asyncio.sleep(0.02)
            raise ValueError("child")

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                yield "before"
                await asyncio.sleep(60)
        except* ValueError:
            pass
        yield "after"


class Whose(PotoModule):
    """What a generator knows about its caller."""

    async def get_mine(self, count: int) -> AsyncIterator[str]:
        for number in range(count):
            assert mine.get() == number
            mine.set(number + 1)
            assert current_context().user is self.user
            yield f"{self.user.id}:{await self.session.increment('items')}"
            await asyncio.sleep(0.001)

    def get_sync_mine(self, count: int) -> Iterator[str]:
        for number in range(count):
            assert mine.get() == number
            mine.set(number + 1)
            user = current_context().user
            assert user is not None
            yield user.id
            time.sleep(0.001)

    @public
    async def anybody(self, padding: str = "") -> AsyncIterator[str | None]:
        for _ in range(2):
            user = current_context().user
            yield f"{user and user.id}:{mine.get()}"
            mine.set(mine.get() + 1)
            await asyncio.sleep(0)

    async def get_endless(self, tag: str) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                number += 1
                yield number
                await asyncio.sleep(0.02)
        finally:
            PROBES[tag].note("closed")
