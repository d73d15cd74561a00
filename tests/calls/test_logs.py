"""Log records: in which request, at what time, and how bad; also where nobody has set up logging."""

import logging
import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from fastapi_poto import Poto, poto_router
from tests.processes import serve_processes
from tests.secret import SECRET
from tests.servers import RedisServer

REFUSED = {"username": "ann", "password": "no such horse"}


def test_under_plain_uvicorn(tmp_path: Path) -> None:
    """A refused sign-in leaves a line with time, level and the caller's id."""
    environment = {"POTO_STORE": f"sqlite:///{tmp_path / 'poto.db'}"}
    with serve_processes("tests.sessions.app:app", 1, directory=tmp_path, env=environment) as (process,):
        httpx.post(f"{process.url}/auth/login", data=REFUSED, headers={"X-Request-ID": "their-17"})
        said = process.log()
    when = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "
    assert re.findall(rf"{when}WARNING fastapi_poto\.audit \[their-17\] sign_in_refused ", said, re.MULTILINE), said


def test_a_store_that_stops_and_is_back(tmp_path: Path) -> None:
    """One line with the cause when it begins to fail, however many callers are refused, and one when it is back."""
    with (
        RedisServer(tmp_path / "redis") as redis,
        serve_processes("tests.sessions.app:app", 1, directory=tmp_path, env={"POTO_STORE": redis.url}) as (process,),
        httpx.Client(base_url=process.url, timeout=10) as client,
    ):
        client.post("/auth/visitor").raise_for_status()
        redis.stop()
        refused = [client.post("/auth/visitor", headers={"X-Request-ID": f"r-{number}"}) for number in range(50)]
        assert {(one.status_code, one.json()["code"]) for one in refused} == {(503, "unavailable")}
        redis.start()
        while client.post("/auth/visitor").status_code != 200:
            pass
        lines = [line for line in process.log().splitlines() if "fastapi_poto.stores" in line]
    failing, back = lines
    assert "ERROR fastapi_poto.stores [r-0] The Redis store at" in failing
    assert "ConnectionError" in failing
    assert re.search(r"WARNING .* is back after \d+\.\d s$", back)


@pytest.mark.anyio
async def test_an_applications_own_handler(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """It gets the id as `request_id`, and nothing is written beside it."""
    app = FastAPI()
    poto = Poto(SECRET)
    app.include_router(poto_router(poto=poto))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        with caplog.at_level(logging.WARNING, "fastapi_poto"):
            await client.post("/auth/login", data=REFUSED, headers={"X-Request-ID": "r-1"})
    await poto.close()
    (record,) = caplog.records
    assert (record.name, record.request_id) == ("fastapi_poto.audit", "r-1")  # type: ignore[attr-defined]
    assert "sign_in_refused" not in capsys.readouterr().err
