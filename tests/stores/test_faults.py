"""Stores that stop, die and hang under load: callers are told within a second, and nothing acknowledged is lost.

Eight callers write without pause through two processes, each its own key with growing numbers, and note what was
acknowledged. The store goes away and comes back; the processes are never restarted.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fastapi_poto import Poto, PotoModule, poto_router, public
from fastapi_poto.errors import Unavailable
from fastapi_poto.sessions import SessionManager
from fastapi_poto.stores import Entry, store_from_url
from tests.processes import LiveProcess, serve_processes, start
from tests.secret import SECRET
from tests.servers import PostgresServer, RedisServer, Server

pytestmark = pytest.mark.anyio

CALLERS = 8
WITHIN_SECONDS = 1.0


@dataclass
class Writer:
    """One caller's numbers. `longest` is the longest wait for a refusal, `usual` that for an answer before it."""

    key: str
    tried: int = 0
    acknowledged: int = 0
    longest: float = 0.0
    usual: float = 0.0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


class Load:
    """Writers at work, until they are told to stop."""

    def __init__(self, servers: Sequence[LiveProcess], token: str, client: httpx.AsyncClient) -> None:
        self.servers = servers
        self.client = client
        self.headers = {"Authorization": f"Bearer {token}"}
        self.writers = [Writer(f"k{number}") for number in range(CALLERS)]
        self.stopping = False

    async def write(self, number: int) -> None:
        writer = self.writers[number]
        url = self.servers[number % len(self.servers)].url
        while not self.stopping:
            writer.tried += 1
            body = {"key": writer.key, "value": writer.tried}
            began = time.monotonic()
            answer = await self.client.post(f"{url}/Box/put", json=body, headers=self.headers)
            waited = time.monotonic() - began
            if answer.status_code == 204:
                writer.acknowledged = writer.tried
                if not writer.refused:
                    writer.usual = max(writer.usual, waited)
            elif answer.status_code == 503 and answer.headers.get("retry-after", "").isdigit():
                writer.refused += 1
                writer.longest = max(writer.longest, waited)
                await asyncio.sleep(0.02)
            else:
                writer.wrong.append(f"{answer.status_code} {answer.text}")

    async def until(self, condition: Callable[[Writer], bool]) -> None:
        """Return when it holds for every writer."""
        while not all(map(condition, self.writers)):
            assert not self.wrong, self.wrong
            await asyncio.sleep(0.005)

    async def goes_on(self) -> None:
        """Return when every writer has been acknowledged twice more."""
        seen = {writer.key: writer.tried for writer in self.writers}
        await self.until(lambda writer: writer.acknowledged > seen[writer.key] + 2)

    async def is_refused(self) -> None:
        """Return when every writer has been refused once more."""
        seen = {writer.key: writer.refused for writer in self.writers}
        await self.until(lambda writer: writer.refused > seen[writer.key])

    @property
    def wrong(self) -> list[str]:
        return [text for writer in self.writers for text in writer.wrong]

    async def check(self, servers: Sequence[LiveProcess]) -> None:
        """What was acknowledged is there; what was tried since may be."""
        for server in servers:
            answer = await self.client.get(f"{server.url}/Box/things", headers=self.headers)
            found = answer.json()
            for writer in self.writers:
                assert writer.acknowledged <= found[writer.key] <= writer.tried


@asynccontextmanager
async def load_on(servers: Sequence[LiveProcess]) -> AsyncIterator[Load]:
    async with httpx.AsyncClient(timeout=30) as client:
        token = (await client.post(f"{servers[0].url}/auth/visitor")).json()["access_token"]
        load = Load(servers, token, client)
        tasks = [asyncio.create_task(load.write(number)) for number in range(CALLERS)]
        try:
            await load.goes_on()
            yield load
        finally:
            load.stopping = True
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [result for result in results if result is not None] == []
        assert not load.wrong, load.wrong[:3]
        await load.check(servers)


@pytest.fixture(params=["postgres", "redis"])
def store_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server of this test's own, to be mistreated."""
    made = RedisServer(tmp_path / "store") if request.param == "redis" else PostgresServer(tmp_path / "store")
    with made as server:
        yield server


async def test_stopped_killed_and_paused(store_server: RedisServer | PostgresServer, tmp_path: Path) -> None:
    """Stopped, killed with -9, paused: 503 with Retry-After within a second, and service again without a restart."""
    environment = {"POTO_STORE": store_server.url}
    with serve_processes("tests.sessions.app:app", 2, directory=tmp_path, env=environment) as servers:
        async with load_on(servers) as load:
            for go_away, come_back in (
                (store_server.pause, store_server.resume),
                (store_server.kill, store_server.start),
                (store_server.stop, store_server.start),
                (store_server.pause, store_server.resume),
            ):
                await asyncio.to_thread(go_away)
                await load.is_refused()
                await load.is_refused()
                await asyncio.to_thread(come_back)
                await load.goes_on()
        # A machine that is busy with other things is slow without any fault, too.
        usual = max(writer.usual for writer in load.writers)
        longest = max(writer.longest for writer in load.writers)
        assert longest < WITHIN_SECONDS + usual, f"a caller waited {longest:.2f} s, where {usual:.2f} s were usual"


