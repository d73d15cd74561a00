"""The application under test: modules whose streams note what happens to them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import anyio
from fastapi import Depends, FastAPI, HTTPException, Response
from pydantic import BaseModel

from fastapi_poto import Event, Poto, PotoError, PotoModule, current_context, poto_router, public, rpc
from fastapi_poto.streaming import describe_download
from tests.secret import SECRET
from tests.streams.probe import PROBES

KIBIBYTE = "x" * 1024

OPEN: list[str] = []
"""Generators that are open: what a shutdown must not find."""

mine: ContextVar[int] = ContextVar("mine", default=0)


class Item(BaseModel):
    sku: str
    quantity: int = 1


class SoldOutData(BaseModel):
    sku: str


class SoldOut(PotoError):
    """The article is gone."""

    code = "sold_out"
    status = 409
    data: SoldOutData


@public
class Wire(PotoModule):
    """What a stream looks like."""

    async def get_items(self, count: int = 3) -> AsyncIterator[Item]:
        for number in range(count):
            yield Item(sku=f"s{number}", quantity=number)

    async def items(self, count: int = 3) -> AsyncIterator[Item]:
        for number in range(count):
            yield Item(sku=f"s{number}", quantity=number)

    def get_sync_items(self, count: int = 3) -> Iterator[Item]:
        for number in range(count):
            yield Item(sku=f"s{number}", quantity=number)

    async def get_named(self) -> AsyncIterator[Event[Item]]:
        yield Event(data=Item(sku="a"), event="progress", id="one")
        yield Event(data=Item(sku="b"))

    async def get_mixed(self) -> AsyncIterator[Item]:
        yield Item(sku="a")
        yield Event(data=Item(sku="b"), event="special")  # type: ignore[misc]

    async def get_empty(self) -> AsyncIterator[Item]:
        return
        yield

    async def get_unicode(self) -> AsyncIterator[str]:
        yield "line one\nline two\r\nüñí \u2028 \0 end"

    async def get_line_separators(self) -> AsyncIterator[Event[str] | str]:
        text = "a\u2028b\u2029c\x85d é"
        yield text
        yield Event(data=text)
        yield Event(data=text, event="named")
        raise HTTPException(418, detail=text)

    async def get_early(self, kind: str) -> AsyncIterator[Item]:
        raise _errors(kind)
        yield

    async def get_late(self, kind: str) -> AsyncIterator[Item]:
        yield Item(sku="first")
        raise _errors(kind)

    def get_sync_late(self, kind: str) -> Iterator[Item]:
        yield Item(sku="first")
        raise _errors(kind)

    async def get_wrong(self) -> AsyncIterator[Item]:
        yield Item(sku="first")
        yield {"quantity": "many"}  # type: ignore[misc]

    async def get_created(self, response: Response, items_before: int = 0) -> AsyncIterator[int]:
        for number in range(items_before):
            yield number
            await asyncio.sleep(0.01)
        response.status_code = 201
        response.headers["X-Made"] = "yes"
        yield items_before

    async def get_created_bytes(self, response: Response) -> AsyncIterator[bytes]:
        response.status_code = 201
        yield b"made"

    async def get_nothing(self, response: Response, status: int = 204, items: int = 0) -> AsyncIterator[int]:
        response.status_code = status
        for number in range(items):
            yield number

    async def get_slow_start(self, seconds: float) -> AsyncIterator[int]:
        await asyncio.sleep(seconds)
        yield 1

    async def get_slow_failure(self) -> AsyncIterator[int]:
        await asyncio.sleep(1.2)
        raise SoldOut(data=SoldOutData(sku="a"))
        yield

    @rpc(first_item_timeout=0)
    async def get_idle_by_nature(self) -> AsyncIterator[int]:
        await asyncio.sleep(30)
        yield 1

    @rpc(first_item_timeout=0)
    async def get_silent_bytes(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(30)
        yield b""

    async def get_self_cancelled(self) -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    async def get_no_exception(self, kind: str, items: int) -> AsyncIterator[int]:
        for number in range(items):
            yield number
        raise NO_EXCEPTIONS[kind]

    def get_sync_no_exception(self, kind: str, items: int) -> Iterator[int]:
        yield from range(items)
        raise NO_EXCEPTIONS[kind]

    @rpc(media_type="text/csv")
    async def get_csv(self) -> AsyncIterator[bytes]:
        yield b"a,b\n"
        await asyncio.sleep(0.01)
        yield b"1,2\n"

    async def get_broken_bytes(self) -> AsyncIterator[bytes]:
        yield b"some"
        await asyncio.sleep(0.05)
        raise SoldOut(data=SoldOutData(sku="a"))

    async def get_early_broken_bytes(self) -> AsyncIterator[bytes]:
        raise SoldOut(data=SoldOutData(sku="a"))
        yield b""

    async def get_report(self) -> AsyncIterator[bytes]:
        describe_download(filename="Bericht für März.csv", content_length=8)
        yield b"a,b\n"
        yield b"1,2\n"

    async def get_missing_file(self) -> AsyncIterator[bytes]:
        describe_download(filename="missing.csv", content_length=8)
        raise SoldOut(data=SoldOutData(sku="a"))
        yield b""

    async def get_slow_download(self, length: int | None = None) -> AsyncIterator[bytes]:
        describe_download(filename="x.bin", content_length=length)
        for _ in range(length or 1000):
            yield b"x"
            await asyncio.sleep(0.02)

    async def get_download(self, megabytes: int) -> AsyncIterator[bytes]:
        for _ in range(16 * megabytes):
            yield b"x" * 65536


NO_EXCEPTIONS = {
    "cancelled": asyncio.CancelledError("secret inner detail"),
    "generator exit": GeneratorExit("secret inner detail"),
    "system exit": SystemExit("secret inner detail"),
    "group": BaseExceptionGroup("secret inner detail", [GeneratorExit()]),
}


def _errors(kind: str) -> Exception:
    return {
        "poto": SoldOut("nothing left", data=SoldOutData(sku="a")),
        "http": HTTPException(418, detail="teapot"),
        "bug": ZeroDivisionError("secret inner detail"),
    }[kind]


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


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    print(f"lifespan ends, {len(OPEN)} generators open", flush=True)


def make_stored_app() -> FastAPI:
    """The application on the store that the environment names."""
    return make_app(store=os.environ["TEST_STORE"])


def make_app(*, store: Any = "memory://", **options: Any) -> FastAPI:
    """All modules; `Quick` with timeouts that a test can wait for."""
    app = FastAPI(lifespan=lifespan)
    poto = Poto(SECRET, store=store, **options)
    quick = Poto(SECRET, ping_interval=0.15, send_timeout=0.5, cleanup_timeout=0.3, retry=2.5)
    app.include_router(
        poto_router(Wire, Leaving, Depending, Scopes, Whose, Deadlines, Resuming, Private, poto=poto),
    )
    app.include_router(poto_router(Quick, poto=quick, auth=False))
    app.state.poto = poto
    return app
