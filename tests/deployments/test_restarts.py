"""docs/restarts.md: two servers behind nginx are restarted one by one under load; a container's root is read-only."""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from secrets import token_urlsafe

import httpx
import pytest

from tests.nginx import Nginx
from tests.servers import Server, find_program, wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.deployments]

ROOT = Path(__file__).parents[2]
APP = "tests.sessions.app:app"
CALLERS = 16


class Uvicorn(Server):
    """uvicorn as the page starts it, on the same port each time."""

    def __init__(self, folder: Path, store: str) -> None:
        super().__init__(folder)
        self.address = f"127.0.0.1:{self.port}"
        self.environment = [f"POTO_STORE={store}", f"PYTHONPATH={ROOT}"]

    def use_secrets(self, first: str, *others: str) -> None:
        """From the next start on."""
        kept = [one for one in self.environment if "_SECRET" not in one]
        self.environment = [*kept, f"POTO_SECRET={first}", f"POTO_PREVIOUS_SECRETS={' '.join(others)}"]

    def command(self) -> Sequence[str]:
        uvicorn = [sys.executable, "-m", "uvicorn", APP, "--port", str(self.port), "--timeout-graceful-shutdown", "10"]
        return ["env", *self.environment, *uvicorn]

    def ready(self) -> bool:
        try:
            return httpx.get(f"http://{self.address}/auth/health").status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def behind_nginx(folder: Path) -> Iterator[tuple[Nginx, list[Uvicorn]]]:
    store = f"sqlite:///{folder / 'poto.db'}"
    with Uvicorn(folder / "a", store) as one, Uvicorn(folder / "b", store) as other:
        nginx = Nginx(folder / "nginx", [one.address, other.address])
        yield nginx, [one, other]
        nginx.stop()


class Load:
    """Callers who count and read without a pause."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.counted = 0
        self.failures: Counter[str] = Counter()
        self.stopping = False

    async def call(self, number: int) -> None:
        is_count = number % 4 > 0
        while not self.stopping:
            try:
                answer = await (self.client.post("/Box/count") if is_count else self.client.get("/Box/process"))
            except httpx.HTTPError as error:
                self.failures[type(error).__name__] += 1
                continue
            if answer.status_code == 200:
                self.counted += is_count
            else:
                self.failures[f"{answer.request.method} {answer.status_code}"] += 1

    async def goes_on(self) -> None:
        until = self.counted + 50
        while self.counted < until:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def load_on(port: int, **headers: str) -> AsyncIterator[Load]:
    """Load in the background; at the end no call has failed, and each was done once."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, headers=headers) as client:
        pair = (await client.post("/auth/visitor")).json()
        client.headers["Authorization"] = f"Bearer {pair['access_token']}"
        load = Load(client)
        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                group.create_task(load.call(number))
            await load.goes_on()
            yield load
            await load.goes_on()
            load.stopping = True
        assert not load.failures, load.failures
        assert (await client.get("/Box/things")).json() == {"count": load.counted}


async def test_one_by_one(tmp_path: Path) -> None:
    """With the block of the page no call fails, and each is done once."""
    with behind_nginx(tmp_path) as (nginx, servers), nginx:
        async with load_on(nginx.port) as load:
            for server in servers * 3:
                await asyncio.to_thread(server.restart)
                await load.goes_on()


