"""Every type of value goes in and comes back equal, or is refused clearly."""

import base64
import json
from typing import Any

import pytest

from tests.e2e.caller import Caller, Refused

pytestmark = pytest.mark.anyio

RICH = {
    "at": "2026-02-28T23:59:59.999999+05:30",
    "price": "12.50",
    "id": "12345678-1234-5678-1234-567812345678",
    "tags": ["a"],
    "blob": base64.b64encode(bytes(range(256))).decode(),
    "pet": {"kind": "cat", "lives": 7},
    "ratio": 0.1,
    "note": None,
}
DEEP: dict[str, Any] = {"value": 0, "children": []}
for _ in range(60):
    DEEP = {"value": 1, "children": [DEEP]}

EQUAL = [
    ("moment", "2026-02-28T23:59:59.999999+05:30"),
    ("moment", "2026-02-28T23:59:59Z"),
    ("moment", "2026-02-28T23:59:59"),
    ("day", "0001-01-01"),
    ("day", "2024-02-29"),
    ("clock", "23:59:59.000001"),
    ("clock", "12:00:00Z"),
    ("duration", "P1DT2H3M4.5S"),
    ("duration", "-P1D"),
    ("decimal", "0.10000000000000000000000000001"),
    ("decimal", "123456789012345678901234567890.5"),
    ("decimal", "-0.00"),
    ("uuid", "12345678-1234-5678-1234-567812345678"),
    ("numbers", [1]),
    ("numbers", []),
    ("words", ["ß"]),
    ("blobs", [base64.b64encode(bytes(range(256))).decode(), ""]),
    ("colour", "green"),
    ("level", 2),
    ("pet", {"kind": "cat", "lives": 1}),
    ("pet", {"kind": "dog", "name": "Rex"}),
    ("scalar", 1),
    ("scalar", "1"),
    ("scalar", True),
    ("scalar", None),
    ("tree", DEEP),
    ("aliased", {"onTheWire": "x"}),
    ("rich", RICH),
    ("rich", {**RICH, "note": "n", "pet": {"kind": "dog", "name": ""}}),
    ("point", {"x": 1, "y": 2.5}),
    ("movie", {"title": "t", "year": 1}),
    ("pair", [1, "two"]),
    ("integer", 0),
    ("integer", -(2**53)),
    ("number", 0.1),
    ("number", 1.7976931348623157e308),
    ("number", 5e-324),
    ("number", -0.0),
    ("number", "Infinity"),
    ("number", "-Infinity"),
    ("number", "NaN"),
    ("flag", False),
    ("text", ""),
    ("text", 'ä € \U0001f600 \u2028 \u0000 " \\ \r\n'),
    ("text", "x" * 1_000_000),
    ("choice", "a"),
    ("choice", 1),
    ("address", "127.0.0.1"),
    ("by_number", {"1": "one", "-2": "two"}),
    ("by_name", {"": [1, None], "ключ": []}),
    ("anything", None),
    ("anything", {"a": [1, 2.5, "x", None, True, {"b": []}]}),
    ("optional", None),
    ("optional", "set"),
]


@pytest.mark.parametrize(("method", "value"), EQUAL, ids=lambda value: str(value)[:30])
async def test_comes_back_equal(visitor: Caller, method: str, value: object) -> None:
    """The JSON that went in is the JSON that comes out; in between it was the Python type of the annotation."""
    assert await visitor.call(f"/Types/{method}", value=value) == value


@pytest.mark.parametrize("integer", [2**53 + 1, 2**63 - 1, -(2**63), 2**64, 10**40])
async def test_big_integers(visitor: Caller, integer: int) -> None:
    """Numbers and strings of digits are both accepted, and every digit comes back."""
    assert int(await visitor.call("/Types/integer", value=integer)) == integer
    assert int(await visitor.call("/Types/integer", value=str(integer))) == integer


@pytest.mark.parametrize(
    ("method", "value", "back"),
    [
        ("numbers", [3, 3, 3], [3]),
        ("decimal", 1.5, "1.5"),
        ("tree", {"value": 1}, {"value": 1, "children": []}),
        ("point", {"x": 1}, {"x": 1, "y": 0.0}),
        ("pet", {"kind": "cat"}, {"kind": "cat", "lives": 9}),
        ("span", [1, 2], [1, 2]),
        ("duration", 90, "PT1M30S"),
        ("aliased", {"in_python": "x"}, {"onTheWire": "x"}),
    ],
    ids=str,
)
async def test_comes_back_normal(visitor: Caller, method: str, value: object, back: object) -> None:
    """Another spelling of a value comes back in its normal one."""
    assert await visitor.call(f"/Types/{method}", value=value) == back


