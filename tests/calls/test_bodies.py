"""Bodies that come slowly, are read by the method itself, or never come to an end."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI, Request

from fastapi_poto import Poto, PotoModule, poto_router, public, rpc
from fastapi_poto.testing import serve
from tests.secret import SECRET

pytestmark = pytest.mark.anyio

SENT = bytes(range(256)) * 4096


@public
class Bodies(PotoModule):
    async def add(self, a: int) -> int:
        return a + 1

    async def echo(self, request: Request) -> AsyncIterator[bytes]:
        async for chunk in request.stream():
            yield chunk

    async def measure(self, request: Request) -> int:
        self.is_request_cancelled()  # from now on the disconnect is watched for
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            await asyncio.sleep(0)
        return size

    @rpc(cancel_on_disconnect=True)
    async def measure_while_watched(self, request: Request) -> int:
        return await self.measure(request)

    @rpc(cancel_on_disconnect=True)
    async def take(self, request: Request, a: int = 0) -> int:
        return a

    async def last(self, request: Request) -> int:
        return len(await request.body())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = FastAPI()
    app.include_router(poto_router(Bodies, poto=Poto(SECRET, body_timeout=0.3)))
    with serve(app) as live:
        yield live.url


async def begin_to_send(url: str, path: str, *headers: str) -> str:
    """What a client is answered that sends a part of its body, and then nothing."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"POST {path} HTTP/1.1", "host: test", "content-type: application/json", "content-length: 100", *headers]
    writer.write("\r\n".join([*lines, "", '{"a": ']).encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return answer.decode()


@pytest.mark.parametrize("method", ["add", "take", "measure", "last"])
async def test_a_body_that_stalls(url: str, method: str) -> None:
    """It ends with 408 on both paths, and the connection with it."""
    answer = await begin_to_send(url, f"/Bodies/{method}")
    assert answer.startswith("HTTP/1.1 408")
    assert "connection: close" in answer


@pytest.mark.parametrize("method", ["add", "take", "measure"])
async def test_a_deadline_counts_while_the_body_comes(url: str, method: str) -> None:
    """A caller who waits 0.1 s is answered then, whatever it still sends."""
    answer = await begin_to_send(url, f"/Bodies/{method}", "poto-timeout-ms: 100")
    assert answer.startswith("HTTP/1.1 504")


async def test_a_body_that_comes_slowly_but_comes(url: str) -> None:
    """Every 16 KiB earn a second."""

    async def trickle() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield b"x" * 16_384
            await asyncio.sleep(0.1)

    async with httpx.AsyncClient(base_url=url, timeout=10) as client:
        response = await client.post("/Bodies/measure", content=trickle())
    assert response.json() == 8 * 16_384


@pytest.mark.parametrize("method", ["measure", "measure_while_watched", "last"])
async def test_a_method_that_reads_its_body_gets_all_of_it(url: str, method: str) -> None:
    """The watch for the disconnect takes nothing away from it."""
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        for _ in range(3):
            assert (await client.post(f"/Bodies/{method}", content=SENT)).json() == len(SENT)


async def test_a_stream_that_answers_as_it_reads(url: str) -> None:
    """Every byte comes back."""
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        assert (await client.post("/Bodies/echo", content=SENT)).content == SENT


async def test_two_deadlines_are_a_bad_request(url: str) -> None:
    """Which one would hold?"""
    async with httpx.AsyncClient(base_url=url) as client:
        headers = [("poto-timeout-ms", "1000"), ("poto-timeout-ms", "2000")]
        assert (await client.post("/Bodies/add", json={"a": 1}, headers=headers)).status_code == 400
