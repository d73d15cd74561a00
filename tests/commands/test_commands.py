"""`python -m fastapi_poto`, on real stores."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from fastapi_poto import Poto, PotoModule, poto_router, rpc
from fastapi_poto.auth import OwnSignIn
from fastapi_poto.auth.api_keys import ApiKeys
from fastapi_poto.commands.command import main
from fastapi_poto.errors import Unauthenticated
from fastapi_poto.runtime import default_poto
from fastapi_poto.stores import Life
from fastapi_poto.stores.base import all_names
from tests.secret import SECRET
from tests.servers import PostgresServer, RedisServer


@pytest.fixture(scope="module", params=["sqlite", "redis", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("store")
    if request.param == "sqlite":
        yield f"sqlite:///{folder}/poto.db"
    else:
        with (RedisServer if request.param == "redis" else PostgresServer)(folder) as running:
            yield f"{running.url}?timeout=15"


class Shell:
    """Runs commands in the environment of an application."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.url = url
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("POTO_SECRET", SECRET)
        monkeypatch.setenv("POTO_STORE", url)

    def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """The exit code, and what went to stdout and stderr."""
        default_poto.cache_clear()
        self._monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        self._capsys.readouterr()
        code = main(arguments)
        return (code, *self._capsys.readouterr())

    def json(self, *arguments: str, stdin: str = "") -> list[Any]:
        """The lines of a command that went well."""
        code, out, err = self.run(*arguments, "--json", stdin=stdin)
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def shell(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(url, capsys, monkeypatch)


def test_users(shell: Shell) -> None:
    """Made, listed, changed, shown, removed; by name or id; what destroys asks first."""
    (made,) = shell.json("users", "create", "ann", "--role", "admin", stdin="correct horse battery\n")
    assert made["roles"] == ["admin"]
    assert shell.run("users", "create", "ann", stdin="correct horse battery\n")[::2] == (
        1,
        "error: This name is taken\n",
    )
    assert shell.run("users", "create", "bob", stdin="short\n")[0] == 1
    shell.json("users", "create", "robot", "--no-password")
    listed = {row["name"]: row for row in shell.json("users", "list")}
    assert listed["ann"] == {**made, "visitor": False, "disabled": False}
    header, *rows = shell.run("users", "list")[1].splitlines()
    assert header == "id  name  roles  visitor  disabled"
    assert f"{made['id']}  ann  admin  -  -" in rows
    assert shell.json("users", "roles", "ann", "clerk", "editor")
    assert shell.json("users", "disable", made["id"])
    (shown,) = shell.json("users", "export", "ann")
    assert shown == {
        "id": made["id"],
        "name": "ann",
        "roles": ["clerk", "editor"],
        "visitor": False,
        "disabled": True,
        "has_password": True,
        "session": {},
        "keys": [],
    }
    assert shell.json("users", "enable", "ann")
    code, out, err = shell.run("users", "remove", "ann")
    assert (code, out) == (1, "")
    assert "Add --yes" in err
    assert shell.run("users", "remove", "ann", "--yes")[:2] == (0, "ann is gone\n")
    assert shell.run("users", "remove", "ann", "--yes")[::2] == (1, "error: There is no user 'ann'\n")
    assert shell.json("users", "remove", "robot", "--yes")
    assert shell.run("users", "list")[:2] == (0, "")


def test_sign_ins_and_sessions(shell: Shell) -> None:
    """One user's session is emptied; one command signs everybody out."""

    async def begin() -> tuple[str, list[str]]:
        poto = Poto(SECRET, store=shell.url)
        pairs = [await poto.sign_in.visitor("a") for _ in range(3)]
        await poto.sessions.of_user(pairs[0].user_id).set("a", 1)  # type: ignore[attr-defined]
        await poto.close()
        return pairs[0].user_id, [pair.refresh_token for pair in pairs]

    async def refused(tokens: list[str]) -> int:
        poto = Poto(SECRET, store=shell.url)
        count = 0
        for token in tokens:
            try:
                await poto.sign_in.refresh(token, "a")
            except Unauthenticated:
                count += 1
        await poto.close()
        return count

    user_id, tokens = asyncio.run(begin())
    assert shell.json("users", "export", user_id)[0]["session"] == {"a": 1}
    assert shell.json("sessions", "end", user_id, "--yes")
    assert shell.json("users", "export", user_id)[0]["session"] == {}
    assert shell.run("sign-ins", "end-all")[0] == 1
    assert asyncio.run(refused(tokens)) == 0
    (ended,) = shell.json("sign-ins", "end-all", "--yes")
    assert ended["users"] >= 3
    assert asyncio.run(refused(tokens)) == 3
    assert shell.json("purge") == [{"purged": True}]


class Desk(PotoModule):
    async def add(self) -> int:
        return await self.session.increment("n")

    @rpc(resumable=True)
    async def follow(self) -> AsyncIterator[int]:
        for number in range(3):
            yield number


@pytest.mark.parametrize("who", ["ann", "visitor"])
def test_nothing_is_left_of_a_user(shell: Shell, who: str) -> None:
    """Read out of the store: not the name, the id, a sign-in, the session, a key, or a stream that has just run."""

    async def records(poto: Poto) -> dict[str, Any]:
        return {name: await poto.store.read(name) async for name in all_names(poto.store, "")}

    async def about(poto: Poto, *words: str) -> dict[str, Any]:
        found = (await records(poto)).items()
        return {name: fields for name, fields in found if any(word in f"{name} {fields}" for word in words)}

    async def use_and_remove() -> None:
        poto = Poto(SECRET, store=shell.url, credentials=[OwnSignIn(), ApiKeys()])
        app = FastAPI()
        app.include_router(poto_router(Desk, poto=poto))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            if who == "ann":
                await poto.accounts.create("ann-of-the-desk", "correct horse battery", ["admin"])
                form = {"username": "ann-of-the-desk", "password": "correct horse battery"}
                pair = (await client.post("/auth/login", data=form)).json()
            else:
                pair = (await client.post("/auth/visitor")).json()
            client.headers["Authorization"] = f"Bearer {pair['access_token']}"
            assert (await client.post("/Desk/add")).json() == 1
            assert "event: close" in (await client.post("/Desk/follow")).text
            await poto.keys.create(pair["user_id"], name="nightly")
            words = (pair["user_id"], "ann-of-the-desk", "nightly")
            assert len(await about(poto, *words)) >= 5
            await poto.accounts.remove(pair["user_id"])
            assert not await about(poto, *words)
        await poto.close()

    asyncio.run(use_and_remove())


def test_a_copy_is_the_same(shell: Shell, tmp_path: Path) -> None:
    """Users with passwords, sessions and lives arrive in another store; what is there is not overwritten unasked."""
    shell.json("users", "create", "carol", "--role", "admin", stdin="correct horse battery\n")
    (carol,) = shell.json("users", "export", "carol")

    async def begin() -> None:
        poto = Poto(SECRET, store=shell.url)
        await poto.sessions.of_user(carol["id"]).set("cart", ["tea"])  # type: ignore[attr-defined]
        await poto.store.write("test:life", {"a": b"\0\xff"}, create=Life(600, ends_in=3_000))
        await poto.close()

    async def check(url: str) -> None:
        poto = Poto(SECRET, store=url)
        assert (await poto.sign_in.login("carol", "correct horse battery", "a")).user_id == carol["id"]
        assert (await poto.users.get(carol["id"])).roles == {"admin"}  # type: ignore[union-attr]
        assert await poto.sessions.of_user(carol["id"]).all() == {"cart": ["tea"]}  # type: ignore[attr-defined]
        assert await poto.store.read("test:life") == {"a": b"\0\xff"}
        life = await poto.store.life("test:life")
        assert life is not None
        assert 500 < life.expires_in <= 600 < 2_900 < life.ends_in <= 3_000
        await poto.close()

    asyncio.run(begin())
    target = f"sqlite:///{tmp_path}/copy.db"
    (copied,) = shell.json("store", "copy", shell.url, target)
    assert copied["records"] >= 4
    asyncio.run(check(target))
    code, _, err = shell.run("store", "copy", shell.url, target)
    assert code == 1
    assert "something in the target" in err
    assert shell.run("store", "copy", target, shell.url)[0] == 1
    assert shell.json("store", "copy", target, shell.url, "--yes")
    asyncio.run(check(shell.url))
    assert shell.json("users", "remove", "carol", "--yes")


def test_a_store(shell: Shell, tmp_path: Path) -> None:
    """Counted by kind; made where there is none; an error, not a traceback, where there can be none."""
    shell.json("users", "create", "dora", "--no-password")
    (checked,) = shell.json("store", "check")
    assert checked["writable"] is True
    assert checked["records"]["user"] >= 1
    assert shell.json("users", "remove", "dora", "--yes")
    assert shell.run("store", "migrate", f"sqlite:///{tmp_path}/new.db")[:2] == (0, "The tables are up to date\n")
    assert (tmp_path / "new.db").exists()
    for url in ("nothing", "memory://", f"sqlite:///{tmp_path}/no/folder/a.db", "redis://127.0.0.1:1/0"):
        code, out, err = shell.run("store", "check", url)
        assert (code, out, err[:7]) == (1, "", "error: "), (url, code, out, err)


APP = """
from fastapi import FastAPI
from fastapi_poto import Poto, PotoModule, poto_router
from fastapi_poto.auth import OwnSignIn
from fastapi_poto.auth.api_keys import ApiKeys

class Shop(PotoModule):
    async def whoami(self) -> str:
        return self.user.id

app = FastAPI()
app.include_router(poto_router(Shop, poto=Poto({secret!r}, store={url!r}, credentials=[OwnSignIn(), ApiKeys()])))
"""


def test_keys_of_an_application(shell: Shell, tmp_path: Path) -> None:
    """Its own runtime, which accepts keys: made, listed, rotated, revoked."""
    module = f"keyed_{shell.url.partition(':')[0]}"  # imported once
    (tmp_path / f"{module}.py").write_text(APP.format(secret=SECRET, url=shell.url))
    of_app = ("--app", f"{module}:app", "--app-dir", str(tmp_path))
    assert shell.json("users", "create", "robot", "--no-password", *of_app)
    code, _, err = shell.run("keys", "create", "robot", "--name", "nightly")
    assert code == 1
    assert "ApiKeys()" in err
    assert "--app" in err
    (made,) = shell.json("keys", "create", "robot", "--name", "nightly", "--days", "30", *of_app)
    assert made["key"].startswith("poto_")
    (key,) = shell.json("keys", "list", "robot", *of_app)
    assert key["name"] == "nightly"
    expires = datetime.fromtimestamp(key["expires_at"], UTC)
    assert f"  {expires:%Y-%m-%dT%H:%M:%SZ}  -\n" in shell.run("keys", "list", "robot", *of_app)[1]  # for people a date
    (rotated,) = shell.json("keys", "rotate", key["id"], *of_app)
    assert rotated["key"] != made["key"]
    assert shell.run("keys", "revoke", key["id"], *of_app)[0] == 1
    assert shell.json("keys", "revoke", key["id"], "--yes", *of_app)
    assert shell.json("keys", "list", "robot", *of_app) == []
    assert shell.json("users", "remove", "robot", "--yes", *of_app)


def test_what_keeps_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a store there is nothing to administer; an application that is not there is 2."""
    monkeypatch.delenv("POTO_STORE", raising=False)
    assert main(["users", "list"]) == 1
    assert "Give --store URL, or --app" in capsys.readouterr().err
    assert main(["users", "list", "--app", "nothing_like_this:app"]) == 2