async def test_infinity_and_nan_as_bare_words(visitor: Caller) -> None:
    """Python's JSON writes them bare, which is not JSON: they are read as numbers or refused, never something else."""
    for word, back in (("Infinity", "Infinity"), ("-Infinity", "-Infinity"), ("NaN", "NaN")):
        headers = {**visitor.headers, "Content-Type": "application/json"}
        response = await visitor.http.post("/Types/number", content=f'{{"value": {word}}}', headers=headers)
        assert response.status_code == 422 or response.json() == back, response.text


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("moment", "yesterday"),
        ("moment", "2026-02-30T00:00:00Z"),
        ("day", "2026-13-01"),
        ("clock", "25:00"),
        ("duration", "an hour"),
        ("decimal", "one"),
        ("uuid", "1234"),
        ("numbers", ["x"]),
        ("numbers", 3),
        ("blobs", ["not base64!"]),
        ("colour", "blue"),
        ("level", 3),
        ("pet", {"kind": "cow"}),
        ("pet", {"lives": 9}),
        ("tree", {"value": 1, "children": [{"value": "x"}]}),
        ("tree", None),
        ("rich", {}),
        ("point", {"x": "left"}),
        ("movie", {"title": "t"}),
        ("span", [1]),
        ("pair", [1, "two", 3]),
        ("integer", 1.5),
        ("integer", ""),
        ("integer", None),
        ("integer", "Infinity"),
        ("number", "much"),
        ("flag", "perhaps"),
        ("text", 1),
        ("choice", "b"),
        ("address", "256.0.0.1"),
        ("by_number", {"one": "1"}),
        ("bounded", 11),
        ("bounded", 0),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_is_refused_clearly(visitor: Caller, method: str, value: object) -> None:
    """422 that names the parameter and says what is wrong."""
    with pytest.raises(Refused) as refused:
        await visitor.call(f"/Types/{method}", value=value)
    assert refused.value.status == 422
    for entry in refused.value.body["detail"]:
        assert entry["loc"][:2] == ["body", "value"]
        assert entry["msg"]


async def test_deep_nesting(visitor: Caller) -> None:
    """100,000 brackets are refused or come back, and the server lives."""
    headers = {**visitor.headers, "Content-Type": "application/json"}
    for method in ("anything", "tree"):
        nested = b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        response = await visitor.http.post(f"/Types/{method}", content=nested, headers=headers)
        assert response.status_code == 422, response.text[:200]
    assert await visitor.call("/Types/integer", value=1) == 1


async def test_a_string_that_is_not_unicode(visitor: Caller) -> None:
    """A lone surrogate and bad UTF-8 are refused, not changed."""
    headers = {**visitor.headers, "Content-Type": "application/json"}
    for content in (rb'{"value": "\ud800"}', b'{"value": "\xff"}'):
        response = await visitor.http.post("/Types/text", content=content, headers=headers)
        assert response.status_code == 422, response.text


async def test_absent_is_not_null(visitor: Caller) -> None:
    """A parameter left out has its default; null is null."""
    assert await visitor.call("/Types/optional") == "unset"
    assert await visitor.call("/Types/optional", value=None) is None


async def test_several_parameters(visitor: Caller) -> None:
    """Each is a member of the one object, keyword-only ones too."""
    assert await visitor.call("/Types/several", first={"value": 4}) == [4, True, 0]
    third = [{"kind": "cat"}, {"kind": "dog", "name": "Rex"}]
    assert await visitor.call("/Types/several", first={"value": 4}, second=RICH, third=third) == [4, False, 2]


async def test_in_streams(visitor: Caller) -> None:
    """Items are what answers would be."""
    values = [RICH, {**RICH, "note": "line\nbreak\r\n"}, {**RICH, "ratio": "Infinity"}]
    assert await visitor.items("/Types/stream", values=values) == values


async def test_in_queries(visitor: Caller) -> None:
    """What a query can carry comes back equal too."""
    params: dict[str, Any] = {
        "at": RICH["at"], "price": "0.10", "id": RICH["id"], "colour": "red", "numbers": [1, 2], "note": "a&b=ü +",
    }  # fmt: skip
    answer = await visitor.value("GET", "/Types/query", params=params)
    assert answer == [RICH["at"], "0.10", RICH["id"], "red", [1, 2], "a&b=ü +"]


async def test_in_sessions(visitor: Caller) -> None:
    """A value set by one call is equal, and of the same type, in the next."""
    assert len(await visitor.call("/Kept/put")) == 19
    assert await visitor.call("/Kept/changed") == []


def test_the_cases_are_json() -> None:
    """The table itself survives JSON: a case that did not would prove nothing."""
    for _, value in EQUAL:
        assert json.loads(json.dumps(value)) == value
