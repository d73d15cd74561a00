"""What comes out: values, nothing, bytes, responses, errors."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Coroutine
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.responses import JSONResponse, PlainTextResponse, Response

from fastapi_poto import PotoError, PotoModule, poto_router, public, roles, rpc

from .conftest import Serve

pytestmark = pytest.mark.anyio


class Account(BaseModel):
    name: str


class Secretive(Account):
    password: str


class Values(BaseModel):
    nan: float
    inf: float
    data: bytes
    text: str


class GoneData(BaseModel):
    sku: str


class Gone(PotoError):
    """It was here."""

    code = "gone"
    status = 410
    data: GoneData


class Custom(Exception):
    pass


@public
class Answers(PotoModule):
    async def value(self) -> Values:
        return Values(nan=math.nan, inf=math.inf, data=b"\xfb\xff", text="\u2028é")

    async def nothing(self) -> None: ...

    async def narrow(self) -> Account:
        return Secretive(name="a", password="p")

    async def record(self) -> Account:
        return SimpleNamespace(name="a", password="p")  # type: ignore[return-value]

    async def records(self) -> AsyncIterator[Account]:
        yield SimpleNamespace(name="a", password="p")  # type: ignore[misc]

    async def chosen(self, status: int, response: Response) -> int:
        response.status_code = status
        return 1

    async def accepted(self, response: Response) -> None:
        response.status_code = 202

    async def broken(self) -> int:
        return "not a number"  # type: ignore[return-value]

    async def data(self) -> bytes:
        return b"\x00\xff"

    @rpc(media_type="image/png")
    async def picture(self) -> bytes:
        return b"png"

    async def page(self) -> PlainTextResponse:
        return PlainTextResponse("page", status_code=202, headers={"X-Own": "1"})

    def either(self) -> Response:
        return Response(b"sync", media_type="text/plain")

    def gone(self) -> None:
        raise Gone(data=GoneData(sku="a"))

    async def http(self) -> None:
        raise HTTPException(418, detail={"tea": True}, headers={"X-Tea": "pot"})

    async def crash(self) -> None:
        raise RuntimeError("a secret detail")

    async def custom(self) -> None:
        raise Custom

    def no_bytes(self) -> bytes:
        return 5  # type: ignore[return-value]

    def no_response(self) -> Response:
        return None  # type: ignore[return-value]

    def promised(self, number: int) -> Awaitable[int]:
        return asyncio.sleep(0, number)

    def promised_stream(self) -> Coroutine[Any, Any, AsyncIterator[int]]:
        async def numbers() -> AsyncIterator[int]:
            yield 1

        return asyncio.sleep(0, numbers())


class Guarded(PotoModule):
    async def anyone(self) -> str:
        return self.user.id

    @roles("admin")
    async def admin(self, number: int) -> None: ...


async def test_values(serve: Serve) -> None:
    """Nothing is lost: bytes are standard base64, and NaN and infinity are strings."""
    answer = await serve(Answers).client.post("/Answers/value")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"nan": "NaN", "inf": "Infinity", "data": "+/8=", "text": "\u2028é"}


async def test_what_a_plain_method_promises(serve: Serve) -> None:
    """An awaitable of a result is as good as the result."""
    client = serve(Answers).client
    assert (await client.post("/Answers/promised", json={"number": 7})).json() == 7
    assert "data: 1" in (await client.post("/Answers/promised_stream")).text


async def test_none_is_204(serve: Serve) -> None:
    """`-> None` answers without a body and without a type."""
    answer = await serve(Answers).client.post("/Answers/nothing")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers
    assert "content-length" not in answer.headers


async def test_the_annotation_decides_what_goes_out(serve: Serve) -> None:
    """A subclass that is returned as its base does not show its own fields."""
    assert (await serve(Answers).client.post("/Answers/narrow")).json() == {"name": "a"}


async def test_an_object_with_a_models_attributes_will_do(serve: Serve) -> None:
    """As in FastAPI: a row of an ORM is answered as the annotated model."""
    client = serve(Answers).client
    assert (await client.post("/Answers/record")).json() == {"name": "a"}
    assert (await client.post("/Answers/records")).text.splitlines()[0] == 'data: {"name":"a"}'


async def test_a_status_of_the_methods_own(serve: Serve) -> None:
    """`Response` sets it, and one that has no body (RFC 9110, 6.4.1) goes out without."""
    client = serve(Answers).client
    answer = await client.post("/Answers/chosen", json={"status": 202})
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (202, b"1", "1")
    for status in (204, 205, 304):
        answer = await client.post("/Answers/chosen", json={"status": status})
        assert (answer.status_code, answer.content) == (status, b"")
        assert not {"content-length", "content-type"} & answer.headers.keys()
    answer = await client.post("/Answers/accepted")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (202, b"", "0")


async def test_bytes_and_responses(serve: Serve) -> None:
    """Bytes go out bare, under their media type; a Response passes through."""
    client = serve(Answers).client
    data = await client.post("/Answers/data")
    assert (data.content, data.headers["content-type"]) == (b"\x00\xff", "application/octet-stream")
    assert (await client.post("/Answers/picture")).headers["content-type"] == "image/png"
    page = await client.post("/Answers/page")
    assert (page.status_code, page.text, page.headers["X-Own"]) == (202, "page", "1")
    assert (await client.post("/Answers/either")).text == "sync"


async def test_a_poto_error(serve: Serve) -> None:
    """Its code, a text (of the docstring) and its data, with the error's status."""
    answer = await serve(Answers).client.post("/Answers/gone")
    assert answer.status_code == 410
    assert answer.json() == {"code": "gone", "detail": "It was here", "data": {"sku": "a"}}


