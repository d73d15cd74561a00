"""What `@rpc` takes of FastAPI's arguments, on the wire and in the document."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from fastapi_poto import ConfigurationError, PotoError, PotoModule, poto_router, public, roles, rpc

from .conftest import Serve

pytestmark = pytest.mark.anyio


class Part(BaseModel):
    name: str
    note: str | None = None
    inner: "Part | None" = None


class Whole(BaseModel):
    part: Part | None
    size: int | None


class Gone(PotoError):
    """It is gone."""

    code = "gone"
    status = 410


@public()
class Shop(PotoModule):
    @rpc(
        status_code=201,
        responses={409: {"description": "There is one."}, 410: {"description": "Long gone."}},
        errors=[Gone],
    )
    async def make(self, name: str) -> Part:
        return Part(name=name)

    @rpc(status_code=202)
    async def accept(self) -> None: ...

    @rpc(status_code=206, media_type="text/csv")
    async def get_table(self) -> bytes:
        return b"a,b"

    @rpc(response_model_exclude_none=True)
    async def get_part(self) -> Part:
        return Part(name="a", inner=Part(name="b"))

    async def get_whole(self) -> Part:
        return Part(name="a")

    @rpc(response_model_exclude_none=True)
    async def get_sparse(self) -> list[Whole]:
        return [Whole(part=None, size=1)]

    @rpc(include_in_schema=False)
    async def hidden(self) -> int:
        return 1

    async def get_either(self, plain: bool = False) -> Part | PlainTextResponse:
        return PlainTextResponse("plain", status_code=203) if plain else Part(name="a")

    async def get_away(self) -> RedirectResponse:
        return RedirectResponse("/Shop/whole")

    async def get_maybe(self, there: bool) -> Response | None:
        return Response("x", media_type="text/plain") if there else None

    @rpc
    async def bare(self) -> int:
        return 1


async def test_statuses(serve: Serve) -> None:
    """`status_code` is that of success; a response that a method returns has its own."""
    client = serve(Shop).client
    answer = await client.post("/Shop/make", json={"name": "a"})
    assert (answer.status_code, answer.json()["name"]) == (201, "a")
    answer = await client.post("/Shop/accept")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (202, b"", "0")
    answer = await client.get("/Shop/table")
    assert (answer.status_code, answer.headers["content-type"]) == (206, "text/csv")
    answer = await client.get("/Shop/either?plain=true")
    assert (answer.status_code, answer.text) == (203, "plain")
    assert (await client.get("/Shop/either")).json()["name"] == "a"
    answer = await client.get("/Shop/away", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/Shop/whole")
    assert (await client.get("/Shop/maybe?there=true")).text == "x"
    assert (await client.get("/Shop/maybe?there=false")).status_code == 204
    assert (await client.post("/Shop/bare")).json() == 1
    assert (await client.post("/Shop/hidden")).json() == 1


async def test_without_none(serve: Serve) -> None:
    """`response_model_exclude_none` leaves members out, however deep."""
    client = serve(Shop).client
    assert (await client.get("/Shop/part")).json() == {"name": "a", "inner": {"name": "b"}}
    assert (await client.get("/Shop/sparse")).json() == [{"size": 1}]
    assert (await client.get("/Shop/whole")).json() == {"name": "a", "note": None, "inner": None}


async def test_the_document(serve: Serve) -> None:
    """Generated clients know the status of success, what may be left out, and where a redirect goes."""
    document = serve(Shop).app.openapi()
    shown = {path.removeprefix("/Shop/"): next(iter(item.values())) for path, item in document["paths"].items()}
    schemas = document["components"]["schemas"]
    assert "hidden" not in shown
    made = shown["make"]["responses"]
    assert [status for status in made if status < "300"] == ["201"]
    assert made["201"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Part"}
    assert made["409"]["description"] == "There is one."
    assert "GoneError" in str(schemas[made["410"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]])
    assert "content" not in shown["accept"]["responses"]["202"]
    assert list(shown["table"]["responses"]["206"]["content"]) == ["text/csv"]
    assert [status for status in shown["away"]["responses"] if status < "400"] == ["307"]
    assert "content" not in shown["away"]["responses"]["307"]
    either = shown["either"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert either == {"$ref": "#/components/schemas/Part"}
    sparse = shown["sparse"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert sparse["items"] == {"$ref": "#/components/schemas/WholeWithoutNone"}
    assert schemas["WholeWithoutNone"]["required"] == []
    part = shown["part"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert schemas[part["$ref"].rpartition("/")[2]]["required"] == ["name"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"response_model": Part}, r"Told\.act: @rpc has no response_model\. The return annotation"),
        ({"dependencies": []}, r"Told\.act: @rpc has no dependencies\. Take them in the constructor"),
        ({"operation_id": "x"}, r"Told\.act: @rpc has no operation_id\..*generate_unique_id_function"),
        ({"sumary": "x"}, r"Told\.act: @rpc has no sumary\. It takes .*summary"),
        ({"status_code": "201"}, r"Told\.act: @rpc\(status_code='201'\)\. Write a number"),
        ({"status_code": 404}, r"Told\.act: status_code=404\. .*failures are raised"),
        ({"status_code": 204}, r"Told\.act: 204 has no body\. Write `-> None`"),
        ({"responses": [404]}, r"Told\.act: @rpc\(responses=\[404\]\)\. Write a dictionary"),
    ],
)
def test_what_rpc_does_not_take(options: dict[str, Any], message: str) -> None:
    """Every other argument of FastAPI's is refused with what to write instead."""
    with pytest.raises(ConfigurationError, match=message):

        class Told(PotoModule):
            @rpc(**options)
            def act(self) -> int:
                return 1

        Told.__qualname__ = "Told"
        poto_router(Told, poto=None)


@pytest.mark.parametrize("decorator", [public, public(), rpc, rpc(), roles("admin")])
def test_with_and_without_parentheses(decorator: Callable[[Any], Any]) -> None:
    """Either is the method itself, decorated."""

    def act(self: Any) -> int:
        return 1

    assert decorator(act) is act


def test_what_is_no_option() -> None:
    """A text is not taken for the method."""
    with pytest.raises(ConfigurationError, match="options have names"):
        rpc("act")  # type: ignore[type-var]


async def test_the_document_of_an_application(serve: Serve) -> None:
    """An application that hides a router's methods has none of them in its document, and serves them."""
    app = FastAPI()
    served = serve(Shop, app=app, include_in_schema=False)
    assert not [path for path in served.app.openapi()["paths"] if path.startswith("/Shop")]
