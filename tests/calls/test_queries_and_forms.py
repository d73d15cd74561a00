"""How queries, forms, uploads and paths become arguments."""

from collections import deque
from collections.abc import AsyncIterator, Iterable, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import pytest
from fastapi import Depends, Query, UploadFile
from pydantic import AliasChoices, AliasPath, Base64Bytes, Field, Json, Strict, StrictInt
from typing_extensions import TypeAliasType

from fastapi_poto import PotoModule, public
from tests.calls.echo import Echo, Line, done, shelf

from .conftest import Serve

pytestmark = pytest.mark.anyio


T = TypeVar("T")


Numbers = TypeAliasType("Numbers", list[int])


Many = TypeAliasType("Many", list[T], type_params=(T,))


Large = TypeAliasType("Large", Annotated[int, Field(gt=3)])


Shelf = TypeAliasType("Shelf", Annotated[str, Depends(shelf)])


Tree = TypeAliasType("Tree", "dict[str, Tree] | int")


Blob = TypeAliasType("Blob", bytes)


Ticks = TypeAliasType("Ticks", AsyncIterator[int])


Upload = TypeAliasType("Upload", UploadFile)


@public
class Aliases(PotoModule):
    """Types by the names that PEP 695's `type` gives them."""

    def __init__(self, place: Shelf) -> None:
        self.place = place

    async def get_all(self, numbers: Numbers, more: Many[int] | None = None, large: Large = 4) -> Numbers:
        return [*numbers, *(more or []), large]

    async def found(self, large: Large, place: Shelf, tree: Tree = 0) -> list[Any]:
        return [large, place, self.place, tree]

    async def upload(self, file: Upload, numbers: Numbers) -> Blob:
        return await file.read() + bytes(numbers)

    async def ticks(self) -> Ticks:
        yield 1


class Rank(Enum):
    LOW = 1
    HIGH = 2.5
    NAMED = "1.0"


class Span(NamedTuple):
    first: int
    last: int


@public
class Queries(PotoModule):
    async def get_numbers(self, size: Literal[10, 25, "all", True], ranks: list[Rank] = []) -> list[Any]:  # noqa: B006
        return [size, *ranks]

    async def get_several(
        self, span: Span, last: deque[int], both: Sequence[int] = (), each: MutableSequence[str] | None = None
    ) -> list[Any]:
        return [span.last, last.pop(), both, each]

    async def get_named(
        self,
        ids: Annotated[list[int], Field(alias="id")],
        first: Annotated[int, Field(validation_alias=AliasPath("of", 1))],
        some: Annotated[set[int], Query(alias="n")] = set(),  # noqa: B006
        other: Annotated[tuple[int, ...], Field(validation_alias=AliasChoices("o", AliasPath("p", 0)))] = (),
    ) -> list[Any]:
        return [ids, first, sorted(some), other]

    async def get_all(
        self, one: AbstractSet[int], two: Iterable[int], three: Annotated[frozenset[int], Strict()], four: StrictInt = 4
    ) -> list[Any]:
        return [sorted(one), list(two), sorted(three), four]

    async def get_bytes(self, data: Base64Bytes, day: Annotated[date, Strict()], more: Json[list[bytes]]) -> bytes:
        return data + b"".join(more)

    async def sum_of(self, numbers: Iterable[int]) -> int:
        return sum(numbers)


@public
class Forms(PotoModule):
    async def load(
        self,
        file: UploadFile,
        meta: Json[Line],
        lines: list[Line] = [],  # noqa: B006
        ids: Annotated[list[int], Field(alias="id")] = [],  # noqa: B006
        data: bytes = b"",
        rank: Rank | None = None,
    ) -> list[Any]:
        return [(await file.read()).decode(), meta.sku, len(lines), ids, data, rank]


