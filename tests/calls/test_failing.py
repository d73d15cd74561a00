"""What fails is a failure to everybody whom it concerns: the client, the dependencies, the log, and each once."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated
from weakref import WeakKeyDictionary

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from fastapi_poto import Poto, PotoError, PotoModule, poto_router, public, rpc
from fastapi_poto.streaming import hub
from fastapi_poto.streaming.hub import hub_of
from tests.secret import SECRET

pytestmark = pytest.mark.anyio

log: list[str] = []


async def transaction() -> AsyncIterator[str]:
    try:
        yield "tx"
    except BaseException as error:
        log.append(f"rollback {type(error).__name__}")
        raise
    log.append("commit")


Transaction = Annotated[str, Depends(transaction)]
ShortTransaction = Annotated[str, Depends(transaction, scope="function")]


class SoldOut(PotoError):
    """Nothing left."""

    code = "sold_out"
    status = 409


@public
class Failing(PotoModule):
    async def items(self, tx: Transaction, how: str = "") -> AsyncIterator[int]:
        yield 1
        if how == "wait":
            await asyncio.sleep(20)
        if how == "sold out":
            raise SoldOut
        if how:
            raise ValueError(how)

    @rpc(resumable=True)
    async def resumable(self, tx: Transaction) -> AsyncIterator[int]:
        yield 1
        raise ValueError("half way")

    async def chunks(self, tx: Transaction) -> AsyncIterator[bytes]:
        yield b"1"
        raise ValueError("half way")

    async def get_number(self, tx: ShortTransaction) -> int:
        return "no number"  # type: ignore[return-value]

    async def plain(self) -> AsyncIterator[int]:
        yield 1
        raise SoldOut


@pytest.fixture
def app() -> FastAPI:
    log.clear()
    app = FastAPI()
    app.include_router(poto_router(Failing, poto=Poto(SECRET)))
    return app


def client_of(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.mark.parametrize("headers", [{}, {"accept": "application/x-ndjson"}])
async def test_a_stream_that_fails_rolls_back(
    app: FastAPI, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told, then the dependencies see the very error; the log has one line of it."""
    async with client_of(app) as client:
        response = await client.post("/Failing/items", json={"how": "half way"}, headers=headers)
    assert "internal_error" in response.text
    assert log == ["rollback ValueError"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("method", ["resumable", "chunks"])
async def test_other_streams_roll_back_too(app: FastAPI, method: str) -> None:
    """Those that can be picked up again, and those of bytes."""
    async with client_of(app) as client:
        await client.post(f"/Failing/{method}")
    assert log == ["rollback ValueError"]


async def test_a_stream_past_its_deadline_rolls_back(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """What its caller no longer waits for is no success, and no error of the server's."""
    async with client_of(app) as client:
        response = await client.post(
            "/Failing/items", json={"how": "wait"}, headers={"poto-timeout-ms": "100"}, timeout=10
        )
    assert "deadline_exceeded" in response.text
    assert log == ["rollback DeadlineExceeded"]
    assert caplog.records == []


async def test_a_stream_that_is_shut_down_rolls_back(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Poto.shut_down` ends open streams with `shutting_down`; streams of the next start are served."""
    monkeypatch.setattr(hub, "_hubs", WeakKeyDictionary())  # it ends those of all loops: other tests have servers here
    poto = Poto(SECRET)
    app = FastAPI()
    app.include_router(poto_router(Failing, poto=poto))
    async with client_of(app) as client, poto.running():
        asyncio.get_running_loop().call_later(0.1, poto.shut_down)
        response = await client.post("/Failing/items", json={"how": "wait"}, timeout=10)
    assert "shutting_down" in response.text
    assert log == ["rollback ShuttingDown"]
    async with poto.running():
        assert not hub_of(asyncio.get_running_loop()).is_shutting_down


async def test_a_stream_that_ends_well_commits(app: FastAPI) -> None:
    """The other half of the promise."""
    async with client_of(app) as client:
        await client.post("/Failing/items")
    assert log == ["commit"]


async def test_a_result_that_is_not_what_was_annotated_rolls_back(app: FastAPI) -> None:
    """It is validated before dependencies of the function's scope are left."""
    async with client_of(app) as client:
        assert (await client.get("/Failing/number")).status_code == 500
    assert log == ["rollback ResponseValidationError"]


@pytest.mark.parametrize("method", ["items", "plain"])
async def test_the_applications_own_handler_shapes_errors_of_streams(app: FastAPI, method: str) -> None:
    """As it shapes responses: here as problem details."""

    @app.exception_handler(SoldOut)
    async def problem(request: Request, error: SoldOut) -> JSONResponse:
        sent = await request.body()
        return JSONResponse(
            {"title": error.code, "at": request.url.path, "sent": len(sent)}, 409, media_type="application/problem+json"
        )

    async with client_of(app) as client:
        response = await client.post(f"/Failing/{method}", json={"how": "sold out"} if method == "items" else None)
    data = response.text.partition("event: error\ndata: ")[2]
    assert {"title": "sold_out", "at": f"/Failing/{method}"}.items() <= _deepest(json.loads(data)).items()


async def test_a_handler_that_fails_costs_no_stream_its_end(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """The error goes out as it would without a handler."""

    @app.exception_handler(SoldOut)
    def broken(request: Request, error: SoldOut) -> JSONResponse:
        raise RuntimeError("broken")

    with caplog.at_level(logging.ERROR):
        async with client_of(app) as client:
            response = await client.post("/Failing/plain")
    assert "event: error" in response.text
    assert "sold_out" in response.text
    assert "broken" in caplog.text


def _deepest(body: dict[str, object]) -> dict[str, object]:
    inner = body.get("$error", body)
    assert isinstance(inner, dict)
    return inner
