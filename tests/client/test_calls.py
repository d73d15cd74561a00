"""Calls through the typed proxy, on a live server."""

import asyncio
import copy
import io
import math
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI, UploadFile

from fastapi_poto.client import PotoClient, UnexpectedResponse, remote
from fastapi_poto.errors import ConfigurationError

from .app import Colour, Line, Lines, Shop

pytestmark = pytest.mark.anyio


async def test_sign_in_and_call(client: PotoClient) -> None:
    """The whole way: a visitor, a module, a call with a model, and a session that lasts."""
    tokens = await client.sign_in_visitor()
    shop = client.module(Shop)
    assert await shop.whoami() == tokens.user_id
    assert await shop.add_line(line=Line(sku="a", quantity=2)) == 2
    assert await shop.add_line(Line(sku="b"), note="by position") == 3


async def test_sync_methods_are_awaited(client: PotoClient) -> None:
    """A plain method is a call as any; `remote` says so to type checkers."""
    shop = client.module(Shop)
    assert await remote(shop.get_status()) == "open"


async def test_queries_carry_every_simple_type(client: PotoClient) -> None:
    """GET arguments arrive as what they were: times, enums, sets, decimals, booleans, None, bytes."""
    shop = client.module(Shop)
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    raw = b"\xc3\xa9?"
    told = await shop.get_typed(
        when,
        colours=[Colour.RED, Colour.BLUE],
        ids={UUID(int=1)},
        price=Decimal("2.50"),
        flag=True,
        name="a&b=c",
        raw=raw,
    )
    assert told == f"{when.isoformat()} ['RED', 'BLUE'] ['{UUID(int=1)}'] 2.50 True a&b=c {raw!r}"
    assert await shop.get_typed(when, [Colour.RED], name=None) == f"{when.isoformat()} ['RED'] [] 1.10 False None b''"


async def test_bytes_are_bytes(client: PotoClient) -> None:
    """As a whole answer, inside JSON, and beside numbers that JSON does not have."""
    shop = client.module(Shop)
    blob = bytes(range(256))
    assert await shop.reverse(blob) == blob[::-1]
    assert await shop.embedded({"a": blob}, math.inf) == ({"a": blob}, math.inf)


async def test_nothing_is_none(client: PotoClient) -> None:
    """204 is None."""
    assert await client.module(Shop).nothing() is None  # type: ignore[func-returns-value]


async def test_generic_modules(visitor: PotoClient) -> None:
    """Inherited methods of a generic base take and give the model that fills it."""
    lines = visitor.module(Lines)
    assert await lines.echo(Line(sku="a")) == Line(sku="a")
    assert await lines.echo_all([Line(sku="a"), Line(sku="b", quantity=3)]) == [
        Line(sku="a"),
        Line(sku="b", quantity=3),
    ]


async def test_uploads(client: PotoClient) -> None:
    """One file, several, with names and types; plain parameters beside them."""
    shop = client.module(Shop)
    file = UploadFile(io.BytesIO(b"12345"), filename="a.txt", headers={"content-type": "text/plain"})  # type: ignore[arg-type]
    more = [UploadFile(io.BytesIO(b"1"), filename="b"), UploadFile(io.BytesIO(b"22"), filename="c")]
    told = await shop.measure(file, more=more, title="ü")
    assert told == {"a.txt": "5 text/plain", "title": "ü", "b": "1", "c": "2"}
    assert await shop.measure(b"123") == {"file": "3 application/octet-stream", "title": "none"}  # type: ignore[arg-type]


async def test_forms(client: PotoClient) -> None:
    """Form fields, a file of bytes, and a model beside them."""
    assert await client.module(Shop).form(name="a", raw=b"b", line=Line(sku="c")) == "a b'b' c"


async def test_what_the_server_fills_is_left_out(visitor: PotoClient) -> None:
    """Path, query and headers are sent; a dependency is refused here, with its name."""
    shop = visitor.module(Shop)
    assert await shop.solved(number=4, amount=2, x_tag="t", page=[1, 2]) == "4 2 t [1, 2] 7"
    with pytest.raises(TypeError, match="'price' is filled by the server"):
        shop.solved(number=4, amount=2, x_tag="t", price=1)
    assert await shop.with_user() == await shop.whoami()  # type: ignore[call-arg]


async def test_mistakes_are_seen_before_anything_is_sent(client: PotoClient) -> None:
    """Missing, unknown and doubled arguments are TypeErrors that name the method."""
    shop = client.module(Shop)
    with pytest.raises(TypeError, match=r"Shop\.add_line misses 'line'"):
        shop.add_line()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Shop\.add_line: .*'colour'"):
        shop.add_line(Line(sku="a"), colour=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Shop\.watch misses 'limit'"):
        shop.watch()  # type: ignore[call-arg]


async def test_a_proxy_has_only_what_is_called_over_the_wire(client: PotoClient) -> None:
    """The session and the user are the server's."""
    shop = client.module(Shop)
    with pytest.raises(AttributeError, match=r"Shop\.session is not called over the wire.*get_status"):
        _ = shop.session
    assert repr(shop) == f"<Shop at {client._connection.base_url}>"
    assert type(copy.copy(shop)) is type(shop)
    with pytest.raises(ConfigurationError, match="not a module class"):
        client.module(int)  # type: ignore[type-var]


async def test_a_response_is_httpxs(client: PotoClient) -> None:
    """What a method answers by hand comes as httpx has it."""
    answer = await client.module(Shop).raw()
    assert isinstance(answer, httpx.Response)
    assert (answer.text, answer.headers["x-kind"]) == ("teapot", "raw")


async def test_an_answer_of_another_shape_is_said(client: PotoClient, app: FastAPI) -> None:
    """Another version of the class on the server is an error that names the method and the member."""

    class Shop(Lines):  # the same name, other annotations
        async def reverse(self, blob: bytes) -> Line: ...  # type: ignore[empty-body]

        async def get_status(self) -> Line: ...  # type: ignore[empty-body]

    with pytest.raises(UnexpectedResponse, match=r"Shop\.get_status answered something else"):
        await client.module(Shop).get_status()


async def test_in_process_calls_need_no_server(app: FastAPI) -> None:
    """An ASGI application can be called directly; a stream says that it needs a server."""
    async with PotoClient("http://test/api", app=app) as client:
        await client.sign_in_visitor()
        shop = client.module(Shop)
        assert await shop.add_line(Line(sku="a")) == 1
        with pytest.raises(ConfigurationError, match=r"Shop\.watch streams.*testing\.serve"):
            shop.watch(limit=1)


async def test_many_calls_at_once(visitor: PotoClient) -> None:
    """50 calls of one client at once, none lost."""
    shop = visitor.module(Shop)
    counts = await asyncio.gather(*(shop.add_line(Line(sku="a")) for _ in range(50)))
    assert sorted(counts) == list(range(1, 51))


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://a", "http://user:pw@host", "http://h/?a=b"])
def test_a_base_url_is_checked(url: str) -> None:
    """Credentials in the URL and anything but an address and a prefix are refused."""
    with pytest.raises(ValueError, match="base_url"):
        PotoClient(url)
