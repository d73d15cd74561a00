"""Open streams of a caller who may no longer call."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI

from fastapi_poto import Poto, PotoModule, poto_router, rpc
from fastapi_poto.auth.authenticator import Authenticator, Identity
from fastapi_poto.errors import Unavailable
from fastapi_poto.testing import LiveApp, serve
from tests.secret import SECRET
from tests.streams.client import Connection
from tests.streams.conftest import sign_in
from tests.streams.probe import PROBES, Probe


class Watching(PotoModule):
    async def get_idle(self, tag: str) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            PROBES[tag].note("closed")

    @rpc(resumable=True)
    async def get_count(self, tag: str) -> AsyncIterator[int]:
        try:
            for number in range(1000):
                yield number
                await asyncio.sleep(0.02)
        finally:
            PROBES[tag].note("closed")


def app_that_checks() -> FastAPI:
    """It looks at its open streams' callers every tenth of a second."""
    app = FastAPI()
    app.include_router(poto_router(Watching, poto=Poto(SECRET, ping_interval=0.1, recheck_interval=0.1)))
    return app


@pytest.fixture(scope="module")
def checked() -> Iterator[LiveApp]:
    with serve(app_that_checks()) as live:
        yield live


def test_a_store_that_is_away_ends_no_stream(
    tag: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who could not be checked is checked again: a store's restart must not bring all clients back at once."""

    async def away(self: Authenticator, identity: Identity) -> bool:
        raise Unavailable("the store is away")

    monkeypatch.setattr(Authenticator, "is_active", away)
    with serve(app_that_checks()) as live:
        headers = sign_in(live.url)
        with Connection(live.url, "/Watching/idle", query={"tag": tag}, headers=headers) as connection:
            connection.read_until(b"data: ")
            for _ in range(3):
                connection.received = b""
                connection.read_until(b": ping")
            assert not connection.is_complete
    assert any("could not be checked" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("name", ["idle", "count"])
def test_streams_end_after_a_logout(checked: LiveApp, name: str, tag: str, probe: Probe) -> None:
    """With `event: error` and the body of a 401, and the generator is closed; streams of others go on."""
    mine, other = sign_in(checked.url), sign_in(checked.url)
    with (
        Connection(checked.url, f"/Watching/{name}", query={"tag": tag}, headers=mine) as connection,
        Connection(checked.url, "/Watching/idle", query={"tag": tag + "-other"}, headers=other) as control,
    ):
        connection.read_until(b"data: ")
        control.read_until(b"data: ")
        control.received = b""
        control.read_until(b": ping")  # both have been looked at meanwhile, and are still good
        assert not connection.is_complete
        assert httpx.post(f"{checked.url}/auth/logout", headers=mine).status_code == 204
        connection.read_all()
        last = connection.body.rpartition(b"event: error\ndata: ")[2]
        assert json.loads(last)["$error"]["code"] == "unauthenticated"
        probe.wait("closed")
        control.received = b""
        control.read_until(b": ping")
        assert not control.is_complete
