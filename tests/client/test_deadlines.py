"""How long the client waits, and what it tells the server of it."""

import time
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from fastapi_poto import Poto, PotoModule, poto_router, public
from fastapi_poto.client import PotoClient, StreamCut
from fastapi_poto.errors import DeadlineExceeded
from fastapi_poto.testing import serve
from tests.processes import listen
from tests.secret import SECRET

from .app import Shop

pytestmark = pytest.mark.anyio


async def test_the_server_is_told(client: PotoClient) -> None:
    """The client's own timeout, a module's, a block's: the shortest holds."""
    shop = client.module(Shop)
    assert 29 < (await shop.remaining() or 0) <= 30
    assert 4 < (await client.module(Shop, timeout=5).remaining() or 0) <= 5
    async with client.deadline(3):
        assert 2 < (await shop.remaining() or 0) <= 3
        async with client.deadline(60):
            assert 2 < (await shop.remaining() or 0) <= 3
        assert 0 < (await client.module(Shop, timeout=1).remaining() or 0) <= 1
    assert 29 < (await shop.remaining() or 0) <= 30


async def test_a_slow_call_is_given_up(client: PotoClient) -> None:
    """By the server's answer or by the client's own clock: the same error, in time."""
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await client.module(Shop, timeout=0.1).sleep(10)
    assert time.monotonic() - began < 2


async def test_a_server_that_does_not_answer() -> None:
    """The client does not depend on the server's clock."""
    with listen() as sock:
        async with PotoClient(f"http://127.0.0.1:{sock.getsockname()[1]}") as client:
            with pytest.raises(DeadlineExceeded):
                await client.module(Shop, timeout=0.1).whoami()
            with pytest.raises(DeadlineExceeded):
                async for _ in client.module(Shop, timeout=0.1).watch(limit=1):
                    pass


async def test_nothing_is_sent_when_it_is_too_late(client: PotoClient) -> None:
    """Within a block whose time is over."""
    async with client.deadline(0):
        with pytest.raises(DeadlineExceeded):
            await client.module(Shop).whoami()
        with pytest.raises(DeadlineExceeded):
            client.module(Shop).forever("never")


async def test_a_stream_ends_at_its_deadline(client: PotoClient) -> None:
    """Items until then, and the error after them."""
    numbers = []
    with pytest.raises(DeadlineExceeded):
        async for number in client.module(Shop, timeout=0.2).forever("deadline"):
            numbers.append(number)
    assert len(numbers) > 3


async def test_a_silent_stream_is_cut(live: object, client: PotoClient) -> None:
    """Without even a keep-alive, the server is taken for gone."""
    async with PotoClient(client._connection.base_url, stream_silence=0.1) as impatient:
        with pytest.raises(StreamCut, match=r"after 1 items: nothing came for 0\.1 s"):
            async for _ in impatient.module(Shop).forever("silent", pause=30):
                pass


class Front(PotoModule):
    """Calls the other server from within a call."""

    back = ""

    @public
    async def ask(self) -> float | None:
        async with PotoClient(self.back) as client:
            return await client.module(Shop).remaining()


@pytest.fixture
def front(client: PotoClient) -> Iterator[str]:
    Front.back = client._connection.base_url
    app = FastAPI()
    app.include_router(poto_router(Front, poto=Poto(SECRET)))
    with serve(app) as live:
        yield live.url


async def test_what_is_left_is_passed_on(front: str) -> None:
    """A call that a call makes is bounded by what its own caller will wait."""
    async with PotoClient(front, timeout=None) as client:
        assert 1 < (await client.module(Front, timeout=2).ask() or 0) < 2
        assert 29 < (await client.module(Front).ask() or 0) <= 30  # the inner client's own
