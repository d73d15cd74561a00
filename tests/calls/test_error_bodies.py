"""Errors have one flat body wherever they are raised, and the application's own handlers go before it."""

import math
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from fastapi_poto import PotoError, PotoModule, public, rpc
from fastapi_poto.errors import NotFound, TooManyRequests

from .conftest import Serve

pytestmark = pytest.mark.anyio


class Left(BaseModel):
    left: float


class SoldOut(PotoError):
    """Nothing is left."""

    code = "sold_out"
    status = 409
    data: Left | None = None


@public
class Shop(PotoModule):
    @rpc(errors=[SoldOut])
    async def buy(self, left: str) -> None:
        raise SoldOut(data=Left(left=float(left)))

    async def nothing_known(self) -> None:
        raise SoldOut

    async def undeclared(self) -> None:
        raise NotFound("no tea", data={"at": math.inf})

    async def watch(self, number: int) -> AsyncIterator[int]:
        yield number
        raise SoldOut


def refuse() -> None:
    raise TooManyRequests(retry_after=3)


def plain_routes(app: FastAPI) -> FastAPI:
    @app.get("/plain")
    async def plain() -> None:
        raise SoldOut("sold", data=Left(left=0))

    @app.get("/depends", dependencies=[Depends(refuse)])
    async def depends() -> None: ...

    @app.get("/http")
    async def http() -> None:
        raise HTTPException(404, detail={"any": "thing"})

    @app.get("/checked")
    async def checked(number: int) -> None: ...

    return app


async def test_of_methods(serve: Serve) -> None:
    """Flat; `data` always where the class annotates it, and as it is where it does not."""
    client = serve(Shop).client
    answer = await client.post("/Shop/buy", json={"left": "inf"})
    assert answer.status_code == 409
    assert answer.json() == {"code": "sold_out", "detail": "Nothing is left", "data": {"left": "Infinity"}}
    assert answer.headers["content-type"] == "application/json"
    answer = await client.post("/Shop/nothing_known")
    assert answer.json() == {"code": "sold_out", "detail": "Nothing is left", "data": None}
    answer = await client.post("/Shop/undeclared")
    assert answer.json() == {"code": "not_found", "detail": "no tea", "data": {"at": "Infinity"}}


@pytest.mark.parametrize("included_first", [True, False])
async def test_of_plain_routes(serve: Serve, included_first: bool) -> None:
    """Also of routes that have nothing to do with a module, before and after it, with their headers."""
    app = FastAPI() if included_first else plain_routes(FastAPI())
    client = serve(Shop, app=app).client
    if included_first:
        plain_routes(app)
    answer = await client.get("/plain")
    assert (answer.status_code, answer.json()) == (409, {"code": "sold_out", "detail": "sold", "data": {"left": 0.0}})
    answer = await client.get("/depends")
    assert (answer.status_code, answer.json()) == (
        429,
        {"code": "too_many_requests", "detail": "Too many requests"},
    )
    assert answer.headers["retry-after"] == "3"


async def test_of_sign_in_routes(serve: Serve) -> None:
    """Before the body is read, and of what stands in it."""
    client = serve(Shop).client
    assert (await client.get("/auth/me")).json() == {"code": "unauthenticated", "detail": "Not authenticated"}
    answer = await client.post("/auth/refresh", json={})
    assert answer.status_code == 422
    assert answer.json()["code"] == "validation_error"
    assert [one["loc"] for one in answer.json()["detail"]] == [["body", "refresh_token"]]


async def test_what_does_not_fit(serve: Serve) -> None:
    """A method's 422 is FastAPI's list with a code; a plain route keeps FastAPI's body."""
    client = serve(Shop, app=plain_routes(FastAPI())).client
    answer = await client.post("/Shop/buy", json={})
    assert answer.status_code == 422
    assert answer.json()["code"] == "validation_error"
    assert [(one["loc"], one["type"]) for one in answer.json()["detail"]] == [(["body", "left"], "missing")]
    answer = await client.get("/checked?number=x")
    assert (answer.status_code, list(answer.json())) == (422, ["detail"])
    answer = await client.get("/http")
    assert (answer.status_code, answer.json()) == (404, {"detail": {"any": "thing"}})


async def test_within_a_stream(serve: Serve) -> None:
    """The same body, under a member that no item has."""
    answer = await serve(Shop).client.post("/Shop/watch", json={"number": 1})
    assert answer.text.endswith(
        'event: error\ndata: {"$error":{"code":"sold_out","detail":"Nothing is left","data":null}}\n\n'
    )


@pytest.mark.parametrize("key", [StarletteHTTPException, HTTPException, PotoError, SoldOut, 409], ids=str)
async def test_the_applications_own_handlers_go_first(serve: Serve, key: Any) -> None:
    """For the class, for what it inherits from, and for the status."""
    app = plain_routes(FastAPI())

    @app.exception_handler(key)
    async def own(request: Request, error: SoldOut) -> PlainTextResponse:
        return PlainTextResponse(f"own {error.code} {error.detail}", error.status_code)

    client: httpx.AsyncClient = serve(Shop, app=app).client
    assert (await client.get("/plain")).text == "own sold_out sold"
    assert (await client.post("/Shop/buy", json={"left": "1"})).text == "own sold_out Nothing is left"


async def test_the_applications_own_handler_of_what_does_not_fit(serve: Serve) -> None:
    """It sees FastAPI's exception, of methods too."""
    app = FastAPI()

    @app.exception_handler(RequestValidationError)
    async def own(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"count": len(error.errors())}, 400)

    answer = await serve(Shop, app=app).client.post("/Shop/buy", json={})
    assert (answer.status_code, answer.json()) == (400, {"count": 1})


class Refused(PotoError):
    """Not this one."""

    code = "refused"
    data: Left


class RefusedAgain(Refused):
    code = "refused_again"


def test_data_that_is_promised() -> None:
    """Where the annotation does not take None an error without data cannot be made: no client would expect it."""
    for error in (Refused, RefusedAgain):
        with pytest.raises(TypeError, match=rf"Write {error.__name__}\(data=\.\.\.\), or annotate data as optional"):
            error()
        assert error(data=Left(left=1)).payload()["data"] == {"left": 1.0}
    assert SoldOut().payload()["data"] is None
    # What somebody else said without it is taken as it came.
    assert Refused.received(code="refused", status=400, detail="no").data is None
