"""Four uvicorn processes and one store: nothing is lost, whoever writes where."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import httpx
import pytest

from tests.processes import LiveProcess, serve_processes
from tests.stores.fixtures import SHARED_STORES, url_of

pytestmark = pytest.mark.anyio

PROCESSES = 4
Fleets = Callable[[str], Sequence[LiveProcess]]


@pytest.fixture(scope="session")
def fleets(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleets]:
    """Four processes for each store, started when a test first asks and kept for the others."""
    with ExitStack() as stack:

        @cache
        def fleet(kind: str) -> Sequence[LiveProcess]:
            folder = tmp_path_factory.mktemp(f"fleet-{kind}")
            environment = {"POTO_STORE": url_of(kind, request, folder)}
            return stack.enter_context(
                serve_processes("tests.sessions.app:app", PROCESSES, directory=folder, env=environment)
            )

        yield fleet


@pytest.fixture(params=SHARED_STORES)
def servers(request: pytest.FixtureRequest, fleets: Fleets) -> Sequence[LiveProcess]:
    return fleets(request.param)


class Caller:
    """Calls as one user, through any of the processes."""

    def __init__(self, client: httpx.AsyncClient, servers: Sequence[LiveProcess], token: str) -> None:
        self.client = client
        self.servers = servers
        self.token = token

    async def send(self, method: str, path: str, server: int, **arguments: object) -> httpx.Response:
        url = self.servers[server % len(self.servers)].url + path
        body = arguments if method == "POST" and arguments else None
        headers = {"Authorization": f"Bearer {self.token}"}
        return await self.client.request(method, url, json=body, headers=headers)

    async def call(self, name: str, server: int, **arguments: object) -> httpx.Response:
        answer = await self.send("POST", f"/Box/{name}", server, **arguments)
        assert answer.is_success, answer.text
        return answer

    async def things(self, server: int = 0) -> dict[str, int]:
        answer = await self.send("GET", "/Box/things", server)
        assert answer.is_success, answer.text
        found: dict[str, int] = answer.json()
        return found


@pytest.fixture
async def caller(servers: Sequence[LiveProcess]) -> AsyncIterator[Caller]:
    async with httpx.AsyncClient(timeout=30) as client:
        pair = (await client.post(f"{servers[0].url}/auth/visitor")).json()
        yield Caller(client, servers, pair["access_token"])


async def test_nothing_is_lost(caller: Caller) -> None:
    """20 clients write 20 keys each, through all processes; then 400 increments and 400 updates of one key."""

    async def put(client: int) -> None:
        for step in range(20):
            await caller.call("put", client + step, key=f"client{client}-{step}", value=step)

    await asyncio.gather(*(put(client) for client in range(20)))
    things = await caller.things()
    assert things == {f"client{client}-{step}": step for client in range(20) for step in range(20)}

    async def count(client: int) -> list[int]:
        return [(await caller.call("count", client + step)).json() for step in range(20)]

    async def grow(client: int) -> list[int]:
        return [(await caller.call("grow", client + step)).json() for step in range(20)]

    for change, key in ((count, "count"), (grow, "grown")):
        seen = await asyncio.gather(*(change(client) for client in range(20)))
        assert sorted(number for numbers in seen for number in numbers) == list(range(1, 401))
        assert (await caller.things(3))[key] == 400


async def test_twenty_first_writes(caller: Caller) -> None:
    """20 writes to 20 keys of a session that does not exist yet, in one moment: 20 keys in every process."""
    await asyncio.gather(*(caller.call("put", number, key=f"k{number}", value=number) for number in range(20)))
    for server in range(PROCESSES):
        assert await caller.things(server) == {f"k{number}": number for number in range(20)}


async def test_a_slow_reader_beside_a_writer(caller: Caller, tmp_path: Path) -> None:
    """A call that read before a write, in another process, and ends after it does not undo it."""
    gate = tmp_path / "reader"
    await caller.call("put", 0, key="old", value=1)
    reading = asyncio.create_task(caller.call("read_slowly", 1, gate=str(gate)))
    await waiting(gate)
    await caller.call("put", 2, key="new", value=2)
    await caller.call("put", 3, key="old", value=10)
    gate.touch()
    assert (await reading).json() == {"old": 1}
    assert await caller.things(0) == {"old": 10, "new": 2, "reader": 1}


@pytest.mark.parametrize("touch", [True, False])
async def test_a_slow_writer_beside_a_logout(caller: Caller, tmp_path: Path, touch: bool) -> None:
    """A call that is at work in one process while the user signs out in another cannot bring the session back."""
    gate = tmp_path / "writer"
    await caller.call("put", 0, key="old", value=1)
    pair = (await caller.client.post(f"{caller.servers[0].url}/auth/visitor")).json()
    name, password = pair["user_id"], pair["password"]
    first = Caller(caller.client, caller.servers, pair["access_token"])
    slow, other = await sign_in(caller, name, password), await sign_in(caller, name, password)
    writing = asyncio.create_task(slow.send("POST", "/Box/write_slowly", 1, gate=str(gate), touch=touch))
    await waiting(gate)
    for device in (first, slow, other):
        assert (await device.send("POST", "/auth/logout", 2)).status_code == 204
    gate.touch()
    answer = await writing
    assert answer.status_code == 409, answer.text
    assert answer.json()["code"] == "session_ended"
    other = await sign_in(caller, name, password)
    for server in range(PROCESSES):
        assert await other.things(server) == {}
    await other.call("put", 3, key="fresh", value=1)
    assert await other.things(1) == {"fresh": 1}


async def sign_in(caller: Caller, username: str, password: str) -> Caller:
    """The same user on another device."""
    form = {"username": username, "password": password}
    pair = (await caller.client.post(f"{caller.servers[0].url}/auth/login", data=form)).json()
    return Caller(caller.client, caller.servers, pair["access_token"])


async def waiting(gate: Path) -> None:
    """Return when a call waits at the gate."""
    while not gate.with_suffix(".waiting").exists():
        await asyncio.sleep(0.005)
