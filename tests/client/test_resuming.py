"""Streams on connections that break."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest

from fastapi_poto.client import PotoClient, StreamCut, TokenPair
from fastapi_poto.errors import Conflict, ShuttingDown, Unauthenticated
from fastapi_poto.testing import LiveApp, serve

from .app import Shop, SoldOut, make_app

pytestmark = pytest.mark.anyio


class Cutter:
    """A proxy that drops a connection once it has passed on so many bytes of the server's answers."""

    def __init__(self, target: str, limits: list[int]) -> None:
        self.target = target
        self._limits = limits
        """One for each connection that is made; the rest have none."""
        self.connections = 0
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        limit = self._limits.pop(0) if self._limits else -1
        self._tasks.append(asyncio.create_task(self._join(reader, writer, limit)))

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int) -> None:
        target = urlsplit(self.target)
        up_reader, up_writer = await asyncio.open_connection(target.hostname, target.port)
        ways = [asyncio.create_task(one) for one in (pump(reader, up_writer), pump(up_reader, writer, limit))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for one in (writer, up_writer):
                one.transport.abort()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int = -1) -> None:
    passed = 0
    with suppress(ConnectionError):
        while passed != limit and (data := await reader.read(4096)):
            data = data if limit < 0 else data[: limit - passed]
            passed += len(data)
            writer.write(data)
            await writer.drain()
    if limit > 0:
        await asyncio.sleep(0.01)  # what was passed on is to be read before the reset


async def test_a_cut_is_said(live: LiveApp) -> None:
    """Neither `close` nor `error`: what came is kept by the caller, and the rest is not taken for nothing."""
    cutter = Cutter(live.url, [2000])
    async with cutter.listening() as url, PotoClient(url) as client:
        numbers = []
        with pytest.raises(StreamCut, match=r"Shop\.forever was cut off after \d+ items") as caught:
            async for number in client.module(Shop).forever("cut"):
                numbers.append(number)
    assert caught.value.items == len(numbers) > 10
    assert caught.value.last_event_id is None


async def test_a_clean_end_without_close_is_a_cut() -> None:
    """What a proxy or another framework ends in good order is not known to be all."""

    async def app(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"data: 1\n\ndata: 2\n"})  # type: ignore[operator]

    with serve(app, lifespan="off") as live:
        async with PotoClient(live.url) as client:
            numbers = []
            with pytest.raises(StreamCut, match="after 1 items: it ended without saying so"):
                async for number in client.module(Shop).forever("x"):
                    numbers.append(number)
    assert numbers == [1]


@pytest.fixture
async def tokens(live: LiveApp) -> TokenPair:
    async with PotoClient(live.url + "/api") as client:
        return await client.sign_in_visitor()


async def test_a_resumable_stream_goes_on(live: LiveApp, tokens: TokenPair) -> None:
    """Cut three times, anywhere: no gap and no duplicate; a method that fails in the end is told as it is."""
    cutter = Cutter(live.url, [1500, 900, 1111])
    async with cutter.listening() as url, PotoClient(url, tokens=tokens) as client:
        shop = client.module(Shop)
        assert [number async for number in shop.ticks(limit=200, pause=0.001)] == list(range(200))
        assert cutter.connections == 4
    cutter = Cutter(live.url, [700])
    async with cutter.listening() as url, PotoClient(url, tokens=tokens) as client:
        numbers = []
        with pytest.raises(SoldOut):
            async for number in client.module(Shop).ticks(limit=50, pause=0.001, then="declared"):
                numbers.append(number)
        assert numbers == list(range(50))
        assert cutter.connections == 2


async def test_reconnecting_is_bounded(live: LiveApp, tokens: TokenPair) -> None:
    """When nobody answers any more, the caller is told so after two attempts; `reconnects=0` makes none."""
    for reconnects in (2, 0):
        cutter = Cutter(live.url, [1500, *[0] * 10])
        async with cutter.listening() as url, PotoClient(url, tokens=tokens, reconnects=reconnects) as client:
            with pytest.raises(StreamCut) as caught:
                async for _ in client.module(Shop).ticks(limit=1000, pause=0.001):
                    pass
        assert cutter.connections == 1 + reconnects
        assert caught.value.last_event_id
        assert caught.value.items > 10


async def test_a_stream_that_nobody_can_go_on_with(live: LiveApp, tokens: TokenPair) -> None:
    """Another server, without the first one's store, says that there would be a gap."""
    cutter = Cutter(live.url, [1500])
    with serve(make_app()) as other:
        async with cutter.listening() as url, PotoClient(url, tokens=tokens) as client:
            stream = client.module(Shop).ticks(limit=1000, pause=0.001)
            assert await anext(stream) == 0
            cutter.target = other.url
            with pytest.raises((Conflict, Unauthenticated)):
                async for _ in stream:
                    pass


async def test_a_server_that_goes_away(tokens: TokenPair) -> None:
    """A plain stream ends with `shutting_down`, which can be told from a failure and from a cut."""
    with serve(make_app()) as going:
        async with PotoClient(going.url + "/api") as client:
            await client.sign_in_visitor()
            stream = client.module(Shop).forever("shutdown", pause=0.01)
            assert await anext(stream) == 0
            going.server.should_exit = True
            with pytest.raises(ShuttingDown):
                async for _ in stream:
                    pass


async def test_a_resumable_stream_looks_for_another_server(tokens: TokenPair) -> None:
    """It tries again after `shutting_down`, and says in the end that nobody was there."""
    with serve(make_app()) as going:
        async with PotoClient(going.url + "/api", reconnects=1) as client:
            await client.sign_in_visitor()
            stream = client.module(Shop).ticks(limit=1000, pause=0.01)
            assert await anext(stream) == 0
            going.server.should_exit = True
            with pytest.raises((StreamCut, Conflict, ShuttingDown)) as caught:
                async for _ in stream:
                    pass
            assert not isinstance(caught.value, ShuttingDown)
