"""Threats 9, 10, 11, 20 and 24 across processes: two servers, and an administrator's script, on one store."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import pytest

from fastapi_poto import Poto
from tests.processes import serve_processes
from tests.secret import SECRET
from tests.security.world import H1, NAME, PASSWORD, headers_of, is_refused
from tests.servers import PostgresServer, RedisServer


@dataclass
class Cluster:
    url: str
    here: httpx.Client
    there: httpx.Client

    def do(self, work: Callable[[Poto], Any]) -> Any:
        """What a script of the administrator does, in a process of its own as far as the store knows."""

        async def script() -> Any:
            async with self.opened() as poto:
                return await work(poto)

        return anyio.run(script)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Poto]:
        poto = Poto(SECRET, store=self.url)
        await poto.open()
        try:
            yield poto
        finally:
            await poto.close()
            poto.passwords.close()


KINDS = ["sqlite", "postgres", "redis"]


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Cluster]]:
    """One cluster for each store, started when a test first asks: the tests come in any order."""
    with ExitStack() as stack:
        started: dict[str, Cluster] = {}

        def start(kind: str) -> Cluster:
            if kind not in started:
                folder = tmp_path_factory.mktemp(kind)
                if kind == "sqlite":
                    url = f"sqlite:///{folder}/poto.db"
                else:
                    url = stack.enter_context((PostgresServer if kind == "postgres" else RedisServer)(folder)).url
                target, environment = "tests.security.world:make_app", {"POTO_STORE": url}
                lives = stack.enter_context(serve_processes(target, 2, factory=True, env=environment))
                clients = [stack.enter_context(httpx.Client(base_url=live.url, timeout=20)) for live in lives]
                started[kind] = Cluster(url, *clients)
            return started[kind]

        yield start


@pytest.fixture(params=KINDS)
def cluster(request: pytest.FixtureRequest, clusters: Callable[[str], Cluster]) -> Cluster:
    return clusters(request.param)


def me(client: httpx.Client, pair: dict[str, Any]) -> httpx.Response:
    return client.get("/Vault/me", headers=headers_of(pair))


def refresh(client: httpx.Client, pair: dict[str, Any]) -> httpx.Response:
    return client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})


def login(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return client.post("/auth/login", data={"username": name, "password": password})


def test_10_signing_out_here_holds_there(cluster: Cluster) -> None:
    """Threat 10: a token that both processes know is dead in both from the moment one of them ended it."""
    pair = cluster.here.post("/auth/visitor").json()
    assert me(cluster.there, pair).status_code == me(cluster.here, pair).status_code == 200
    assert cluster.here.post("/auth/logout", headers=headers_of(pair)).status_code == 204
    assert is_refused(me(cluster.there, pair), H1)
    assert is_refused(refresh(cluster.there, pair), H1)


def test_09_and_10_what_an_administrator_does(cluster: Cluster) -> None:
    """Threats 9 and 10: roles, disabling, a new password, log out everywhere, removal: the next call knows."""
    name = f"{NAME}-admin"
    user = cluster.do(lambda poto: poto.accounts.create(name, PASSWORD, ["admin"]))
    pair = login(cluster.here, name).json()
    reports = [
        client.get("/Vault/reports", headers=headers_of(pair)).status_code for client in (cluster.here, cluster.there)
    ]
    assert reports == [200, 200]
    cluster.do(lambda poto: poto.users.set_roles(user.id, []))
    assert cluster.there.get("/Vault/reports", headers=headers_of(pair)).status_code == 403
    cluster.do(lambda poto: poto.users.set_disabled(user.id))
    assert is_refused(me(cluster.here, pair), H1)
    assert is_refused(refresh(cluster.there, pair), H1)
    assert login(cluster.here, name).status_code == 401
    cluster.do(lambda poto: poto.users.set_disabled(user.id, False))
    assert me(cluster.there, pair).status_code == 200
    cluster.do(lambda poto: poto.accounts.change_password(user.id, "battery staple"))
    assert is_refused(me(cluster.here, pair), H1)
    newer = login(cluster.there, name, "battery staple").json()
    assert me(cluster.here, newer).status_code == 200
    cluster.do(lambda poto: poto.accounts.end_sign_ins(user.id))
    assert is_refused(me(cluster.there, newer), H1)
    last = login(cluster.here, name, "battery staple").json()
    cluster.do(lambda poto: poto.accounts.remove(user.id))
    assert is_refused(me(cluster.there, last), H1)
    assert login(cluster.there, name, "battery staple").status_code == 401


def test_11_tabs_and_thieves_on_two_processes(cluster: Cluster) -> None:
    """Threats 11 and 42: tabs on two processes get the same successor; one spent long ago ends the family for both."""
    first = cluster.here.post("/auth/visitor").json()
    tabs = [refresh(cluster.here, first), refresh(cluster.there, first)]
    assert [tab.status_code for tab in tabs] == [200, 200]
    second = tabs[0].json()
    assert tabs[1].json()["refresh_token"] == second["refresh_token"]
    third = refresh(cluster.there, second).json()
    assert refresh(cluster.here, first).json()["refresh_token"] == third["refresh_token"]
    assert me(cluster.here, third).status_code == 200

    async def let_the_grace_pass(poto: Poto) -> None:
        fields = await poto.store.read(f"auth:{first['user_id']}") or {}
        ((name, raw),) = [(name, raw) for name, raw in fields.items() if name.startswith("f:")]
        *family, spent = json.loads(raw)
        aged = [*family, [[hashed, nonce, at - 11] for hashed, nonce, at in spent]]
        await poto.store.write(f"auth:{first['user_id']}", {name: json.dumps(aged).encode()})

    cluster.do(let_the_grace_pass)
    assert is_refused(refresh(cluster.here, first), H1)
    assert is_refused(me(cluster.there, third), H1)
    assert is_refused(refresh(cluster.there, third), H1)


def test_20_failures_are_counted_together(cluster: Cluster) -> None:
    """Threat 20: who is throttled by one process is throttled by all, and so is the right password."""
    name = f"{NAME}-guessed"
    cluster.do(lambda poto: poto.accounts.create(name, PASSWORD))
    clients = [cluster.here, cluster.there] * 3
    assert [login(client, name, "wrong horse").status_code for client in clients][:5] == [401] * 5
    statuses = [login(client, name).status_code for client in (cluster.here, cluster.there)]
    assert statuses == [429, 429]


def test_25_a_name_is_given_once(cluster: Cluster) -> None:
    """Threat 25: visitors of two processes who want one name at once: one gets it."""
    name = f"{NAME}-wanted"
    visitors = [(client, client.post("/auth/visitor").json()) for client in (cluster.here, cluster.there) * 3]
    body = {"username": name, "password": PASSWORD}

    async def all_at_once() -> list[int]:
        statuses: list[int] = []

        async def one(client: httpx.Client, pair: dict[str, Any]) -> None:
            async with httpx.AsyncClient(base_url=client.base_url, timeout=20) as own:
                answer = await own.post("/auth/upgrade", json=body, headers=headers_of(pair))
                statuses.append(answer.status_code)

        async with anyio.create_task_group() as tasks:
            for client, pair in visitors:
                tasks.start_soon(one, client, pair)
        return sorted(statuses)

    assert anyio.run(all_at_once) == [200] + [409] * 5


def test_25_nothing_secret_is_kept(cluster: Cluster) -> None:
    """Threat 25: a visitor's password and tokens are in no record of the store."""
    pair = cluster.here.post("/auth/visitor").json()

    async def everything(poto: Poto) -> str:
        names = (await poto.store.names("", limit=10_000)).names
        return repr([(name, await poto.store.read(name)) for name in names])

    kept = cluster.do(everything)
    assert pair["user_id"] in kept
    for secret in (pair["password"], *pair["refresh_token"].split(".")[3:], pair["access_token"].rpartition(".")[2]):
        assert secret not in kept
