"""Each answer says once which request it answers, by the id that the log has."""

import logging
from collections.abc import AsyncIterator

import pytest
from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from starlette.responses import PlainTextResponse, Response

from fastapi_poto import PotoError, PotoModule, current_context, public, roles

from .conftest import Serve

pytestmark = pytest.mark.anyio


class Gone(PotoError):
    code = "gone"
    status = 410


@public
class Calls(PotoModule):
    async def value(self) -> str:
        return current_context().request_id

    async def nothing(self) -> None: ...

    async def response(self) -> Response:
        return PlainTextResponse("")

    async def own(self, response: Response) -> str:
        response.headers["X-Request-ID"] = "own"
        return ""

    async def own_response(self) -> Response:
        return PlainTextResponse("", headers={"X-Request-ID": "own"})

    async def stream(self) -> AsyncIterator[int]:
        yield 1

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"1"

    async def refused(self) -> None:
        raise Gone

    async def crashing(self) -> None:
        raise RuntimeError

    @roles("admin")
    async def guarded(self) -> None: ...


PATHS = [f"/Calls/{name}" for name in ("value", "nothing", "response", "stream", "chunks", "refused", "crashing")]
PATHS += ["/Calls/guarded", "/auth/visitor", "/auth/logout"]


@pytest.mark.parametrize("path", PATHS)
async def test_the_callers_id(path: str, serve: Serve) -> None:
    """What the caller calls its request is in the answer once, whatever that is."""
    answer = await serve(Calls).client.post(path, headers={"X-Request-ID": "r-1"})
    assert answer.headers.get_list("X-Request-ID") == ["r-1"], answer.text


async def test_a_new_id(serve: Serve) -> None:
    """A request without an id, or with something that is none, gets a new one, which the method may ask for."""
    client = serve(Calls).client
    sent = [{}, {}, {"X-Request-ID": "a b"}, {"X-Request-ID": "x" * 129}, {"X-Request-ID": ""}]
    answers = [await client.post("/Calls/value", headers=headers) for headers in sent]
    ids = [answer.headers["X-Request-ID"] for answer in answers]
    assert [answer.json() for answer in answers] == ids
    assert len(set(ids)) == len(ids)
    assert {len(one) for one in ids} == {16}


@pytest.mark.parametrize("path", ["/Calls/own", "/Calls/own_response"])
async def test_a_methods_own_id(path: str, serve: Serve) -> None:
    """A method that sets the header itself is left its way."""
    answer = await serve(Calls).client.post(path)
    assert answer.headers.get_list("X-Request-ID") == ["own"]


@pytest.mark.parametrize("path", ["/Calls/value", "/Calls/stream", "/Calls/refused", "/Calls/crashing"])
async def test_beside_a_middleware(path: str, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Under asgi-correlation-id the id is that one's, once, and the log has it."""
    app = FastAPI()
    app.add_middleware(CorrelationIdMiddleware)
    with caplog.at_level(logging.WARNING, "fastapi_poto"):
        answer = await serve(Calls, app=app).client.post(path)
    (one,) = answer.headers.get_list("X-Request-ID")
    assert answer.text == f'"{one}"' or not path.endswith("value")
    assert one in caplog.text or not path.endswith("crashing")