async def test_a_new_secret(tmp_path: Path) -> None:
    """In the three steps of docs/auth.md, worker by worker: no token is refused, however old, and whoever signed it."""
    old, new = (token_urlsafe(48) for _ in range(2))
    refused: Counter[str] = Counter()
    signed: list[int] = []
    stopping = False

    async def call(client: httpx.AsyncClient, number: int) -> None:
        """Sign in, call with the token, get a new one, and so on."""
        pair = (await client.post("/auth/visitor")).json()
        while not stopping:
            for _ in range(3):
                headers = {"Authorization": f"Bearer {pair['access_token']}"}
                answer = await client.post("/Box/count", headers=headers)
                refused[answer.text] += answer.status_code != 200
            answer = await client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})
            refused[answer.text] += answer.status_code != 200
            pair = answer.json()
            signed[number] += 1

    async def until_all_have_new_ones() -> None:
        before = list(signed)
        while any(now < then + 2 for now, then in zip(signed, before, strict=True)):
            await asyncio.sleep(0.01)

    with behind_nginx(tmp_path) as (nginx, servers), nginx:
        for server in servers:
            server.use_secrets(old)
            await asyncio.to_thread(server.restart)
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{nginx.port}", timeout=20)
        async with client, asyncio.TaskGroup() as group:
            for number in range(8):
                signed.append(0)
                group.create_task(call(client, number))
            for secrets in ((old, new), (new, old), (new,)):
                await until_all_have_new_ones()
                for server in servers:
                    server.use_secrets(*secrets)
                    await asyncio.to_thread(server.restart)
                    await until_all_have_new_ones()
            stopping = True
    assert not +refused, refused


async def test_drained(tmp_path: Path) -> None:
    """Without the word that may do things twice: a server that is taken out before it stops.

    Clients keep no connection: nginx closes those that are idle when it is reloaded, which browsers know to mend.
    """
    with behind_nginx(tmp_path) as (nginx, servers):
        text = nginx.configuration.read_text().replace("timeout non_idempotent", "timeout")

        def reload(text: str) -> None:
            nginx.configuration.write_text(text)
            before = set(nginx.processes()[1:])
            subprocess.run([*nginx.command(), "-s", "reload"], check=True)
            wait_until(lambda: not before & set(nginx.processes()), "the old workers' last calls")

        nginx.configuration.write_text(text)
        with nginx:
            async with load_on(nginx.port, connection="close") as load:
                for server in servers * 3:
                    await asyncio.to_thread(
                        reload, text.replace(f"{server.address} max_fails=0", f"{server.address} down")
                    )
                    await asyncio.to_thread(server.restart)
                    await asyncio.to_thread(reload, text)
                    await load.goes_on()


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a container")
def test_a_read_only_root(tmp_path: Path) -> None:
    """A user who owns nothing, and no writable file but the store's: calls, sign-in, and a stop without complaints."""
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("pytest", "popen", "test")):
            folder.chmod(0o755)

    class Container(Uvicorn):
        def command(self) -> Sequence[str]:
            # The interpreter here may be root's alone: it becomes nobody when all is imported.
            code = f"""
import os, sys, uvicorn
from {APP.partition(":")[0]} import app
import encodings.idna, uvicorn.protocols.http.auto, uvicorn.loops.auto, uvicorn.lifespan.on, fastapi_poto.stores.sqlite
import uvicorn.protocols.websockets.auto
os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    open("/tmp/poto-may-write", "w")
except OSError as error:
    print("the root is read-only:", error.errno, flush=True)
uvicorn.run(app, port={self.port}, timeout_graceful_shutdown=10)
"""
            mounts = f"mount --make-rprivate / && mount --bind {data} {data} && mount -o remount,bind,ro /"
            python = f"exec env {' '.join(self.environment)} {sys.executable} -c '{code}'"
            return [find_program("unshare"), "--mount", "sh", "-c", f"{mounts} && {python}"]

    with Container(tmp_path / "container", f"sqlite:///{data / 'poto.db'}") as server:
        with httpx.Client(base_url=f"http://{server.address}", timeout=10) as client:
            pair = client.post("/auth/visitor").json()
            headers = {"Authorization": f"Bearer {pair['access_token']}"}
            assert client.post("/Box/count", headers=headers).json() == 1
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 5
        said = (server.folder / "server.log").read_text()
    assert "the root is read-only: 30" in said, said
    assert "Traceback" not in said, said
    assert {file.name for file in data.iterdir()} == {"poto.db"}
