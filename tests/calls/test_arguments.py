"""What goes in: bodies, queries, forms, and what FastAPI finds."""

import functools
import inspect
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from uuid import UUID

import pytest
from fastapi import BackgroundTasks, Body, Cookie, Depends, Header, Query, Request, Response, UploadFile
from pydantic import AliasChoices, AliasPath, Base64Bytes, BaseModel, Field, Json, Strict, StrictInt
from typing_extensions import TypeAliasType, TypedDict

from fastapi_poto import CallContext, CurrentSession, CurrentUser, PotoModule, Session, User, public, rpc

from .conftest import Serve

pytestmark = pytest.mark.anyio


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Line(BaseModel):
    sku: str
    quantity: int = 1


@dataclass
class Size:
    width: int


class Price(TypedDict):
    cents: int


def shelf() -> str:
    return "shelf"


done: list[str] = []


@public
class Echo(PotoModule):
    async def one(self, line: Line) -> Line:
        return line

    async def scalar(self, number: int) -> int:
        return number + 1

    def sync(self, number: int, word: str = "x") -> str:
        return word * number

    async def defaults(
        self,
        a: int = 1,
        b: list[int] = Field(default_factory=list),
        c: Annotated[int, Field(ge=3)] = 3,
        d: int | None = None,
        e: str = Field("e", max_length=3),
        f: int = Body(7),
    ) -> list[Any]:
        return [a, b, c, d, e, f]

    async def basket(self, sku: str, lines: list[Line] = [], prices: dict[str, int] = {}) -> int:  # noqa: B006
        lines.append(Line(sku=sku))
        prices[sku] = 1
        return len(lines) + len(prices)

    async def get_parsed(self, numbers: Json[list[int]], more: Json[list[int]] | None = None) -> int:
        return sum([*numbers, *(more or [])])

    async def get_numbers(self, n: int, numbers: list[int] = []) -> list[int]:  # noqa: B006
        numbers.append(n)
        return numbers

    async def watch(self, response: Response) -> AsyncIterator[int]:
        response.set_cookie("seen", "1")
        yield 1

    async def raw(self, data: bytes, lines: list[Line]) -> bytes:
        return data + lines[0].sku.encode()

    async def get_query(
        self,
        number: int,
        colours: list[Colour],
        day: date | None = None,
        ids: set[UUID] | None = None,
        flag: bool = False,
    ) -> dict[str, Any]:
        return {"number": number, "colours": colours, "day": day, "ids": ids, "flag": flag}

    async def delete_thing(self, name: str) -> None:
        assert name

    async def post_nothing(self) -> str:
        return "nothing"

    async def own_body(self, request: Request) -> str:
        return (await request.body()).decode()

    async def found(
        self,
        number: int,
        request: Request,
        response: Response,
        tasks: BackgroundTasks,
        shelf: Annotated[str, Depends(shelf)],
        agent: Annotated[str, Header(alias="X-Agent")] = "none",
        crumb: Annotated[str, Cookie()] = "none",
        page: int = Query(1),
    ) -> dict[str, Any]:
        response.headers["X-Answer"] = "yes"
        response.status_code = 202
        tasks.add_task(done.append, f"{number}")
        return {
            "number": number, "path": request.url.path, "shelf": shelf, "agent": agent, "crumb": crumb, "page": page,
        }  # fmt: skip

    async def upload(
        self, file: UploadFile, others: list[UploadFile], note: str = "", line: Line | None = None
    ) -> dict[str, Any]:
        return {
            "name": file.filename, "size": len(await file.read()), "others": len(others), "note": note, "line": line,
        }  # fmt: skip

    @rpc(method="GET", path="things/{thing_id}")
    async def thing(self, thing_id: int, deep: bool = False) -> dict[str, Any]:
        return {"id": thing_id, "deep": deep}

    @rpc(path="things/{line_id}/line")
    async def put_line(self, line_id: int, line: Line) -> dict[str, Any]:
        return {"id": line_id, "line": line}

    async def own_types(self, size: Size, price: Price) -> list[Any]:
        return [size, price]


class Given(PotoModule):
    """What a call gives by itself, however it is asked for."""

    @public
    async def caller(
        self, user: User | None, same: CurrentUser | None = None, kept: CurrentSession | None = None, at: Any = None
    ) -> list[Any]:
        return [user and user.id, user is same, kept is not None, at]

    async def where(self, user: User, kept: Session | None, call: CallContext | None) -> list[Any]:
        return [user.id == self.user.id, kept is self.session, call is self.context]


