"""What routers share: settings, secrets, stores, and when they open and close."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from fastapi_poto import ConfigurationError, Poto, PotoModule, Settings, poto_router, public
from fastapi_poto._compat.servers import workers
from fastapi_poto.errors import Unavailable
from fastapi_poto.runtime import default_poto
from fastapi_poto.settings import from_environment
from fastapi_poto.stores import MemoryStore
from tests.secret import SECRET


class Shop(PotoModule):
    @public
    async def get_status(self) -> str:
        return "open"

    async def count(self) -> int:
        return await self.session.increment("n")


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


def app_of(*routers: APIRouter) -> FastAPI:
    app = FastAPI()
    for router in routers:
        app.include_router(router)
    return app


def count(client: TestClient) -> Any:
    token = client.post("/auth/visitor").json()["access_token"]
    return client.post("/Shop/count", headers={"Authorization": f"Bearer {token}"}).json()


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


def test_options() -> None:
    """Poto takes the fields of both settings by name, and says which there are."""
    poto = Poto(SECRET, visitors_per_hour=7, session_keys=3, settings=Settings(ping_interval=2))
    assert poto.settings.auth.visitors_per_hour == 7
    assert (poto.settings.session_keys, poto.settings.ping_interval) == (3, 2)
    with pytest.raises(TypeError, match=r"no option 'visitors_per_our'.*visitors_per_hour"):
        Poto(SECRET, visitors_per_our=7)


@pytest.mark.parametrize(
    ("name", "value"), [("replay_items", 0), ("ping_interval", -1), ("send_timeout", float("nan"))]
)
def test_numbers_that_make_no_sense(name: str, value: float) -> None:
    """A stream that keeps no item would wait for ever, and one with a negative interval do nothing but ping."""
    with pytest.raises(ConfigurationError, match=f"{name} must be"):
        Poto(SECRET, **{name: value})


class Records:
    """A store of records, with or without logs."""

    def __init__(self, **log: object) -> None:
        self.__dict__ |= log
        self.records = MemoryStore()

    def __getattr__(self, name: str) -> Any:
        if name == "log":
            raise AttributeError(name)
        return getattr(self.records, name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"access_ttl": "often"}, r"Poto\(access_ttl='often'\): input should be a valid number"),
        ({"allowed_origins": "https://a.example"}, r"Poto\(allowed_origins='https://a.example'\): .*sequence"),
        ({"store": 3}, r"Poto\(store=3\) lacks read, read_many, write, .*log\. Write what .*Store asks for"),
        (
            {"users": object()},
            r"Poto\(users=.* lacks get, find, add, .*Write what .*UserProvider asks for",
        ),
        ({"store": Records()}, r"Poto\(store=.* lacks log\. Write what fastapi_poto.stores.base.Store asks for"),
        ({"store": Records(log=object())}, r"Poto\(store.log=.* lacks append, .*what .*EventLog asks for"),
        ({"sessions": object()}, r"Poto\(sessions=.* lacks handle, .*Write what .*SessionProvider asks for"),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_what_is_no_option_value(given: dict[str, Any], message: str) -> None:
    """A wrong type is an error at once, which names the option."""
    with pytest.raises(ConfigurationError, match=message):
        Poto(SECRET, **given)


def test_the_environment() -> None:
    """POTO_<NAME> sets any number; one that is none is an error that names the variable."""
    assert from_environment({"POTO_VISITORS_PER_HOUR": "none", "POTO_TRUSTED_PROXIES": "10.0.0.0/8, ::1"}) == {
        "visitors_per_hour": None,
        "trusted_proxies": ["10.0.0.0/8", "::1"],
    }
    with pytest.raises(ConfigurationError, match=r"POTO_PING_INTERVAL='often'.*Change or unset"):
        from_environment({"POTO_PING_INTERVAL": "often"})
    assert from_environment({"POTO_STRICT": "on"}) == {"strict": True}


def test_a_misspelt_variable() -> None:
    """A name that is nearly an option's would be without effect: an error, which names both. Others are left alone."""
    with pytest.raises(ConfigurationError, match=r"POTO_REGISTRATON is no option. Write POTO_REGISTRATION"):
        from_environment({"POTO_REGISTRATON": "false"})
    kubernetes = {
        "POTO_PORT": "tcp://10.0.0.1:80",
        "POTO_PORT_80_TCP_ADDR": "10.0.0.1",
        "POTO_SERVICE_HOST": "10.0.0.1",
    }
    assert from_environment({**kubernetes, "POTO_SECRET": SECRET, "POTO_STORE": "memory://"}) == {}


@pytest.mark.parametrize(
    ("command", "environment", "count"),
    [
        (["/srv/.venv/bin/uvicorn", "shop:app", "--workers", "4"], {}, 4),
        (["/site-packages/uvicorn/__main__.py", "shop:app", "--workers=3"], {}, 3),
        (["gunicorn", "-w", "2", "-k", "uvicorn.workers.UvicornWorker", "shop:app"], {}, 2),
        (["/usr/bin/gunicorn", "-w2", "shop:app"], {}, 2),
        (["uvicorn", "shop:app"], {"WEB_CONCURRENCY": "5"}, 5),
        (["uvicorn", "shop:app", "--reload"], {"WEB_CONCURRENCY": "many"}, 1),
        (["import_everything", "--workers", "4"], {}, 1),
        ([], {}, 1),
    ],
)
def test_how_many_workers(command: list[str], environment: dict[str, str], count: int) -> None:
    """What the command line of a server says, and the environment; another program's options say nothing."""
    assert workers(environment, command) == count


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


def test_secrets_rotate_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """POTO_SECRET signs; POTO_PREVIOUS_SECRETS still verify."""
    old, older = SECRET[::-1], SECRET.upper()
    monkeypatch.setenv("POTO_SECRET", SECRET)
    monkeypatch.setenv("POTO_PREVIOUS_SECRETS", f"{old} {older}")
    default_poto.cache_clear()
    try:
        assert [secret for _, secret in default_poto().secrets] == [one.encode() for one in (SECRET, old, older)]
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