async def test_json_under_another_name(serve: Serve) -> None:
    """application/json with parameters, and +json, are JSON."""
    client = serve(Echo).client
    for content_type in ("application/json; charset=utf-8", "application/vnd.shop+json", "APPLICATION/JSON"):
        answer = await client.post("/Echo/scalar", content=b'{"number": 1}', headers={"content-type": content_type})
        assert answer.json() == 2


async def test_queries(serve: Serve) -> None:
    """GET and DELETE take query parameters, repeated ones for lists and sets."""
    client = serve(Echo).client
    identifier = "12345678-1234-5678-1234-567812345678"
    answer = await client.get(
        "/Echo/query",
        params={"number": 3, "colours": ["red", "blue"], "day": "2026-01-02", "ids": [identifier], "flag": "true"},
    )
    assert answer.json() == {
        "number": 3, "colours": ["red", "blue"], "day": "2026-01-02", "ids": [identifier], "flag": True,
    }  # fmt: skip
    assert (await client.get("/Echo/parsed", params={"numbers": "[1, 2]"})).json() == 3
    assert (await client.get("/Echo/parsed", params={"numbers": "[1, 2]", "more": "[3]"})).json() == 6
    answer = await client.delete("/Echo/thing", params={"name": "a"})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_bad_queries_are_422(serve: Serve) -> None:
    """The errors of a query are FastAPI's, placed in `query`."""
    answer = await serve(Echo).client.get("/Echo/query", params={"number": "x", "colours": "green"})
    places = [error["loc"] for error in answer.json()["detail"]]
    assert (answer.status_code, places) == (422, [["query", "number"], ["query", "colours", 0]])


async def test_what_fastapi_finds(serve: Serve) -> None:
    """Depends, Header, Cookie, Query, Request, Response and BackgroundTasks work as in any endpoint."""
    done.clear()
    answer = await serve(Echo).client.post(
        "/Echo/found", params={"page": 4}, json={"number": 5}, headers={"X-Agent": "me", "Cookie": "crumb=sweet"}
    )
    assert answer.status_code == 202
    assert answer.headers["X-Answer"] == "yes"
    assert answer.json() == {
        "number": 5, "path": "/Echo/found", "shelf": "shelf", "agent": "me", "crumb": "sweet", "page": 4,
    }  # fmt: skip
    assert done == ["5"]


async def test_uploads(serve: Serve) -> None:
    """UploadFile makes the body multipart; values are fields, and a model is JSON in one."""
    answer = await serve(Echo).client.post(
        "/Echo/upload",
        files=[("file", ("a.txt", b"abc")), ("others", ("b", b"1")), ("others", ("c", b"2"))],
        data={"note": "n", "line": '{"sku": "a"}'},
    )
    assert answer.json() == {
        "name": "a.txt", "size": 3, "others": 2, "note": "n", "line": {"sku": "a", "quantity": 1},
    }  # fmt: skip
    answer = await serve(Echo).client.post("/Echo/upload", data={"line": "{"})
    assert answer.status_code == 422


async def test_path_parameters(serve: Serve) -> None:
    """A path of @rpc may have parameters."""
    client = serve(Echo).client
    assert (await client.get("/Echo/things/7?deep=1")).json() == {"id": 7, "deep": True}
    assert (await client.get("/Echo/things/x")).status_code == 422
    answer = await client.put("/Echo/things/7/line", json={"line": {"sku": "a"}})
    assert answer.json() == {"id": 7, "line": {"sku": "a", "quantity": 1}}  # `line` is not `line_id`


async def test_aliases_of_types(serve: Serve) -> None:
    """Wherever a type may stand: dependencies, queries, constraints, uploads, answers and streams."""
    client = serve(Aliases).client
    assert (await client.get("/Aliases/all?numbers=1&numbers=2&more=3&large=5")).json() == [1, 2, 3, 5]
    assert (await client.get("/Aliases/all?numbers=1&large=3")).status_code == 422
    answer = await client.post("/Aliases/found", json={"large": 4, "tree": {"a": {"b": 1}}})
    assert answer.json() == [4, "shelf", "shelf", {"a": {"b": 1}}]
    answer = await client.post("/Aliases/found", json={"large": 3, "place": "mine"})
    assert [error["loc"] for error in answer.json()["detail"]] == [["body", "large"], ["body", "place"]]
    answer = await client.post("/Aliases/upload", files={"file": b"x"}, data={"numbers": ["1", "2"]})
    assert answer.content == b"x\1\2"
    assert "data: 1" in (await client.post("/Aliases/ticks")).text