async def test_an_http_exception(serve: Serve) -> None:
    """FastAPI's own exception is answered as FastAPI does."""
    answer = await serve(Answers).client.post("/Answers/http")
    assert (answer.status_code, answer.json(), answer.headers["X-Tea"]) == (418, {"detail": {"tea": True}}, "pot")


@pytest.mark.parametrize("path", ["/Answers/crash", "/Answers/broken", "/Answers/no_bytes", "/Answers/no_response"])
async def test_an_unexpected_error(serve: Serve, path: str, caplog: pytest.LogCaptureFixture) -> None:
    """500 as JSON, with no inner detail; the log and the answer share the request's id."""
    with caplog.at_level(logging.WARNING, "fastapi_poto"):
        answer = await serve(Answers).client.post(path, headers={"X-Request-ID": "r-1"})
    assert answer.status_code == 500
    assert answer.json() == {"code": "internal_error", "detail": "Internal Server Error"}
    assert answer.headers["X-Request-ID"] == "r-1"
    assert "r-1" in caplog.text


async def test_an_unexpected_error_reaches_the_server(serve: Serve) -> None:
    """The exception goes on to the server, which logs its traceback, as with any FastAPI endpoint."""
    served = serve(Answers)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(served.app), base_url="http://test") as client:
        with pytest.raises(RuntimeError, match="a secret detail"):
            await client.post("/Answers/crash")


async def test_the_applications_handlers_see_errors(serve: Serve) -> None:
    """Handlers for an exception's class, for HTTPException and for everything are the application's own."""
    app = FastAPI()

    @app.exception_handler(Custom)
    async def custom(request: Request, error: Custom) -> JSONResponse:
        return JSONResponse({"custom": True}, 499)

    @app.exception_handler(Gone)
    async def gone(request: Request, error: Gone) -> JSONResponse:
        return JSONResponse({"sku": error.data.sku}, 404)

    client = serve(Answers, app=app).client
    assert (await client.post("/Answers/custom")).json() == {"custom": True}
    assert (await client.post("/Answers/gone")).json() == {"sku": "a"}

    @app.exception_handler(Exception)
    async def everything(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"mine": type(error).__name__}, 500)

    app.middleware_stack = None
    assert (await client.post("/Answers/crash")).json() == {"mine": "RuntimeError"}


async def test_a_handler_may_read_the_body(serve: Serve) -> None:
    """A handler for validation errors finds the body, parsed in the error and raw in the request."""
    app = FastAPI()

    @app.exception_handler(RequestValidationError)
    async def explain(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"parsed": error.body, "raw": (await request.body()).decode()}, 422)

    @public
    class Picky(PotoModule):
        async def take(self, number: int) -> int:
            return number

    client = serve(Picky, app=app).client
    answer = await client.post("/Picky/take", json={"number": "x"})
    assert answer.json() == {"parsed": {"number": "x"}, "raw": '{"number":"x"}'}
    answer = await client.post("/Picky/take", content=b"{oops", headers={"content-type": "application/json"})
    assert answer.json() == {"parsed": "{oops", "raw": "{oops"}


