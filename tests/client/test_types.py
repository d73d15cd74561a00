"""Every type of value goes out and comes back as what it was, through the typed client."""

import math
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from fastapi_poto import Poto, poto_router
from fastapi_poto.client import PotoClient
from fastapi_poto.testing import serve
from tests.e2e.types_module import Aliased, Cat, Colour, Dog, Level, Point, Rich, Span, Tree, Types
from tests.secret import SECRET

pytestmark = pytest.mark.anyio

BLOB = bytes(range(256))
RICH = Rich(
    at=datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    price=Decimal("12.50"),
    id=UUID(int=2**128 - 1),
    tags={"a", "ß"},
    blob=BLOB,
    pet=Dog(name="Rex"),
    ratio=math.inf,
)

VALUES: list[tuple[str, Any]] = [
    ("moment", RICH.at),
    ("moment", datetime(2026, 1, 1, 12)),
    ("moment", datetime(2026, 1, 1, tzinfo=UTC)),
    ("day", date(1, 1, 1)),
    ("clock", time(23, 59, 59, 1)),
    ("duration", timedelta(days=-1, microseconds=1)),
    ("decimal", Decimal("0.10000000000000000000000000001")),
    ("uuid", UUID(int=1)),
    ("numbers", {1, 2, 3}),
    ("words", frozenset({"a", "ß"})),
    ("blobs", [BLOB, b""]),
    ("colour", Colour.green),
    ("level", Level.high),
    ("pet", Cat(lives=3)),
    ("pet", Dog(name="")),
    ("scalar", 1),
    ("scalar", "1"),
    ("scalar", True),
    ("scalar", None),
    ("tree", Tree(value=1, children=[Tree(value=2)])),
    ("aliased", Aliased(in_python="x")),
    ("rich", RICH),
    ("point", Point(1, 2.5)),
    ("movie", {"title": "t", "year": 1}),
    ("span", Span(1, 2)),
    ("pair", (1, "two")),
    ("integer", 2**80),
    ("number", 5e-324),
    ("number", -math.inf),
    ("text", 'ä € \U0001f600 \u2028 \0 " \\ \r\n'),
    ("choice", 1),
    ("address", IPv4Address("127.0.0.1")),
    ("by_number", {1: "one", -2: "two"}),
    ("by_name", {"": [1, None], "ключ": []}),
    ("anything", {"a": [1, 2.5, "x", None, True]}),
    ("optional", None),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = FastAPI()
    app.include_router(poto_router(Types, poto=Poto(SECRET)))
    with serve(app) as live:
        yield live.url


@pytest.fixture
async def types(url: str) -> AsyncIterator[Types]:
    async with PotoClient(url) as client:
        await client.sign_in_visitor()
        yield client.module(Types)


async def test_values_come_back(types: Types) -> None:
    """Equal, and of the same type."""
    for method, value in VALUES:
        back = await getattr(types, method)(value)
        assert back == value, method
        assert type(back) is type(value), method
    assert math.isnan(await types.number(math.nan))


async def test_items_of_a_stream(types: Types) -> None:
    """As models with all their members."""
    assert [item async for item in types.stream([RICH, RICH])] == [RICH, RICH]


async def test_several_arguments(types: Types) -> None:
    """By position and by name; what is left out has the server's default."""
    assert await types.several(Tree(value=7)) == (7, True, 0)
    assert await types.several(Tree(value=7), RICH, third=[Cat(), Dog(name="a")]) == (7, False, 2)
    assert await types.optional() == "unset"


async def test_query(types: Types) -> None:
    """Types that a query string can carry, with what it has to quote."""
    sent = (RICH.at, RICH.price, RICH.id, Colour.red, [3, 1], "a+b&c=d %")
    assert await types.get_query(*sent) == sent
    assert await types.get_query(*sent[:5]) == (*sent[:5], None)
