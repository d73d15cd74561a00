"""What a second hour of attacks found, each tried at a live server with the requests that did it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from re import Pattern
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import AnyUrl, BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fastapi_poto import OIDC, ApiKeys, Event, OwnSignIn, Poto, PotoModule, Topic, poto_router, public, roles, rpc
from fastapi_poto.auth.credentials import Remembered
from fastapi_poto.auth.key_routes import KeyMade
from fastapi_poto.commands.output import Output
from fastapi_poto.errors import ConfigurationError
from fastapi_poto.stores import MemoryStore, Store
from fastapi_poto.testing import serve
from tests.identity.issuer import serve_issuer
from tests.secret import SECRET
from tests.security.world import NAME, World, headers_of, world
from tests.servers import wait_until

BUILT: list[str] = []


@dataclass
class Gadget:
    """A class of the application's that no client is to build."""

    command: str

    def __post_init__(self) -> None:
        BUILT.append(self.command)


@dataclass
class Bookmark:
    url: AnyUrl
    notes: dict[str, Any]


class Marks(BaseModel):
    mark: Bookmark | None = None


news = Topic("news", str)


class Desk(PotoModule):
    async def keep(self, mark: Bookmark) -> dict[str, Any]:
        marks = self.session.typed(Marks)
        await marks.set("mark", mark)
        kept = await marks.get("mark")
        return dict(kept.notes)

    async def keep_model(self, marks: Marks) -> dict[str, Any]:
        await self.session.set("marks", marks)
        kept = (await self.session.get("marks")).mark
        return dict(kept.notes)

    async def take(self, text: str = "", wait: timedelta = timedelta(), pattern: Pattern[str] | None = None) -> str:
        return text

    @roles("admin")
    @rpc(resumable=True)
    async def reports(self) -> AsyncIterator[int]:
        for n in range(10_000):
            yield n
            await asyncio.sleep(0.01)

    @public
    @rpc(resumable=True, key="about:{topic}")
    async def ask(self, topic: str, question: str) -> AsyncIterator[str]:
        for _ in range(500):
            yield question
            await asyncio.sleep(0.01)

    async def listen(self) -> AsyncIterator[Event[str]]:
        async for event in self.subscribe(news()):
            yield event

    @public
    async def get_note(self) -> str:
        note: str = await self.session.get("note", "") if self.get_current_user() else ""
        return note

    async def put_note(self, note: str) -> None:
        await self.session.set("note", note)


@contextmanager
def desk(**options: Any) -> Iterator[World]:
    poto = Poto(SECRET, **{"credentials": [OwnSignIn(), ApiKeys(routes=True)], "recheck_interval": 0.05, **options})
    app = FastAPI()
    app.include_router(poto_router(Desk, poto=poto))
    with serve(app) as live, httpx.Client(base_url=live.url, timeout=20) as http:
        yield World(live.url, poto, poto.clock, http)  # type: ignore[arg-type]
    poto.passwords.close()


@pytest.fixture(scope="module")
def house() -> Iterator[World]:
    with desk() as made:
        yield made


# Values


@pytest.mark.parametrize("body", ['{"text": %s}', '{"unknown": %s}', '{"text": [{"deep": %s}]}', '{"wait": %s}'])
@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 4_000])
def test_51_integers_that_no_float_holds(house: World, body: str, number: str) -> None:
    """An integer of hundreds of digits where none belongs is a 422, whose answer shows the beginning of it."""
    headers = {**headers_of(house.visitor()), "Content-Type": "application/json"}
    answer = house.http.post("/Desk/take", headers=headers, content=body % number)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")


