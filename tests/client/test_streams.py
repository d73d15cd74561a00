"""Streams through the typed proxy, on a live server."""

import asyncio
from contextlib import aclosing

import pytest

from fastapi_poto import Event
from fastapi_poto.client import PotoClient, StreamCut, events, remote
from fastapi_poto.errors import PotoError, Unavailable

from .app import Line, Shop

pytestmark = pytest.mark.anyio


async def test_items_come_as_their_type(visitor: PotoClient) -> None:
    """Each as the annotated model, then the end."""
    assert visitor.tokens
    got = [item async for item in visitor.module(Shop).watch(limit=3)]
    assert got == [Line(sku=f"{visitor.tokens.user_id}-{n}", quantity=n) for n in range(3)]


async def test_empty_and_sync_streams(visitor: PotoClient) -> None:
    """No items are no error; a sync generator streams as an async one."""
    shop = visitor.module(Shop)
    assert [item async for item in shop.watch(limit=0)] == []
    assert [item async for item in remote(shop.get_count(limit=1000))] == list(range(1000))


async def test_a_method_that_returns_an_iterator(visitor: PotoClient) -> None:
    """`async def` without `yield`: as the type checker has it, the call is awaited before it is iterated."""
    assert [item async for item in await visitor.module(Shop).opened()] == [1, 2]  # type: ignore[misc]


async def test_names_and_ids(visitor: PotoClient) -> None:
    """Whoever wants them asks for events; others get the items."""
    shop = visitor.module(Shop)
    assert [item async for item in shop.named()] == ["a", "b"]
    got = [event async for event in events(shop.named())]
    assert got == [Event("a", event="progress", id="1"), Event("b")]
    with pytest.raises(TypeError, match="not list_iterator"):
        events(iter([1]))  # type: ignore[arg-type]


async def test_items_that_are_events(visitor: PotoClient) -> None:
    """What is annotated as an `Event` comes as one, and `events()` makes none of an event."""
    shop = visitor.module(Shop)
    expected = [Event(Line(sku="a"), event="progress", id="1"), Event(Line(sku="b"))]
    assert [event async for event in shop.progress()] == expected
    assert [event async for event in events(shop.progress())] == expected
    assert [item async for item in shop.mixed()] == [Event(1, event="count"), Line(sku="a")]


@pytest.mark.parametrize("limit", [0, 2])
async def test_a_failure_is_the_error_it_was(visitor: PotoClient, limit: int) -> None:
    """Before the first item and after it, declared, unexpected, and the framework's."""
    shop = visitor.module(Shop)
    got = []
    with pytest.raises(PotoError) as caught:
        async for item in shop.watch(limit, then="declared"):
            got.append(item)
    assert (len(got), caught.value.code) == (limit, "sold_out")
    assert type(caught.value) is PotoError  # `watch` declares none
    with pytest.raises(PotoError) as caught:
        async for _ in shop.watch(limit, then="unexpected"):
            pass
    assert (caught.value.code, caught.value.status) == ("internal_error", 500)
    with pytest.raises(Unavailable):
        async for _ in shop.watch(limit, then="unavailable"):
            pass


async def test_leaving_ends_the_method(client: PotoClient) -> None:
    """`aclose`, and a `break` out of the loop, run the generator's `finally` on the server."""
    shop = client.module(Shop)
    async with aclosing(shop.forever("closed")) as numbers:  # type: ignore[type-var]
        assert await anext(numbers) == 0
    async for number in shop.forever("left"):
        if number == 3:
            break
    async with asyncio.timeout(5):
        while {"closed", "left"} - set(Shop.closed):
            await asyncio.sleep(0.005)


async def test_a_reader_that_is_cancelled_ends_the_method(client: PotoClient) -> None:
    """As when a caller's timeout strikes, or its own client has gone."""
    stream = client.module(Shop).forever("cancelled")
    assert await anext(stream) == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            async for _ in stream:
                pass
    async with asyncio.timeout(5):
        while "cancelled" not in Shop.closed:
            await asyncio.sleep(0.005)


async def test_a_finished_stream_gives_its_connection_back(live: object, visitor: PotoClient) -> None:
    """Streams that ended well need no new connection each."""
    shop = visitor.module(Shop)
    for _ in range(5):
        assert len([item async for item in shop.watch(limit=3)]) == 3
    transport = visitor._http._transport
    assert len(transport._pool.connections) == 1  # type: ignore[attr-defined]


async def test_many_streams_at_once(live: object, visitor: PotoClient) -> None:
    """100 open streams of one client, each with its own items."""
    shop = visitor.module(Shop)

    async def read(limit: int) -> int:
        return len([item async for item in shop.watch(limit)])

    assert await asyncio.gather(*(read(n) for n in range(100))) == list(range(100))


async def test_bytes(client: PotoClient) -> None:
    """Chunks until the end."""
    got = b"".join([chunk async for chunk in client.module(Shop).download(size=100_000, chunks=20)])
    assert got == b"x" * 2_000_000


async def test_bytes_that_fail_are_cut(client: PotoClient) -> None:
    """Bytes have no other way to say that they are not all."""
    received = 0
    with pytest.raises(StreamCut, match=r"Shop\.download was cut off after \d+ items") as caught:
        async for chunk in client.module(Shop).download(size=10, chunks=3, then="fail"):
            received += len(chunk)
    assert received <= 30
    assert caught.value.operation == "Shop.download"
