"""Streams beside another server of the same process, and applications that are only mounted."""

import signal
import threading
from collections.abc import AsyncIterator

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sse_starlette.sse import AppStatus

from fastapi_poto import Poto, PotoModule, poto_router, public
from fastapi_poto.stores import MemoryStore
from tests.secret import SECRET


class Numbers(PotoModule):
    @public
    async def count(self, limit: int) -> AsyncIterator[int]:
        for number in range(limit):
            yield number


class Purged(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.has_been = threading.Event()

    async def purge(self, *, limit: int = 500) -> int:
        self.has_been.set()
        return await super().purge(limit=limit)


def app_of(poto: Poto) -> FastAPI:
    app = FastAPI()
    app.include_router(poto_router(Numbers, poto=poto))
    return app


def test_another_server_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one uvicorn of the process was told ends no stream of an application that it does not serve."""
    monkeypatch.setattr(AppStatus, "should_exit", False)
    another = uvicorn.Server(uvicorn.Config(FastAPI(), log_level="error"))
    with TestClient(app_of(Poto(SECRET))) as client:
        another.handle_exit(signal.SIGTERM, None)
        assert AppStatus.should_exit, "sse-starlette was to take it for the end of everything"
        text = client.post("/Numbers/count", json={"limit": 300}).text
    assert text.count("data: ") == 300
    assert text.endswith("event: close\n\n")


def test_a_mounted_application_purges() -> None:
    """An application that another one mounts has no lifespan: its purging begins with its first call."""
    store = Purged()
    outer = FastAPI()
    outer.mount("/inner", app_of(Poto(SECRET, store=store, purge_interval=0.01)))
    with TestClient(outer) as client:
        assert not store.has_been.is_set()
        assert client.post("/inner/Numbers/count", json={"limit": 1}).status_code == 200
        assert store.has_been.wait(10)
