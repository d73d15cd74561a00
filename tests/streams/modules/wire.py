"""What streams send."""

import asyncio
from collections.abc import AsyncIterator, Iterator

from fastapi import HTTPException, Response

from fastapi_poto import Event, PotoModule, public, rpc
from fastapi_poto.streaming import describe_download
from tests.streams.modules.items import Item, SoldOut, SoldOutData


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