def test_a_start_without_the_store(store_server: RedisServer | PostgresServer) -> None:
    """A worker that starts, or is mounted, while the store hangs: what needs no store is served at once, the rest is
    503, and all is well when it is back."""

    @public
    class Shop(PotoModule):
        async def get_status(self) -> str:
            return "open"

        async def get_ticks(self) -> AsyncIterator[int]:
            yield 1

        async def count(self) -> int:
            return await self.session.increment("n")

    def app(poto: Poto | None = None) -> FastAPI:
        made = FastAPI()
        made.include_router(poto_router(Shop, poto=poto or Poto(SECRET, store=store_server.url)))
        return made

    with TestClient(app()) as client:
        headers = {"Authorization": f"Bearer {client.post('/auth/visitor').json()['access_token']}"}
    store_server.pause()
    mounted = FastAPI()
    poto = Poto(SECRET, store=store_server.url)
    mounted.mount("/api", app(poto))
    with TestClient(app()) as restarted, TestClient(mounted) as without_lifespan:
        for client, prefix in ((restarted, ""), (without_lifespan, "/api")):
            began = time.monotonic()
            for _ in range(20):
                assert client.get(f"{prefix}/Shop/status").json() == "open"
                assert client.get(f"{prefix}/Shop/ticks").text.startswith("data: 1\n")
            assert time.monotonic() - began < 3  # each of them waiting for the store would take 20
            began = time.monotonic()
            answer = client.post(f"{prefix}/Shop/count", headers=headers)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert time.monotonic() - began < WITHIN_SECONDS + 0.5
        store_server.resume()
        for client, prefix in ((restarted, ""), (without_lifespan, "/api")):
            until = time.monotonic() + 10
            while (answer := client.post(f"{prefix}/Shop/count", headers=headers)).status_code == 503:
                assert time.monotonic() < until
            assert answer.status_code == 200, answer.text
        assert without_lifespan.portal is not None
        without_lifespan.portal.call(poto.close)


async def test_updates_of_one_key_do_not_queue_for_a_dead_store(store_server: RedisServer | PostgresServer) -> None:
    """20 updates of one key while the store hangs: all are told at once, none waits for those before it."""
    store = store_from_url(store_server.url)
    session = SessionManager(store).of_user("ada")
    await asyncio.gather(*(session.update("n", lambda value: value + 1, default=0) for _ in range(20)))
    store_server.pause()
    waits: list[float] = []

    async def update() -> None:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await session.update("n", lambda value: value + 1, default=0)
        waits.append(time.monotonic() - began)

    await asyncio.gather(*(update() for _ in range(20)))
    store_server.resume()
    assert max(waits) < 3  # one after the other would take 10; a busy machine takes longer than the usual 0.7
    while True:
        try:
            assert await session.update("n", lambda value: value + 1, default=0) > 20
            break
        except Unavailable:
            await asyncio.sleep(0.01)
    await store.close()


async def test_logs_of_a_dead_store(store_server: RedisServer | PostgresServer) -> None:
    """Who appends to a log or reads one while the store hangs is told, too."""
    store = store_from_url(store_server.url)
    entry = Entry(key="faults", events=[b"a"])
    await store.log.append([entry])
    store_server.pause()
    async with asyncio.timeout(10):
        for operation in (store.log.append([entry]), store.log.read({"faults": 0})):
            with pytest.raises(Unavailable):
                await operation
    store_server.resume()
    await store.close()


async def test_a_writer_of_sqlite_is_killed(tmp_path: Path) -> None:
    """kill -9 in the middle of load: the file opens and is whole, what was acknowledged is there."""
    path = tmp_path / "poto.db"
    environment = {"POTO_STORE": f"sqlite:///{path}"}
    with serve_processes("tests.sessions.app:app", 2, directory=tmp_path, env=environment) as servers:
        async with httpx.AsyncClient(timeout=30) as client:
            token = (await client.post(f"{servers[0].url}/auth/visitor")).json()["access_token"]
            load = Load(servers, token, client)
            tasks = [asyncio.create_task(load.write(number)) for number in range(CALLERS)]
            await load.goes_on()
            await load.goes_on()
            servers[0].kill()
            results = await asyncio.wait_for(asyncio.gather(*tasks[0::2], return_exceptions=True), 10)
            assert all(isinstance(result, httpx.TransportError) for result in results)
            before = [writer.acknowledged for writer in load.writers[1::2]]
            while any(writer.acknowledged <= seen + 2 for writer, seen in zip(load.writers[1::2], before, strict=True)):
                await asyncio.sleep(0.005)
            load.stopping = True
            await asyncio.gather(*tasks[1::2])
            await load.check([servers[1]])
            revived = start("tests.sessions.app:app", directory=tmp_path, env=environment)
            try:
                await load.check([revived])
            finally:
                revived.stop()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


async def test_a_lock_that_nobody_lets_go(tmp_path: Path) -> None:
    """A foreign program that holds SQLite's write lock: readers go on, writers get Unavailable after `busy_timeout`."""
    path = tmp_path / "poto.db"
    store = store_from_url(f"sqlite:///{path}?busy_timeout=0.1")
    await store.write("test:a", {"a": b"1"}, create=True)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await store.write("test:a", {"a": b"2"})
    assert await store.read("test:a") == {"a": b"1"}
    began = time.monotonic()
    writes = [store.write("test:a", {"a": b"%d" % number}) for number in range(50)]
    assert {type(result) for result in await asyncio.gather(*writes, return_exceptions=True)} == {Unavailable}
    assert time.monotonic() - began < 1, "they waited one after another"
    other.execute("ROLLBACK")
    assert await store.write("test:a", {"a": b"2"})
    other.close()
    await store.close()
