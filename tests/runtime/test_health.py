"""What a running application says of itself, and what it clears away."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fastapi_poto import Poto, poto_router
from fastapi_poto.errors import Unavailable
from fastapi_poto.stores import MemoryStore
from tests.runtime.shop import Shop, app_of
from tests.secret import SECRET


def test_what_expired_is_purged(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the application runs, expired records go, batch by batch."""
    store = MemoryStore()
    purged = asyncio.Event()
    real = store.purge

    async def purge(*, limit: int = 500) -> int:
        removed = await real(limit=limit)
        if removed:
            purged.set()
        return removed

    monkeypatch.setattr(store, "purge", purge)
    poto = Poto(SECRET, store=store, purge_interval=0.01)
    with TestClient(app_of(poto_router(Shop, poto=poto))) as client:
        assert client.portal is not None

        async def wait() -> None:
            await store.write("x:1", {"a": b"1"}, create=True, expires_in=0.01)
            await asyncio.wait_for(purged.wait(), 10)

        client.portal.call(wait)


def test_health() -> None:
    """GET /auth/health is 200 while the stores answer, and 503 with Retry-After when one does not."""

    class Down(MemoryStore):
        async def ping(self) -> None:
            raise Unavailable(retry_after=3)

    with TestClient(app_of(poto_router(Shop, poto=Poto(SECRET)))) as client:
        assert client.get("/auth/health").json() == {"status": "ok"}
    with TestClient(app_of(poto_router(Shop, poto=Poto(SECRET, store=Down())))) as client:
        answer = client.get("/auth/health")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")


def test_health_writes_once_a_second() -> None:
    """Anybody may ask for it: a store is read for most, and one that fails is said to at once."""
    asked: list[str] = []

    class Asked(MemoryStore):
        is_down = False

        async def ping(self) -> None:
            asked.append("write")

        async def read(self, record: str, fields: Sequence[str] | None = None) -> dict[str, bytes] | None:
            if self.is_down:
                raise Unavailable
            asked.append("read")
            return await super().read(record, fields)

    store = Asked()
    with TestClient(app_of(poto_router(Shop, poto=Poto(SECRET, store=store)))) as client:
        assert [client.get("/auth/health").status_code for _ in range(50)] == [200] * 50
        assert 1 <= asked.count("write") <= 3
        assert asked.count("read") >= 47
        store.is_down = True
        assert client.get("/auth/health").status_code == 503


def test_the_log_says_why_a_store_does_not_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A caller is told no more than 503; who started it reads what the driver said."""
    store = f"sqlite:///{tmp_path}"  # a directory
    with TestClient(app_of(poto_router(Shop, poto=Poto(SECRET, store=store)))) as client:
        answer = client.post("/auth/visitor")
    assert answer.status_code == 503
    assert "unable to open" not in answer.text
    assert "unable to open database file" in caplog.text