@dataclass(frozen=True)
class Frozen(PotoModule):
    agent: Annotated[str, Header(alias="user-agent")]

    async def caller(self) -> list[str]:
        return [self.user.id, self.agent]


class Mine(PotoModule):
    def __init__(self, place: Annotated[str, Depends(shelf)], agent: Annotated[str, Header()] = "none") -> None:
        self.place = place
        self.agent = agent

    async def where(self, user: CurrentUser, session: CurrentSession, other: Session) -> str:
        assert user is self.user
        await session.set("place", self.place)
        return f"{await other.get('place')} {self.agent}"


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


def counting(method: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator with a parameter of its own."""

    @functools.wraps(method)
    async def counted(self: Any, *args: Any, times: int, **kwargs: Any) -> Any:
        return [await method(self, *args, **kwargs)] * times

    signature = inspect.signature(method)
    times = inspect.Parameter("times", inspect.Parameter.KEYWORD_ONLY, annotation=int)
    counted.__signature__ = signature.replace(parameters=[*signature.parameters.values(), times])  # type: ignore[attr-defined]
    return counted


@public
class Decorated(PotoModule):
    @counting
    async def say(self, word: str) -> Any:
        return word


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


async def test_a_body_is_one_object(serve: Serve) -> None:
    """A member per parameter, even for a single model or scalar."""
    client = serve(Echo).client
    assert (await client.post("/Echo/one", json={"line": {"sku": "a"}})).json() == {"sku": "a", "quantity": 1}
    assert (await client.post("/Echo/scalar", json={"number": 1})).json() == 2
    assert (await client.post("/Echo/sync", json={"number": 2, "word": "ab"})).json() == "abab"


async def test_the_body_is_closed_and_the_types_in_it_are_as_they_were(serve: Serve) -> None:
    """Members that no parameter has are refused; what a dataclass or a TypedDict does with its own is its matter."""
    served = serve(Echo)
    sent = {"size": {"width": 1, "x": 1}, "price": {"cents": 2, "x": 1}}
    answer = await served.client.post("/Echo/own_types", json=sent)
    assert answer.json() == [{"width": 1}, {"cents": 2}]
    answer = await served.client.post("/Echo/own_types", json={**sent, "x": 1})
    assert [(error["type"], error["loc"]) for error in answer.json()["detail"]] == [("extra_forbidden", ["body", "x"])]
    schemas = served.app.openapi()["components"]["schemas"]
    closed = {name: schemas[name].get("additionalProperties") for name in ("EchoOwnTypesRequest", "Size", "Price")}
    assert closed == {"EchoOwnTypesRequest": False, "Size": None, "Price": None}


async def test_defaults(serve: Serve) -> None:
    """What the caller leaves out gets the method's own default, and a factory's anew for each call."""
    client = serve(Echo).client
    for body in (b"", b"{}"):
        answer = await client.post("/Echo/defaults", content=body, headers={"content-type": "application/json"})
        assert answer.json() == [1, [], 3, None, "e", 7]
    answer = await client.post("/Echo/defaults", json={"a": 2, "b": [1], "c": 4, "d": 5, "e": "f", "f": 8})
    assert answer.json() == [2, [1], 4, 5, "f", 8]


async def test_a_stream_sets_headers_before_its_first_item(serve: Serve) -> None:
    """What a generator does to its `Response` goes out, as what a method does."""
    answer = await serve(Echo).client.post("/Echo/watch")
    assert answer.headers["set-cookie"].startswith("seen=1")


async def test_a_mutable_default_is_each_calls_own(serve: Serve) -> None:
    """What a method does to its default, the next caller never sees."""
    client = serve(Echo).client
    for sku in ("tea", "cup"):
        assert (await client.post("/Echo/basket", json={"sku": sku})).json() == 2
        assert (await client.get("/Echo/numbers", params={"n": 3})).json() == [3]


async def test_constraints_hold(serve: Serve) -> None:
    """A Field's limits are checked whether it stands in Annotated or as the default."""
    client = serve(Echo).client
    answer = await client.post("/Echo/defaults", json={"c": 1, "e": "long"})
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["detail"]] == [["body", "c"], ["body", "e"]]


