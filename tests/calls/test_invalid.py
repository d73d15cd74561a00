"""What an input that does not fit is answered with: bounded, without secrets, and at the cost of reading it."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import Header, UploadFile
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, Json, Secret, SecretBytes, SecretStr
from pydantic_core import ValidationError

from fastapi_poto import PotoModule, public
from fastapi_poto.wire import wire_type

from .conftest import Serve

pytestmark = pytest.mark.anyio


class Line(BaseModel):
    sku: str
    quantity: int
    price: float
    note: str | None
    tags: list[str] = []


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int
    other: int = Field(alias="another")


class Card(BaseModel):
    holder: int
    number: SecretStr = Field(max_length=3)
    codes: dict[str, Secret[int]] = {}
    raw: list[SecretBytes] = []


class Cat(BaseModel):
    cat: int


class Dog(BaseModel):
    dog: int


@public
class Takes(PotoModule):
    async def texts(self, texts: list[str]) -> int:
        return len(texts)

    async def wide(self, a: int, b: int, c: str, d: list[int], e: Line, f: float, g: int | str) -> int:
        return 1

    async def lines(self, lines: list[Line]) -> int:
        return len(lines)

    async def table(self, table: dict[str, int]) -> int:
        return len(table)

    async def pet(self, pet: Cat | Dog | int | None) -> int:
        return 1

    async def anything(self, one: Any, two: Any, three: Any) -> int:
        return 1

    async def closed(self, it: Closed) -> int:
        return it.number

    async def card(self, card: Card, pin: int = 0, hint: SecretStr | None = None) -> int:
        return 1

    async def pay(self, api_key: int, account: dict[str, int]) -> int:
        return 1

    async def get_sum(self, numbers: list[int]) -> int:
        return sum(numbers)

    async def load(self, file: UploadFile, lines: list[Line], meta: Json[Line], count: int) -> int:
        return count

    async def headed(self, number: int, x_numbers: Annotated[list[int], Header()] = []) -> int:  # noqa: B006
        return number


SIZE = 500_000
MANY_ONES = b"[" + b",".join([b"1"] * (SIZE // 2)) + b"]"
MANY_OBJECTS = b"[" + b",".join([b"{}"] * (SIZE // 3)) + b"]"
MANY_MEMBERS = b",".join(b'"a%d":"x"' % number for number in range(SIZE // 13))
GOOD_LINES = b",".join([b'{"sku":"a","quantity":1,"price":2,"note":null}'] * (SIZE // 48))

BODIES = {
    "texts": [b'{"texts":' + MANY_ONES + b"}", b'{"texts":[],' + MANY_MEMBERS + b"}", MANY_ONES, MANY_ONES[:-1]],
    "wide": [b'{"zzz":' + MANY_ONES + b"}", b'{"e":{"zzz":' + MANY_ONES + b"}}", b'{"a":' + MANY_ONES + b"}"],
    "lines": [b'{"lines":' + MANY_OBJECTS + b"}", b'{"lines":[' + GOOD_LINES + b",{}]}"],
    "table": [b'{"table":{' + MANY_MEMBERS + b"}}"],
    "pet": [b'{"pet":' + MANY_ONES + b"}", b'{"pet":{' + MANY_MEMBERS + b"}}"],
    "anything": [b'{"zzz":' + MANY_OBJECTS + b"}"],
    "closed": [b'{"it":{"number":1,"another":2,' + MANY_MEMBERS + b"}}"],
}
LARGE = [(name, body) for name, bodies in BODIES.items() for body in bodies]


@pytest.mark.parametrize(("name", "body"), LARGE, ids=[f"{name}-{n}" for n, (name, _) in enumerate(LARGE)])
async def test_a_large_body_is_refused_in_short(serve: Serve, name: str, body: bytes) -> None:
    """At most 50 errors and 64 KiB of them, whatever the body repeats."""
    answer = await serve(Takes).client.post(
        f"/Takes/{name}", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert len(answer.content) <= 64 * 1024
    detail = answer.json()["detail"]
    assert 1 <= len(detail) <= 50
    assert all(len(json.dumps(one.get("input"))) <= 1024 for one in detail)


async def test_errors_as_large_as_they_can_be(serve: Serve) -> None:
    """Long names, texts of control characters, and no JSON to speak of: 64 KiB at most."""
    client = serve(Takes).client
    lines = [{"\x01" * 900: "\x02" * 900, "sku": ["\x03" * 900], "quantity": "\x04" * 3000} for _ in range(3)]
    body = {"lines": lines, **{"\x05" * 60 + str(number): "\x06" * 60 for number in range(40)}}
    answer = await client.post("/Takes/lines", json=body)
    assert answer.status_code == 422
    assert len(answer.content) <= 64 * 1024


async def test_what_is_missing_in_a_large_body_has_its_name(serve: Serve) -> None:
    """The same errors as those of a small body: type, place, message."""
    client = serve(Takes).client
    small = {"a": 1, "b": 2, "c": "c", "e": {"sku": "a", "quantity": "x"}, "f": 1.5}
    large = {**small, "d": [1] * 10_000}
    found = (await client.post("/Takes/wide", json={**small, "d": [1]})).json()["detail"]
    assert found == (await client.post("/Takes/wide", json=large)).json()["detail"]
    assert [(one["type"], one["loc"]) for one in found] == [
        ("int_parsing", ["body", "e", "quantity"]),
        ("missing", ["body", "e", "price"]),
        ("missing", ["body", "e", "note"]),
        ("missing", ["body", "g"]),
    ]
    answer = await client.post("/Takes/closed", json={"it": {"filler": "x" * 10_000}})
    assert {(one["type"], one["loc"][-1]) for one in answer.json()["detail"]} == {  # in the order of Pydantic's release
        ("missing", "number"),
        ("missing", "another"),
        ("extra_forbidden", "filler"),
    }


async def test_secrets_are_not_echoed(serve: Serve) -> None:
    """Neither values of secret types, nor those of members named like passwords, wherever they stand."""
    client = serve(Takes).client
    card = {"holder": "x", "number": "hunter2", "codes": {"a": "hunter2"}, "raw": [["hunter2"]], "password": "hunter2"}
    bodies: list[tuple[str, Any]] = [
        ("card", {"card": card, "pin": "hunter2", "hint": ["hunter2"], "passwrd": "hunter2"}),
        ("card", {"card": [card], "user": {"access_token": "hunter2", "deep": [{"clientSecret": "hunter2"}]}}),
        ("card", {"card": {"number": "hunter2"}, "filler": "x" * 10_000}),
        ("pay", {"api_key": "hunter2", "account": {"passphrase": "hunter2", "x": {"pwd": "hunter2"}}}),
        ("pay", ["hunter2"]),
        ("pay", {"password": "hunter2"}),
    ]
    for name, body in bodies:
        answer = await client.post(f"/Takes/{name}", json=body)
        assert answer.status_code == 422
        assert "hunter2" not in answer.text
    answer = await client.post("/Takes/card", json=bodies[0][1])
    assert {"type": "int_parsing", "input": "x"}.items() <= answer.json()["detail"][0].items()  # what is none is shown


async def test_sign_in_routes(serve: Serve) -> None:
    """The same holds for what FastAPI validates itself."""
    client = serve(Takes).client
    await client.post("/auth/visitor")
    for body in ({"refresh_token": ["hunter2"]}, {"refresh_tokn": "hunter2"}, ["hunter2"]):
        answer = await client.post("/auth/refresh", json=body)
        assert answer.status_code == 422
        assert "hunter2" not in answer.text
    answer = await client.post("/auth/login", data={"password": "hunter2"})
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


async def test_queries_headers_and_forms(serve: Serve) -> None:
    """Bounded too; an error inside a JSON field has its own place and hides no other."""
    client = serve(Takes).client
    answer = await client.get("/Takes/sum?" + "&".join(["numbers=x"] * 3_000))
    assert answer.status_code == 422
    assert len(answer.json()["detail"]) <= 50
    answer = await client.post("/Takes/headed", json={"number": "x"}, headers=[("x-numbers", "x")] * 90)
    assert answer.status_code == 422
    assert len(answer.json()["detail"]) <= 50
    data = {"lines": '[{"sku": 1, "quantity": 1, "price": 1, "note": null}]', "meta": '{"sku": "a"', "count": "x"}
    answer = await client.post("/Takes/load", data=data, files={"other": b"x"})
    assert [(one["type"], one["loc"]) for one in answer.json()["detail"]] == [
        ("missing", ["body", "file"]),
        ("string_type", ["body", "lines", 0, "sku"]),
        ("json_invalid", ["body", "meta"]),
        ("int_parsing", ["body", "count"]),
    ]


NAMES = ["sku", "quantity", "price", "note", "tags", "cat", "dog", "number", "another", "x"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=12,
)
TYPES = [Line, Closed, Card, list[Line | Closed], dict[str, Cat | Dog | int | None], tuple[int, ...], list[Any]]


@pytest.mark.parametrize("type_", TYPES, ids=str)
@given(value=VALUES)
def test_of_a_large_input_the_same_is_taken(type_: Any, value: Any) -> None:
    """Giving up early changes what is told of an input, never whether it fits nor what is made of it."""
    plain = wire_type(type_)
    body = json.dumps(value).encode()

    def outcome(read: Callable[[bytes], Any]) -> Any:
        try:
            return repr(read(body))
        except ValidationError:
            return "refused"

    assert outcome(plain.decode) == outcome(plain._for_large().validate_json)