async def test_without_credentials(serve: Serve) -> None:
    """401 with the challenge, before the body is looked at."""
    answer = await serve(Guarded).client.post(
        "/Guarded/admin", content=b"{not json", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="')
    assert "error" not in answer.headers["WWW-Authenticate"]
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_bad_token(serve: Serve) -> None:
    """401 that says so, with the same body; on a public method too."""
    served = serve(Guarded, Answers)
    bare = await served.client.post("/Guarded/anyone")
    for path in ("/Guarded/anyone", "/Answers/nothing"):
        bad = await served.client.post(path, headers={"Authorization": "Bearer junk"})
        assert (bad.status_code, bad.content) == (401, bare.content)
        assert 'error="invalid_token"' in bad.headers["WWW-Authenticate"]


async def test_without_the_role(serve: Serve) -> None:
    """403 before the body is looked at, with the challenge of RFC 6750."""
    client = await serve(Guarded).signed_in()
    assert (await client.post("/Guarded/anyone")).status_code == 200
    answer = await client.post("/Guarded/admin", content=b"{not json", headers={"content-type": "application/json"})
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


async def test_body_over_the_limit(serve: Serve) -> None:
    """413, whether the length was announced or not, and nothing of the body is kept."""

    @public
    class Large(PotoModule):
        async def take(self, text: str) -> int:
            return len(text)

    from fastapi_poto import Poto
    from tests.secret import SECRET

    client = serve(Large, poto=Poto(SECRET, max_body_size=1000)).client
    assert (await client.post("/Large/take", json={"text": "x" * 900})).json() == 900
    assert (await client.post("/Large/take", json={"text": "x" * 1000})).json()["code"] == "too_large"

    async def chunks() -> Any:
        for _ in range(100):
            yield b"x" * 100

    answer = await client.post("/Large/take", content=chunks(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert "1000 bytes" in answer.json()["detail"]


async def test_the_routers_own_limit_goes_first(serve: Serve) -> None:
    """FastAPI's max_body_size of the router holds, on both paths."""

    @public
    class Small(PotoModule):
        async def take(self, text: str) -> int:
            return len(text)

    from fastapi_poto import Poto
    from tests.secret import SECRET

    large = serve(Small, max_body_size=500, poto=Poto(SECRET, max_body_size=50)).client
    assert (await large.post("/Small/take", json={"text": "x" * 100})).json() == 100
    client = serve(Small, max_body_size=50).client
    assert (await client.post("/Small/take", json={"text": "x" * 10})).json() == 10
    assert (await client.post("/Small/take", json={"text": "x" * 100})).status_code == 413


@pytest.mark.parametrize("where", ["router", "inclusion", "application"])
async def test_every_limit_has_the_error_of_calls(where: str) -> None:
    """Whoever set it, announced or not, JSON or a form: 413 with its code, which the document promises."""

    @public
    class Small(PotoModule):
        async def take(self, text: str) -> int:
            return len(text)

        async def upload(self, file: UploadFile) -> int:
            return len(await file.read())

    app = FastAPI(max_body_size=200 if where == "application" else None)
    of_router: dict[str, Any] = {"max_body_size": 200} if where == "router" else {}
    of_inclusion: dict[str, Any] = {"max_body_size": 200} if where == "inclusion" else {}
    app.include_router(poto_router(Small, **of_router), **of_inclusion)

    async def chunks() -> Any:
        for _ in range(10):
            yield b"x" * 100

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.post("/Small/upload", files={"file": b"x"})).json() == 1
        answers = [
            await client.post("/Small/take", json={"text": "x" * 300}),
            await client.post("/Small/take", content=chunks(), headers={"content-type": "application/json"}),
            await client.post("/Small/upload", files={"file": b"x" * 300}),
        ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(413, "too_large")] * 3


async def test_an_announced_body_over_the_limit_is_not_waited_for(serve: Serve) -> None:
    """413 before anything of the body is read: who asks with `Expect: 100-continue` need not send it."""

    @public
    class Announced(PotoModule):
        async def take(self, text: str) -> int:
            return len(text)

    from fastapi_poto import Poto
    from tests.secret import SECRET

    async def never() -> Any:
        raise AssertionError("the body is read")
        yield b""

    headers = {"content-type": "application/json", "content-length": "1001"}
    limited = serve(Announced, poto=Poto(SECRET, max_body_size=1000)).client
    of_router = serve(Announced, poto=Poto(SECRET, max_body_size=1_000_000), max_body_size=1000).client
    for client in (limited, of_router):
        answer = await client.post("/Announced/take", content=never(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
