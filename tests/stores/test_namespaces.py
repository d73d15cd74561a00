"""Two applications in one store do not meet: on every store, on real servers."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from fastapi_poto import Poto, PotoModule, poto_router
from fastapi_poto.auth import Passwords
from fastapi_poto.stores import Entry, Store, store_from_url
from fastapi_poto.stores.namespaced import Namespaced, in_namespace

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery"


class Notes(PotoModule):
    async def keep(self, text: str) -> None:
        await self.session.set("text", text)

    async def get_kept(self) -> str | None:
        kept: str | None = await self.session.get("text")
        return kept


def application(store: str | Store, name: str, secret: str, **options: Any) -> tuple[Poto, httpx.AsyncClient]:
    poto = Poto(
        secret,
        store=store,
        issuer=name,
        audience=name,
        passwords=Passwords(memory_kib=64, passes=1),
        free_failures=2,
        **options,
    )
    app = FastAPI()
    app.include_router(poto_router(Notes, poto=poto))
    return poto, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_two_applications(store: Store, request: pytest.FixtureRequest) -> None:
    """No token, user, session or counter of one means anything to the other, though user ids are alike."""
    one, here = application(store, f"one-{id(store)}", "bZ4x-Qm8Wt2RkYc7Nf9HvLs3Dg6PjUa1")
    two, there = application(store, f"two-{id(store)}", "hT5w-Jc1Xn8MbVq4Ke7ZrGy2Lf9SdPu6")
    async with here, there:
        pair = (await here.post("/auth/visitor")).json()
        bearer = {"Authorization": f"Bearer {pair['access_token']}"}
        assert (await here.post("/Notes/keep", json={"text": "mine"}, headers=bearer)).status_code == 204
        # A user of the same id in the other application, with a session of their own.
        await two.sessions.of_user(pair["user_id"]).set("text", "theirs")
        assert (await there.get("/Notes/kept", headers=bearer)).status_code == 401
        refresh = {"refresh_token": pair["refresh_token"]}
        assert (await there.post("/auth/refresh", json=refresh)).status_code == 401
        assert (await here.get("/Notes/kept", headers=bearer)).json() == "mine"
        # Counters: who has to wait here does not have to there.
        for application_ in (one, two):
            await application_.accounts.create("ada", PASSWORD)
        form = {"username": "ada", "password": "wrong"}
        statuses = [(await here.post("/auth/login", data=form)).status_code for _ in range(4)]
        assert statuses[-1] == 429
        good = {"username": "ada", "password": PASSWORD}
        assert (await here.post("/auth/login", data=good)).status_code == 429
        assert (await there.post("/auth/login", data=good)).status_code == 200
        # What one ends goes on in the other.
        await one.sessions.end(pair["user_id"])
        assert await two.sessions.of_user(pair["user_id"]).get("text") == "theirs"
        assert (await here.post("/auth/refresh", json=refresh)).status_code == 200


async def test_names_and_logs(store: Store) -> None:
    """Each sees its own names, and hears of its own logs, whatever the other is called."""
    spaces = [Namespaced(store, name) for name in (f"a{id(store)}", f"a{id(store)}:b", f"a{id(store)} b")]
    for number, space in enumerate(spaces):
        assert await space.swap("b:record", "n", None, b"%d" % number, create=True)
        await space.log.append([Entry(key="log", events=[b"%d" % number])])
    for number, space in enumerate(spaces):
        assert (await space.names("")).names == ["b:record"]
        assert await space.read("b:record") == {"n": b"%d" % number}
        batch = (await space.log.read({"log": 0}))["log"]
        assert [event for _, event in batch.events] == [b"%d" % number]
    heard: list[Any] = []
    watch = await spaces[0].log.watch(heard.append)
    watch.follow(["log"])
    await spaces[1].log.append([Entry(key="log", events=[b"other"])])
    await spaces[0].log.append([Entry(key="log", events=[b"own"])])
    while not any(news is None or "log" in news for news in heard):
        await asyncio.sleep(0.01)
    assert all(news is None or list(news) == ["log"] for news in heard)
    await watch.close()


def test_the_default() -> None:
    """The namespace follows from issuer and audience; an option or the store itself may name another one."""

    def namespace(store: Any = "memory://", **options: Any) -> str:
        poto = Poto("bZ4x-Qm8Wt2RkYc7Nf9HvLs3Dg6PjUa1", store=store, **options)
        assert isinstance(poto.store, Namespaced)
        return poto.store.namespace

    assert namespace() == "poto"
    assert namespace(issuer="shop", audience="shop") == "shop"
    assert namespace(issuer="shop") != namespace(audience="shop")
    assert namespace(issuer="shop", namespace="tests") == "tests"
    assert namespace(in_namespace(store_from_url("memory://"), "given"), namespace="tests") == "given"
