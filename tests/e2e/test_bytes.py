"""Bytes: whole answers, streams of chunks, and streams that break."""

import asyncio

import httpx
import pytest

from tests.e2e.caller import Caller, Refused

pytestmark = pytest.mark.anyio


async def test_a_whole_answer(visitor: Caller) -> None:
    """`-> bytes` is those bytes, as application/octet-stream."""
    response = await visitor.send("POST", "/Files/whole", json={"size": 1_000_192})
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.content == bytes(range(256)) * (1_000_192 // 256)


@pytest.mark.parametrize("path", ["/Files/chunks", "/Files/chunks_from_thread"])
async def test_chunks(visitor: Caller, path: str) -> None:
    """Chunk by chunk, nothing added, in order."""
    response = await visitor.send("POST", path, json={"count": 80, "size": 65_536})
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.content == b"".join(bytes([n]) * 65_536 for n in range(80))


async def test_streams_at_once(visitor: Caller) -> None:
    """8 downloads of 2 MB at once, each complete."""
    downloads = [visitor.send("POST", "/Files/chunks", json={"count": 32}) for _ in range(8)]
    for response in await asyncio.gather(*downloads):
        assert len(response.content) == 32 * 65_536


async def test_no_chunks(visitor: Caller) -> None:
    """An empty stream is an empty 200."""
    response = await visitor.send("POST", "/Files/chunks", json={"count": 0})
    assert (response.status_code, response.content) == (200, b"")


async def test_an_error_before_the_first_chunk(visitor: Caller) -> None:
    """Has its own status."""
    with pytest.raises(Refused) as refused:
        await visitor.value("POST", "/Files/refused", json={})
    assert (refused.value.status, refused.value.code) == (429, "quota_exceeded")


async def test_an_error_in_the_middle(visitor: Caller) -> None:
    """Cuts the connection: bytes have no place for an error, and half a file must not look like a whole one."""
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await visitor.send("POST", "/Files/broken", json={})
