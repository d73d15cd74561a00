"""How a JSON body becomes arguments, and what a call knows by itself."""

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from fastapi import Depends, Header

from fastapi_poto import CallContext, CurrentSession, CurrentUser, PotoModule, Session, User, public
from tests.calls.echo import Echo, shelf

from .conftest import Serve

pytestmark = pytest.mark.anyio


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


async def test_a_parameter_that_a_decorator_adds(serve: Serve) -> None:
    """It is in the signature, if not among the method's own annotations."""
    client = serve(Decorated).client
    assert (await client.post("/Decorated/say", json={"word": "a", "times": 2})).json() == ["a", "a"]
    assert (await client.post("/Decorated/say", json={"word": "a", "times": "x"})).status_code == 422
