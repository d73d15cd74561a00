"""What routers share: stores and secrets, and when they open and close."""

import asyncio
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from fastapi_poto import ConfigurationError, Poto, PotoModule, poto_router
from fastapi_poto.errors import Unavailable
from fastapi_poto.runtime import default_poto
from fastapi_poto.stores import MemoryStore
from tests.runtime.shop import Shop, app_of, count
from tests.secret import SECRET


class Watched(MemoryStore):
    """A store that notes when it is opened and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    async def open(self) -> None:
        self.notes.append("open")
        await super().open()

    async def close(self) -> None:
        self.notes.append("close")
        await super().close()


@pytest.mark.anyio
async def test_closing_what_was_never_opened_by_hand(tmp_path: Path) -> None:
    """A job that uses sessions without `open()` leaves nothing behind when it closes; nor does a start that failed."""

    class Away(MemoryStore):
        async def open(self) -> None:
            raise Unavailable

    def threads() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name.startswith("poto-sqlite")]

    url = f"sqlite:///{tmp_path}/poto.db"
    poto = Poto(SECRET, store=url)
    await poto.sessions.of_user("ada").set("n", 1)
    await poto.close()
    poto = Poto(SECRET, store=url, sessions=Away())
    with pytest.raises(Unavailable):
        await poto.open()
    assert threads()
    await poto.close()
    async with asyncio.timeout(5):
        while threads():
            await asyncio.sleep(0.001)


FORKS = """
import asyncio, os, time
from fastapi_poto import Poto

poto = Poto({secret!r}, store={store!r})

async def create(name: str) -> None:
    async with asyncio.timeout(5):
        await poto.accounts.create(name, "correct horse")

for name in "abc":
    asyncio.run(create(name))
time.sleep(0.1)
worker = os.fork()
if worker == 0:
    asyncio.run(create("in the worker"))
    os._exit(0)
_, status = os.waitpid(worker, 0)
asyncio.run(create("in the parent again"))
raise SystemExit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_workers_that_are_forked_after_the_first_use(store: str, tmp_path: Path) -> None:
    """As `gunicorn --preload` does: neither the threads that hash nor those of SQLite are the parent's."""
    url = f"sqlite:///{tmp_path / 'poto.db'}" if store == "sqlite" else "memory://"
    done = subprocess.run([sys.executable, "-c", FORKS.format(secret=SECRET, store=url)], timeout=30)
    assert done.returncode == 0


def test_ten_lines_need_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """Without a secret one is made for the process, and one warning says so and how to cure it."""
    with caplog.at_level(logging.WARNING, "fastapi_poto"), TestClient(app_of(poto_router(Shop, poto=Poto()))) as client:
        assert count(client) == 1
    warnings = [record for record in caplog.records if record.name == "fastapi_poto"]
    assert len(warnings) == 1
    assert "POTO_SECRET" in warnings[0].message


def test_a_store_that_outlives_the_process_needs_a_secret(tmp_path: Path) -> None:
    """With any store but memory, or with strict=True, start-up is refused without a secret."""
    for arguments in ({"store": f"sqlite:///{tmp_path}/x.db"}, {"strict": True}):
        with pytest.raises(ConfigurationError, match=r"no secret.*POTO_SECRET"):
            Poto(**arguments)  # type: ignore[arg-type]


def test_the_store_opens_and_closes_with_the_application() -> None:
    """Once for all routers of a runtime, however deeply they are included; and again for the next start."""
    store = Watched()
    poto = Poto(SECRET, store=store)
    outer, nested = app_of(poto_router(Shop, poto=poto)), APIRouter()

    class Other(PotoModule):
        async def act(self) -> int:
            return 1

    nested.include_router(poto_router(Other, poto=poto, auth=False), prefix="/nested")
    outer.include_router(nested, prefix="/deep")
    for _ in range(2):
        with TestClient(outer) as client:
            assert count(client) == 1
            assert store.notes.count("open") == 1 + store.notes.count("close")
    assert store.notes == ["open", "close", "open", "close"]


def test_without_a_lifespan_the_first_call_opens(tmp_path: Path) -> None:
    """A mounted application's lifespan does not run: the first call opens the store."""
    poto = Poto(SECRET, store=f"sqlite:///{tmp_path}/sessions.db")
    outer = FastAPI()
    outer.mount("/sub", app_of(poto_router(Shop, poto=poto)))
    with TestClient(outer) as client:
        token = client.post("/sub/auth/visitor").json()["access_token"]
        assert client.post("/sub/Shop/count", headers={"Authorization": f"Bearer {token}"}).json() == 1
        assert client.portal is not None
        client.portal.call(poto.close)


def test_the_routers_own_lifespan_runs(tmp_path: Path) -> None:
    """A lifespan given to poto_router keeps its meaning, inside the runtime's."""
    from contextlib import asynccontextmanager

    seen: list[bool] = []
    poto = Poto(SECRET)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        seen.append(poto.is_open)
        yield {"mine": 1}
        seen.append(poto.is_open)

    with TestClient(app_of(poto_router(Shop, poto=poto, lifespan=lifespan))) as client:
        assert client.get("/Shop/status").json() == "open"
        assert client.app_state == {"mine": 1}
    assert seen == [True, True]
    assert not poto.is_open


def test_memory_of_several_workers(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Each would refuse the others' tokens: the log says so, and what to set. A shared store is fine."""
    Poto(SECRET)
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    Poto(SECRET, store="sqlite:///unused.db")
    assert caplog.messages == []
    Poto(SECRET)
    (told,) = caplog.messages
    assert "each of 3 workers" in told
    assert "POTO_STORE" in told


def test_the_default_runtime_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Routers without `poto=` share one runtime, made from POTO_SECRET and POTO_STORE."""
    monkeypatch.setenv("POTO_SECRET", SECRET)
    monkeypatch.setenv("POTO_STORE", "memory://")
    monkeypatch.setenv("POTO_SESSION_KEYS", "9")
    default_poto.cache_clear()
    try:
        one, two = poto_router(Shop), poto_router(Shop)
        assert one.poto is two.poto
        assert one.poto.settings.session_keys == 9
    finally:
        default_poto.cache_clear()


def test_a_store_of_ones_own_for_sessions(tmp_path: Path) -> None:
    """sessions= takes a URL or a store, apart from the rest."""
    poto = Poto(SECRET, sessions=f"sqlite:///{tmp_path}/only-sessions.db")
    with TestClient(app_of(poto_router(Shop, poto=poto))) as client:
        assert count(client) == 1
    assert (tmp_path / "only-sessions.db").stat().st_size > 0


def test_cookie_sessions() -> None:
    """sessions="cookie://" keeps them encrypted in the browser."""
    with TestClient(app_of(poto_router(Cookies, poto=Poto(SECRET, sessions="cookie://"))), "https://test") as client:
        token = client.post("/auth/visitor").json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert client.post("/Cookies/remember", json={"value": 5}, headers=headers).status_code == 204
        assert client.get("/Cookies/value", headers=headers).json() == 5


class Cookies(PotoModule):
    async def remember(self, value: int) -> None:
        await self.session.set("value", value)

    async def get_value(self) -> Any:
        return await self.session.get("value")