@pytest.mark.parametrize("body", [{"wait": "-P999999999DT23H"}, {"pattern": "(" * 3_000}, {"pattern": "(" * 9_000}])
def test_51_past_the_limits_of_pythons_types(house: World, body: dict[str, str]) -> None:
    """What overflows a `timedelta`, or the parser of patterns, is a 422 and no failure of the server."""
    answer = house.post("/Desk/take", house.visitor(), **body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert answer.json()["detail"][0]["type"] in ("value_error", "pattern_regex")


@pytest.mark.parametrize("path", ["/Desk/keep", "/Desk/keep_model"])
@pytest.mark.parametrize("kind", ["dataclass", "model", "enum", "decimal", "unknown", None])
def test_52_a_client_builds_no_class(house: World, path: str, kind: str | None) -> None:
    """What looks like a session's own notation of a class is kept as the text that it is, and nothing is built."""
    notes = {"~": kind, "type": f"{__name__}:Gadget", "v": {"command": "run"}}
    mark = {"url": "https://shop.example/", "notes": notes}
    body = {"mark": mark} if path == "/Desk/keep" else {"marks": {"mark": mark}}
    answer = house.post(path, house.visitor(), **body)
    assert (answer.status_code, answer.json()) == (200, notes)
    assert BUILT == []


# Streams


def _address(house: World, path: str, body: dict[str, Any], headers: dict[str, str]) -> str:
    """Begin a stream, read its first item and leave; where it can be followed."""
    with house.http.stream("POST", path, json=body, headers=headers) as response:
        assert response.status_code == 200
        next(line for line in response.iter_lines() if line.startswith("data:"))
        return response.headers["content-location"]


def test_53_a_stream_of_more_roles(house: World) -> None:
    """Who has fewer roles than began a stream neither follows nor stops it: a smaller key, a user who was demoted."""
    user = house.user("ruth", "admin")
    pair = house.signed_in("ruth")
    address = _address(house, "/Desk/reports", {}, headers_of(pair))
    key = house.http.post("/auth/keys", json={"name": "small", "roles": []}, headers=headers_of(pair)).json()["key"]
    small = {"Authorization": f"Bearer {key}"}
    assert house.http.get(address, headers=small).status_code == 403
    assert house.http.delete(address, headers=small).status_code == 403
    assert house.http.get("/Desk/reports", headers=small).status_code in (403, 405)
    with house.http.stream("GET", address, headers=headers_of(pair)) as follower:
        assert follower.status_code == 200
    house.do(house.poto.users.set_roles(user, []))  # type: ignore[attr-defined]
    assert house.http.get(address, headers=headers_of(pair)).status_code in (403, 404)
    house.do(house.poto.users.set_roles(user, ["admin"]))  # type: ignore[attr-defined]


def test_53_strangers_share_no_key(house: World) -> None:
    """Two strangers who use one key get a stream each: a key finds what runs of the same user, and nobody is none."""
    answers = []
    for question in ("the first one's secret", "another"):
        with house.http.stream("POST", "/Desk/ask", json={"topic": "1", "question": question}) as response:
            answers.append(next(line for line in response.iter_lines() if line.startswith("data:")))
    assert answers == ['data: "the first one\'s secret"', 'data: "another"']


# Credentials


def test_54_a_key_does_not_become_a_sign_in(house: World) -> None:
    """A visitor's API key cannot give its owner a name and a password, and so outlive itself."""
    pair = house.visitor()
    key = house.http.post("/auth/keys", json={"name": "one"}, headers=headers_of(pair)).json()["key"]
    wanted = {"username": "mallory", "password": "long enough"}
    answer = house.http.post("/auth/upgrade", json=wanted, headers={"X-API-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert house.login("mallory", "long enough").status_code == 401
    assert house.post("/auth/upgrade", pair, **wanted).status_code == 200


def test_55_a_session_cookie_is_one_applications() -> None:
    """With one secret and the same users, an application of another audience opens no session cookie of the first."""
    store = MemoryStore()
    with (
        desk(store=store, sessions="cookie://", audience="one", namespace="both") as one,
        desk(store=store, sessions="cookie://", audience="two", namespace="both") as two,
    ):
        user = one.user(NAME)
        mine, other = one.signed_in(), None
        written = one.http.put("/Desk/note", json={"note": "of the first"}, headers=headers_of(mine))
        cookie = written.headers["set-cookie"].partition(";")[0]
        headers = {**headers_of(mine), "Cookie": cookie}
        assert one.http.get("/Desk/note", headers=headers).json() == "of the first"
        two.do(two.poto.users.add(one.do(one.poto.accounts.find(NAME))))  # type: ignore[arg-type]
        other = two.signed_in()
        assert other["user_id"] == user
        answer = two.http.get("/Desk/note", headers={**headers_of(other), "Cookie": cookie})
        assert answer.json() == ""
        assert "Max-Age=0" in answer.headers["set-cookie"]


# What is left behind


async def _names(store: Store) -> list[str]:
    return (await store.names("")).names


def test_56_a_removed_user_who_had_streams(house: World) -> None:
    """Who is removed has no streams, and no record is named after them, nor after the keys of their streams."""
    pair = house.visitor()
    user, headers = pair["user_id"], headers_of(pair)
    with (
        house.http.stream("POST", "/Desk/ask", json={"topic": "private", "question": "?"}, headers=headers) as answer,
        house.http.stream("POST", "/Desk/listen", json={}, headers=headers) as listening,
    ):
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith("data:"))
        assert next(listening.iter_lines())
        before = house.do(_names(house.poto.store))
        assert {name.partition(":")[0] for name in before if user in name} >= {"streams", "stream-key", "subscriptions"}
        house.do(house.poto.accounts.remove(user))
        assert "event: close" in list(lines)
    wait_until(lambda: not any(user in name for name in house.do(_names(house.poto.store))), "nothing is left")


@pytest.mark.parametrize(
    "query",
    [
        "x={token}",
        "%61ccess_token=a{token}",
        "user[password]={token}",
        "a=1;refreshToken=x{token}",
        "new_passwort={token}",
    ],
)
def test_57_encoded_secrets_in_the_access_log(house: World, query: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither percent-encoding nor the names that people give to parameters bring a secret into the access log."""
    access = logging.getLogger("uvicorn.access")
    access.addHandler(caplog.handler)
    access.setLevel(logging.INFO)
    try:
        token = house.visitor()["access_token"].replace(".", "%2E")
        assert house.http.get(f"/Desk/note?{query.format(token=token)}").status_code == 200
    finally:
        access.removeHandler(caplog.handler)
    said = "".join(record.getMessage() for record in caplog.records)
    assert "GET /Desk/note?" in said
    assert token not in said


# What is said to whoever runs the application


@pytest.mark.parametrize("sign", "#/?[]")
@pytest.mark.parametrize("scheme", ["postgresql", "redis", "rediss", "sentinel"])
def test_45_a_password_that_cuts_the_urls_in_two(scheme: str, sign: str) -> None:
    """A store's URL whose password has a sign that is not encoded is refused, and no part of the password is shown."""
    with pytest.raises(ConfigurationError, match="percent-encoding") as refused:
        Poto(SECRET, store=f"{scheme}://poto:hunter2{sign}hunter3@127.0.0.1:1/0")
    assert "hunter" not in str(refused.value)
    assert refused.value.__context__ is None


@pytest.mark.parametrize("as_json", [True, False])
def test_45_what_a_terminal_obeys(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """What a command prints of a user's session is text: no sign in it moves the cursor or turns the line around."""
    kept = {"note": "caf\xe9 \x9b2J\u202e\u2028\U000e0041"}
    Output(as_json=as_json, yes=True).document(kept)
    printed = capsys.readouterr().out
    assert json.loads(printed) == kept
    assert "caf\xe9" in printed
    assert printed.replace("\n", "").isprintable()


def test_45_what_repr_shows() -> None:
    """Neither a key that was made nor the credentials that are remembered show a secret."""
    assert "s3cret" not in repr(KeyMade(key="s3cret"))
    remembered: Remembered[int] = Remembered(8, 8)
    remembered.keep(b"s3cret", 1)
    assert "s3cret" not in repr(remembered)


@pytest.mark.parametrize("look_alike", ["ann\U0001d159", "ann\u2800", "\u3164ann", "a\U00016fe4nn", "ANN"])
def test_44_blanks_make_no_other_name(look_alike: str) -> None:
    """A name that differs from another one by what nobody sees is that name: a letter that is blank, one space more."""
    with world() as house:
        house.user("ann")
        house.user("ann of tea")
        for name in (look_alike, "ann  of tea", "ann of   tea"):
            taken = house.post("/auth/upgrade", house.visitor(), username=name, password="long enough")
            assert (taken.status_code, taken.json()["code"]) == (409, "username_taken")
        assert house.login("ann  of  tea").status_code == 200


# Issuers


@pytest.mark.parametrize(
    "endpoint", [5, None, ["https://a"], {"a": 1}, "javascript:alert(1)", "", "http://login.example/", "http://["]
)
def test_47_what_an_issuer_says_of_itself(endpoint: Any) -> None:
    """Whatever stands in an issuer's discovery document, callers are served, and ours has no address but a safe one."""
    with serve_issuer() as issuer:

        async def discovery(_: Request) -> Response:
            said = {"authorization_endpoint": endpoint, "token_endpoint": endpoint}
            return JSONResponse({**issuer.discovery(), **said})

        issuer.answers["/.well-known/openid-configuration"] = discovery
        corp = OIDC(issuer.url, audience="shop", name="corp")
        with world(credentials=[OwnSignIn(), corp]) as house:
            assert house.get("/Vault/me", issuer.token()).json()["id"] == "corp:ann"
            document = house.http.get("/openapi.json")
            assert document.status_code == 200
            assert document.json()["components"]["securitySchemes"]["corp-code"]["flows"] == {}


def test_47_what_an_issuer_says_goes_on_no_longer() -> None:
    """What is wrong with an issuer is told in a line, however much it said itself."""
    with serve_issuer() as issuer:

        async def discovery(_: Request) -> Response:
            return JSONResponse({**issuer.discovery(), "issuer": "x" * 300_000})

        issuer.answers["/.well-known/openid-configuration"] = discovery
        with world(credentials=[OwnSignIn(), OIDC(issuer.url, audience="shop", name="corp")]) as house:
            assert house.get("/Vault/me", issuer.token()).status_code == 503
            assert len(house.http.get("/auth/health").text) < 1_000
