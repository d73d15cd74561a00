"""What applications, routers and inclusions say for all of their routes holds for methods, or is refused."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel

from fastapi_poto import ConfigurationError, Poto, PotoModule, poto_router, public, rpc

from .conftest import SECRET, Serve

pytestmark = pytest.mark.anyio


class Vendor(JSONResponse):
    media_type = "application/vnd.shop+json"


class Enveloped(JSONResponse):
    def render(self, content: Any) -> bytes:
        return super().render({"data": content})


class Thing(BaseModel):
    number: int


@public
class Shop(PotoModule):
    @rpc(status_code=201)
    async def post_thing(self, number: int) -> Thing:
        return Thing(number=number)

    async def get_page(self) -> str:
        return "<p>"


@pytest.mark.parametrize("place", ["router", "inclusion", "application"])
async def test_default_response_class(serve: Serve, place: str) -> None:
    """Results are made into it, with the status, and the document says so; errors are JSON as ever."""
    on_router: dict[str, Any] = {"default_response_class": Vendor} if place == "router" else {}
    app = FastAPI(default_response_class=Vendor) if place == "application" else FastAPI()
    if place == "inclusion":
        router = poto_router(Shop, poto=Poto(SECRET))
        app.include_router(router, default_response_class=Vendor)
        served = serve(app=app, auth=False)
    else:
        served = serve(Shop, app=app, **on_router)
    answer = await served.client.post("/Shop/thing", json={"number": 1})
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (
        201,
        Vendor.media_type,
        {"number": 1},
    )
    shown = served.app.openapi()["paths"]["/Shop/thing"]["post"]["responses"]
    assert list(shown["201"]["content"]) == [Vendor.media_type]
    answer = await served.client.post("/Shop/thing", json={"number": "x"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")


async def test_classes_that_render(serve: Serve) -> None:
    """An envelope is put around the value; text is text."""
    client = serve(Shop, default_response_class=Enveloped).client
    assert (await client.post("/Shop/thing", json={"number": 1})).json() == {"data": {"number": 1}}
    client = serve(Shop, default_response_class=HTMLResponse).client
    answer = await client.get("/Shop/page")
    assert (answer.headers["content-type"], answer.text) == ("text/html; charset=utf-8", "<p>")


async def test_strict_content_type(serve: Serve) -> None:
    """Without it, a body that does not say what it is is JSON, as in FastAPI; one that says something else is none."""
    client = serve(Shop, strict_content_type=False).client
    assert (await client.post("/Shop/thing", content=b'{"number": 1}')).status_code == 201
    headers = {"content-type": "text/plain"}
    assert (await client.post("/Shop/thing", content=b'{"number": 1}', headers=headers)).status_code == 422
    client = serve(Shop).client
    assert (await client.post("/Shop/thing", content=b'{"number": 1}')).status_code == 422


def test_route_class() -> None:
    """Methods have one of their own."""
    with pytest.raises(ConfigurationError, match=r"route_class=….*Wrap them in a decorator"):
        poto_router(Shop, poto=Poto(SECRET), route_class=object)  # type: ignore[call-arg]


async def of_socket(socket: WebSocket) -> None: ...


async def deep(inner: Annotated[None, Depends(of_socket)]) -> None: ...


async def of_body(thing: Thing) -> int:
    return thing.number


async def of_request(request: Request) -> int:
    return len(await request.body())


class TakesSocketInside(PotoModule):
    async def act(self, it: Annotated[None, Depends(deep)]) -> int:
        return 1


class TakesBodyInside(PotoModule):
    async def get_act(self, it: Annotated[int, Depends(of_body)]) -> int:
        return it


class ConstructorTakesBody(PotoModule):
    def __init__(self, it: int = Depends(of_body)) -> None:
        self.it = it

    async def act(self, number: int) -> int:
        return number


@public
class ReadsTheBody(PotoModule):
    async def act(self, size: Annotated[int, Depends(of_request)]) -> int:
        return size


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (TakesSocketInside, r"TakesSocketInside\.act: the dependency of_socket takes a WebSocket"),
        (TakesBodyInside, r"TakesBodyInside\.get_act: the dependency of_body takes 'thing' from the body"),
        (ConstructorTakesBody, r"ConstructorTakesBody\.act: the dependency of_body takes 'thing' from the body"),
    ],
)
def test_dependencies_that_cannot_be_had(module: type[PotoModule], message: str) -> None:
    """A call has no socket, a GET no body, and a method's body is the method's."""
    with pytest.raises(ConfigurationError, match=message):
        poto_router(module, poto=Poto(SECRET))


async def test_a_dependency_may_read_the_body(serve: Serve) -> None:
    """Of a method that takes none: it is for the dependency to say whether it fits."""
    client = serve(ReadsTheBody).client
    assert (await client.post("/ReadsTheBody/act", content=b"1234")).json() == 4


def test_two_runtimes_in_one_application() -> None:
    """Their sign-in routes would hide each other: the message says how to share one."""
    app = FastAPI()
    for module in (Shop, ReadsTheBody):
        app.include_router(poto_router(module, poto=Poto(SECRET)))
    with pytest.raises(ConfigurationError, match=r"sign-in routes of two runtimes\. Share one"):
        app.openapi()
