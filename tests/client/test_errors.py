"""What a caller is raised."""

import json
from datetime import UTC, datetime
from email.utils import formatdate
from time import time

import httpx
import pytest
from fastapi import FastAPI

from fastapi_poto import Poto, PotoModule, poto_router, public, rpc
from fastapi_poto.client import InvalidArguments, PotoClient
from fastapi_poto.client.errors import error_from_body
from fastapi_poto.errors import (
    DeadlineExceeded,
    Forbidden,
    NotFound,
    PotoError,
    ShuttingDown,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from fastapi_poto.testing import LiveApp, serve
from tests.processes import listen
from tests.secret import SECRET

from .app import Line, Shop, SoldOut, SoldOutData

pytestmark = pytest.mark.anyio


async def test_a_declared_error_is_raised_as_its_class(client: PotoClient) -> None:
    """With its data parsed, whatever its constructor takes."""
    with pytest.raises(SoldOut) as caught:
        await client.module(Shop).buy("x")
    assert caught.value.data == SoldOutData(sku="x", since=datetime(2026, 1, 2, tzinfo=UTC))
    assert (caught.value.detail, caught.value.status_code) == ("No x is left", 409)


async def test_an_undeclared_error_keeps_its_code_and_status(client: PotoClient) -> None:
    """Its class is not known to this method's callers."""
    with pytest.raises(PotoError) as caught:
        await client.module(Shop).fail("undeclared")
    error = caught.value
    assert type(error) is PotoError
    assert (error.code, error.status, error.status_code, error.data) == ("secret", 418, 418, {"a": 1})
    assert PotoError.code == "error"


async def test_the_frameworks_own_errors(client: PotoClient, visitor: PotoClient) -> None:
    """Each as its class; those that say when to try again with `retry_after`."""
    shop = client.module(Shop)
    with pytest.raises(TooManyRequests) as busy:
        await shop.fail("too many")
    assert busy.value.retry_after == 7
    with pytest.raises(Unavailable) as away:
        await shop.fail("unavailable")
    assert away.value.retry_after == 3
    with pytest.raises(Forbidden, match="not you"):
        await shop.fail("forbidden")
    with pytest.raises(Forbidden):
        await visitor.module(Shop).delete_basket("u")


async def test_without_credentials(client: PotoClient) -> None:
    """A call and a stream that need a caller."""
    shop = client.module(Shop)
    with pytest.raises(Unauthenticated):
        await shop.whoami()
    with pytest.raises(Unauthenticated):
        async for _ in shop.watch(limit=1):
            pass


async def test_plain_http_errors(client: PotoClient) -> None:
    """A plain HTTPException is the class of its status, or a PotoError that says it."""
    with pytest.raises(NotFound, match="no such line"):
        await client.module(Shop).fail("http")
    with pytest.raises(PotoError) as caught:
        await client.module(Shop).fail("teapot")
    assert (caught.value.code, caught.value.status, caught.value.data) == ("http_418", 418, {"any": "thing"})


async def test_an_unexpected_failure_tells_nothing_but_where_to_look(client: PotoClient) -> None:
    """No inner detail; the request's id is a note on the error."""
    with pytest.raises(PotoError) as caught:
        await client.module(Shop).fail("unexpected")
    assert (caught.value.code, caught.value.status) == ("internal_error", 500)
    assert "secret" not in str(caught.value)
    assert caught.value.__notes__[0].startswith("request ")


async def test_an_error_names_the_request(live: LiveApp) -> None:
    """A client without the router's prefix gets a plain 404, which alone says nothing of where it asked."""
    async with PotoClient(f"{live.url}/elsewhere") as client:
        with pytest.raises(NotFound) as caught:
            await client.module(Shop).get_status()
    assert caught.value.__notes__ == ["GET /elsewhere/Shop/status answered 404"]


async def test_arguments_that_the_server_refuses(client: PotoClient) -> None:
    """FastAPI's list, and a sentence that names the place."""
    with pytest.raises(InvalidArguments) as caught:
        await client.module(Shop).add_positive("x", line={"sku": 1})  # type: ignore[arg-type]
    assert [error["loc"] for error in caught.value.errors] == [["body", "a"], ["body", "line", "sku"]]
    assert "body.line.sku: Input should be a valid string" in str(caught.value)
    assert caught.value.status_code == 422


def test_the_request_of_any_error_is_noted() -> None:
    """Also where FastAPI wrote the body."""
    for body in (b'{"detail": [{"loc": [], "msg": "m", "type": "t"}]}', b'{"detail": "gone"}', b""):
        assert error_from_body(body, status=422, headers={"x-request-id": "r1"}).__notes__ == ["request r1"]


async def test_another_path_is_not_found(live: object, client: PotoClient) -> None:
    """A router under another prefix."""
    with pytest.raises(NotFound):
        await client.module(Shop, prefix="/elsewhere").get_status()  # type: ignore[misc]


async def test_nobody_there_is_httpxs_error() -> None:
    """What never reached a server is no answer of it."""
    with listen() as sock:
        port = sock.getsockname()[1]
    async with PotoClient(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(httpx.ConnectError):
            await client.module(Shop).get_status()  # type: ignore[misc]


def body(payload: dict[str, object]) -> bytes:
    return json.dumps(payload).encode()


@pytest.mark.parametrize("page", [b"", b"<h1>Bad Gateway</h1>", b"[1]", b"\xff", b"[" * 100_000, b'{"detail": 7}'])
def test_what_no_framework_wrote(page: bytes) -> None:
    """A proxy's page is an error of its status."""
    error = error_from_body(page, status=502)
    assert (type(error), error.code, error.status, error.detail) == (PotoError, "http_502", 502, "Bad Gateway")


def test_a_frame_of_a_stream_has_no_status() -> None:
    """The class knows it; nobody knows an unknown one's."""
    assert error_from_body(body({"code": "deadline_exceeded", "detail": "m"})).status_code == 504
    assert isinstance(error_from_body(body({"code": "deadline_exceeded"})), DeadlineExceeded)
    assert error_from_body(body({"code": "other", "detail": "m"})).status == 500
    assert isinstance(error_from_body(body({"code": "shutting_down", "detail": "m"})), ShuttingDown)


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [("7", 7), ("0", 0), ("in 100 s", 100), (None, 1), ("soon", 1), ("-3", 1)],
)
def test_retry_after_has_two_forms(sent: str | None, seconds: int) -> None:
    """Seconds, a date, and what is neither."""
    if sent == "in 100 s":
        sent = formatdate(time() + 100, usegmt=True)
    headers = {} if sent is None else {"retry-after": sent}
    error = error_from_body(body({"detail": "busy"}), status=429, headers=headers)
    assert isinstance(error, TooManyRequests)
    assert abs(error.retry_after - seconds) <= 1
    assert error.headers == {"Retry-After": str(error.retry_after)}


def test_data_that_does_not_fit_is_kept_as_it_came() -> None:
    """An error is raised whatever it carries."""
    sent = body({"code": "sold_out", "detail": "m", "data": {"sku": 3}})
    error = error_from_body(sent, status=409, classes={"sold_out": SoldOut})
    assert isinstance(error, SoldOut)
    assert error.data == {"sku": 3}  # type: ignore[comparison-overlap]
    assert Line  # the models of the app are the caller's too


async def test_the_call_after_an_unexpected_failure(client: PotoClient) -> None:
    """The server closes that connection; it has said so, and no other call is sent into it."""
    shop = client.module(Shop)
    for _ in range(10):
        with pytest.raises(PotoError, match="internal_error"):
            await shop.fail("unexpected")
        assert await shop.reverse(b"ab") == b"ba"


class Front(PotoModule):
    """A service that calls another one, and lets its errors pass."""

    back = ""

    @public
    @rpc(errors=[SoldOut])
    async def buy(self, how: str) -> int:
        async with PotoClient(self.back) as client:
            shop = client.module(Shop)
            if how == "sold out":
                await shop.buy("x")
            elif how == "arguments":
                await shop.add_positive(-1)
            return await shop.fail(how)


async def test_errors_pass_through_a_service(client: PotoClient) -> None:
    """What another server answered is told to the caller as it was: class, data, list, code, time to wait."""
    Front.back = client._connection.base_url
    app = FastAPI()
    app.include_router(poto_router(Front, poto=Poto(SECRET)))
    with serve(app) as live:
        async with PotoClient(live.url) as outer:
            front = outer.module(Front)
            with pytest.raises(SoldOut) as gone:
                await front.buy("sold out")
            assert gone.value.data.sku == "x"
            with pytest.raises(InvalidArguments) as invalid:
                await front.buy("arguments")
            assert invalid.value.errors[0]["loc"] == ["body", "a"]
            with pytest.raises(TooManyRequests) as busy:
                await front.buy("too many")
            assert busy.value.retry_after == 7
            with pytest.raises(PotoError) as unknown:
                await front.buy("undeclared")
            assert (unknown.value.code, unknown.value.status, unknown.value.data) == ("secret", 418, {"a": 1})