async def test_numbers_that_a_query_chooses_from(serve: Serve) -> None:
    """The numbers of a `Literal` and of an `Enum` are texts in a query."""
    client = serve(Queries).client
    assert (await client.get("/Queries/numbers?size=10&ranks=1&ranks=2.5&ranks=1.0")).json() == [10, 1, 2.5, "1.0"]
    assert (await client.get("/Queries/numbers?size=all")).json() == ["all"]
    assert (await client.get("/Queries/numbers?size=true")).json() == [True]
    assert (await client.get("/Queries/numbers?size=11")).status_code == 422
    assert (await client.get("/Queries/numbers?size=10&ranks=3")).status_code == 422


async def test_whatever_has_several_values_is_repeated(serve: Serve) -> None:
    """Named tuples, deques and sequences, as lists."""
    client = serve(Queries).client
    answer = await client.get("/Queries/several?span=1&span=2&last=3&last=4&both=5&each=6")
    assert answer.json() == [2, 4, [5], ["6"]]


async def test_names_that_callers_use(serve: Serve) -> None:
    """A list under an alias takes all its values, and so does one that is a part of another."""
    client = serve(Queries).client
    answer = await client.get("/Queries/named?id=1&id=2&of=3&of=4&n=5&n=6&o=7&o=8")
    assert answer.json() == [[1, 2], 4, [5, 6], [7, 8]]


async def test_collections_and_strict_types_in_a_query(serve: Serve) -> None:
    """Whatever starts can be sent: texts are all that a query has."""
    served = serve(Queries)
    answer = await served.client.get("/Queries/all?one=2&one=1&two=3&two=4&three=5&four=6")
    assert answer.json() == [[1, 2], [3, 4], [5], 6]
    assert (await served.client.get("/Queries/all?one=1&two=3&three=5&four=x")).status_code == 422
    answer = await served.client.get("/Queries/bytes", params={"data": "aGk=", "day": "2026-01-02", "more": '["aGk="]'})
    assert answer.content == b"hihi"
    shown = served.app.openapi()["paths"]["/Queries/all"]["get"]["parameters"]
    types = [one["schema"]["type"] for one in shown if one["in"] == "query"]
    assert types == ["array", "array", "array", "integer"]


async def test_an_iterable_is_looked_at_at_once(serve: Serve) -> None:
    """Pydantic would look at each item when the method takes it: too late for a 422."""
    client = serve(Queries).client
    assert (await client.post("/Queries/sum_of", json={"numbers": [1, "2"]})).json() == 3
    assert (await client.post("/Queries/sum_of", json={"numbers": [1, "x"]})).status_code == 422


async def test_forms(serve: Serve) -> None:
    """`Json` is the text that the document asks for; lists have all their values; bytes are what they are."""
    client = serve(Forms).client
    data: dict[str, Any] = {
        "meta": '{"sku": "m"}',
        "id": ["1", "2"],
        "data": "hi",
        "rank": "2.5",
        "lines": '[{"sku": "a"}]',
    }
    answer = await client.post("/Forms/load", files={"file": b"x"}, data=data)
    assert answer.json() == ["x", "m", 1, [1, 2], "aGk=", 2.5]
    answer = await client.post(
        "/Forms/load", files={"file": b"x", "lines": b"[]"}, data={"meta": '{"sku": "m"}', "rank": ""}
    )
    assert answer.json() == ["x", "m", 0, [], "", None]