async def test_bytes_are_base64_in_json_and_raw_as_an_answer(serve: Serve) -> None:
    """Bytes inside JSON are base64 of either alphabet; a method that returns bytes answers them bare."""
    client = serve(Echo).client
    for sent in ("+/8=", "-_8="):
        answer = await client.post("/Echo/raw", json={"data": sent, "lines": [{"sku": "a"}]})
        assert answer.content == b"\xfb\xffa"
        assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("content", "content_type", "kind", "place"),
    [
        (b'{"number":', "application/json", "json_invalid", ["body", 10]),
        (b"\xff\xfe", "application/json", "json_invalid", ["body", 0]),
        (b"[" * 100_000, "application/json", "json_invalid", ["body", 201]),
        (b'{"number": NaN}', "application/json", "finite_number", ["body", "number"]),
        (b'{"number": 1e999}', "application/json", "finite_number", ["body", "number"]),
        (b'{"number": "\\ud800"}', "application/json", "json_invalid", ["body", 18]),
        (b'{"number": ' + b"9" * 5000 + b"}", "application/json", "json_invalid", ["body", 4312]),
        (b"null", "application/json", "dict_type", ["body"]),
        (b'{"number": 1}', "text/plain", "content_type", ["body"]),
        (b'{"number": 1}', "", "content_type", ["body"]),
        (b"{}", "application/json", "missing", ["body", "number"]),
        (b'{"number": 1, "nmuber": 2}', "application/json", "extra_forbidden", ["body", "nmuber"]),
        (b'{"number": {"a": [1, 2]}}', "application/json", "int_type", ["body", "number"]),
    ],
)
async def test_bad_bodies_are_422(serve: Serve, content: bytes, content_type: str, kind: str, place: list[Any]) -> None:
    """Whatever is wrong with a body: FastAPI's list, with the place, in JSON that every client reads."""
    headers = {"content-type": content_type} if content_type else {}
    answer = await serve(Echo).client.post("/Echo/scalar", content=content, headers=headers)
    assert answer.status_code == 422, answer.text
    error = json.loads(answer.text, parse_constant=pytest.fail)["detail"][0]
    assert (error["type"], error["loc"]) == (kind, place)


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


async def test_no_parameters(serve: Serve) -> None:
    """A method without parameters takes no body, or an object without members."""
    client = serve(Echo).client
    assert (await client.post("/Echo/nothing")).json() == "nothing"
    assert (await client.post("/Echo/nothing", json={})).json() == "nothing"
    answer = await client.post("/Echo/nothing", json={"number": 1})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["type"] == "extra_forbidden"
    assert (await client.post("/Echo/nothing", content=b"whatever")).status_code == 422
    assert (await client.post("/Echo/own_body", content=b"whatever")).json() == "whatever"


async def test_constructor_dependencies_and_what_a_call_knows(serve: Serve) -> None:
    """The constructor takes dependencies; CurrentUser, CurrentSession and Session come from the call."""
    client = await serve(Mine).signed_in()
    answer = await client.post("/Mine/where", headers={"agent": "me"})
    assert answer.json() == "shelf me"


async def test_nobody_sends_the_caller(serve: Serve) -> None:
    """`User`, `Session` and `CallContext`, also beside None, come from the call: in a body they are refused."""
    client = serve(Given).client
    assert (await client.post("/Given/caller", json={})).json() == [None, True, False, None]
    forged = {"id": "admin", "roles": ["admin"], "visitor": False}
    for name in ("user", "same", "kept"):
        answer = await client.post("/Given/caller", json={name: forged})
        assert [error["loc"] for error in answer.json()["detail"]] == [["body", name]]


async def test_the_caller_by_its_type(serve: Serve) -> None:
    """The type alone will do, and where there may be nobody, None beside it."""
    served = serve(Given)
    me = (await (await served.signed_in()).get("/auth/me")).json()["user_id"]
    assert (await served.client.post("/Given/caller", json={"at": 1})).json() == [me, True, True, 1]
    assert (await served.client.post("/Given/where")).json() == [True, True, True]


async def test_a_frozen_dataclass(serve: Serve) -> None:
    """A module may be a dataclass whose fields are dependencies."""
    served = serve(Frozen)
    client = await served.signed_in()
    me = (await client.get("/auth/me")).json()["user_id"]
    assert (await client.post("/Frozen/caller", headers={"user-agent": "curl"})).json() == [me, "curl"]


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


async def test_a_parameter_that_a_decorator_adds(serve: Serve) -> None:
    """It is in the signature, if not among the method's own annotations."""
    client = serve(Decorated).client
    assert (await client.post("/Decorated/say", json={"word": "a", "times": 2})).json() == ["a", "a"]
    assert (await client.post("/Decorated/say", json={"word": "a", "times": "x"})).status_code == 422
