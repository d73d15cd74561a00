"""API keys: never more than their owner now, dead at the next call, never in a log."""

import asyncio
import logging
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from fastapi_poto import ApiKeys, ConfigurationError, OwnSignIn, Poto, User, poto_router
from fastapi_poto.auth.events import redact
from fastapi_poto.auth.keys import parse_key
from fastapi_poto.errors import BadRequest, Conflict, NotFound
from fastapi_poto.stores.memory import MemoryStore
from fastapi_poto.stores.namespaced import in_namespace
from fastapi_poto.testing import Clock
from tests.identity.conftest import Desk
from tests.secret import SECRET

pytestmark = pytest.mark.anyio


class House:
    """Processes on one store, each with an application of its own, and one clock."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.store = in_namespace(MemoryStore(clock=self.clock), "keys")
        self.events: list[Any] = []
        self.poto, self.http = self.process(**options)

    def process(self, **options: Any) -> tuple[Poto, httpx.AsyncClient]:
        from fastapi_poto.auth import StoreUsers

        poto = Poto(
            SECRET,
            store=self.store,
            users=StoreUsers(self.store),
            credentials=[OwnSignIn(), ApiKeys(routes=True)],
            clock=self.clock,
            on_event=self.events.append,
            **options,
        )
        app = FastAPI()
        app.include_router(poto_router(Desk, poto=poto))
        return poto, httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://desk")

    async def user(self, name: str = "ann", *roles: str) -> User:
        return await self.poto.accounts.create(name, None, roles)

    async def status(self, key: str, path: str = "/Desk/who", http: httpx.AsyncClient | None = None) -> int:
        return (await (http or self.http).post(path, headers={"X-API-Key": key})).status_code


@pytest.fixture
def house() -> House:
    return House()


async def test_a_key_is_its_owner(house: House) -> None:
    """In `X-API-Key` or as a bearer, on both paths, with the owner's id, name and session."""
    ann = await house.user("ann", "staff")
    key = await house.poto.keys.create(ann.id, name="cron")
    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
        who = (await house.http.post("/Desk/who", headers=headers)).json()
        assert who == {"id": ann.id, "roles": ["staff"], "name": "ann", "scopes": [], "kind": "key", "tenant": None}
        assert (await house.http.post("/Desk/solved", headers=headers)).json() == ann.id
    assert (await house.http.post("/Desk/count", headers={"X-API-Key": key})).json() == 1
    second = await house.poto.keys.create(ann.id, name="another")
    assert (await house.http.post("/Desk/count", headers={"X-API-Key": second})).json() == 2


async def test_never_more_than_the_owner_now(house: House) -> None:
    """Roles are those of the key that the owner has at the time of the call; a disabled owner has no keys."""
    users: Any = house.poto.users
    ann = await house.user("ann", "staff", "night")
    key = await house.poto.keys.create(ann.id, name="cron", roles=["staff"])
    whole = await house.poto.keys.create(ann.id, name="all")

    async def roles(key: str) -> list[str]:
        answer: list[str] = (await house.http.post("/Desk/who", headers={"X-API-Key": key})).json()["roles"]
        return answer

    assert (await roles(key), await roles(whole)) == (["staff"], ["night", "staff"])
    await users.set_roles(ann.id, ["night", "admin"])
    assert (await roles(key), await roles(whole)) == ([], ["admin", "night"])
    assert await house.status(key, "/Desk/count") == 403
    await users.set_roles(ann.id, ["staff"])
    assert await house.status(key, "/Desk/count") == 200
    await users.set_disabled(ann.id)
    assert (await house.status(key), await house.status(whole)) == (401, 401)
    await users.set_disabled(ann.id, False)
    assert await house.status(key) == 200
    with pytest.raises(BadRequest, match="roles of its owner"):
        await house.poto.keys.create(ann.id, name="more", roles=["admin"])


async def test_what_another_process_does_holds_at_the_next_call(house: House) -> None:
    """Revoked, rotated, demoted elsewhere: the next call here knows, though the key is remembered here."""
    other, http = house.process()
    ann = await house.user("ann", "staff")
    key = await house.poto.keys.create(ann.id, name="cron")
    key_id = key.split("_")[1]
    assert (await house.status(key), await house.status(key, http=http)) == (200, 200)
    await other.keys.revoke(key_id)
    assert (await house.status(key), await house.status(key, http=http)) == (401, 401)
    assert await house.poto.keys.list(ann.id) == []
    with pytest.raises(NotFound):
        await house.poto.keys.revoke(key_id)


async def identity_of(house: House, key: str) -> Any:
    return await house.poto.authenticator.authenticate({"type": "http", "headers": [(b"x-api-key", key.encode())]})


async def test_streams_end_with_their_key(house: House) -> None:
    """What an open stream asks: no longer after the key's end, or a role that its owner lost."""
    users: Any = house.poto.users
    ann = await house.user("ann", "staff")
    key = await house.poto.keys.create(ann.id, name="cron", expires_in=60)
    is_active, identity = house.poto.authenticator.is_active, await identity_of(house, key)
    assert await is_active(identity)
    await users.set_roles(ann.id, [])
    assert not await is_active(identity)
    await users.set_roles(ann.id, ["staff", "more"])
    assert await is_active(identity)
    house.clock.advance(61)
    assert not await is_active(identity)
    again = await house.poto.keys.create(ann.id, name="cron")
    identity = await identity_of(house, again)
    await house.poto.keys.revoke(again.split("_")[1])
    assert not await is_active(identity)


async def test_rotation_has_an_overlap(house: House) -> None:
    """Both secrets are good for as long as was said; without, the old one is dead at once. A stream of it ends."""
    ann = await house.user()
    old = await house.poto.keys.create(ann.id, name="cron")
    key_id = old.split("_")[1]
    new = await house.poto.keys.rotate(key_id, overlap=30)
    assert new.startswith(f"poto_{key_id}_")
    assert new != old
    identity = await identity_of(house, old)
    assert (await house.status(old), await house.status(new)) == (200, 200)
    house.clock.advance(31)
    assert (await house.status(old), await house.status(new)) == (401, 200)
    assert not await house.poto.authenticator.is_active(identity)
    newest = await house.poto.keys.rotate(key_id)
    assert (await house.status(new), await house.status(newest)) == (401, 200)
    assert [key.id for key in await house.poto.keys.list(ann.id)] == [key_id]


async def test_two_rotations_at_once(house: House) -> None:
    """One of them wins, and is told so; the other's secret was never shown."""
    ann = await house.user()
    key_id = (await house.poto.keys.create(ann.id, name="cron")).split("_")[1]
    results = await asyncio.gather(*(house.poto.keys.rotate(key_id) for _ in range(5)), return_exceptions=True)
    good = [one for one in results if isinstance(one, str)]
    assert good
    assert all(isinstance(one, str | Conflict) for one in results)
    assert await house.status(good[-1]) == 200


async def test_a_key_expires_on_the_second(house: House) -> None:
    """And is no longer listed."""
    ann = await house.user()
    house.clock.advance(1 - house.clock() % 1)
    key = await house.poto.keys.create(ann.id, name="cron", expires_in=60)
    house.clock.advance(59.5)
    assert await house.status(key) == 200
    house.clock.advance(0.5)
    assert await house.status(key) == 401
    assert await house.poto.keys.list(ann.id) == []


async def test_last_use_is_written_once_a_minute(house: House) -> None:
    """However many calls there are, in however many processes."""
    _, http = house.process()
    ann = await house.user()
    key = await house.poto.keys.create(ann.id, name="cron")
    written: list[Any] = []
    swap = house.store.swap

    async def counting(*arguments: Any, **more: Any) -> Any:
        done = await swap(*arguments, **more)
        written.append(done)
        return done

    house.store.swap = counting  # type: ignore[method-assign]
    await asyncio.gather(*(house.status(key, http=one) for one in (house.http, http) * 20))
    assert written.count(True) == 1
    (known,) = await house.poto.keys.list(ann.id)
    assert known.last_used_at == int(house.clock())
    house.clock.advance(59)
    await house.status(key)
    assert written.count(True) == 1
    house.clock.advance(2)
    await house.status(key)
    assert written.count(True) == 2


async def test_wrong_keys_are_throttled_by_address(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """The 31st within five minutes is 429; a right key is let in all the time, and a password sign-in too."""
    caplog.set_level(logging.DEBUG)
    ann = await house.user()
    key = await house.poto.keys.create(ann.id, name="cron")
    wrong = key[:-4] + ("aaaa" if key[-4:] != "aaaa" else "bbbb")
    assert [await house.status(wrong) for _ in range(31)] == [401] * 30 + [429]
    answer = await house.http.post("/Desk/hello", headers={"Authorization": "Bearer poto_x"})
    assert answer.status_code == 429
    assert "retry-after" in answer.headers
    assert await house.status(key) == 200
    assert (await house.http.post("/auth/visitor")).status_code == 200
    house.clock.advance(301)
    assert await house.status(wrong) == 401
    names = [event.name for event in house.events]
    assert (names.count("key_refused"), names.count("throttled")) == (31, 2)
    secret = key.split("_", 2)[2]
    assert secret not in caplog.text
    assert wrong.split("_", 2)[2] not in caplog.text
    assert key.split("_")[1] in caplog.text


@pytest.mark.parametrize("sent", ["poto_", "poto_0123456789abcdef_", "poto_0123456789abcdef_" + "a" * 43, "poto_é"])
async def test_what_is_no_key(house: House, sent: str) -> None:
    """What looks like a key and is none is 401; what does not is not looked at."""
    header = sent.encode("latin-1")
    answer = await house.http.post("/Desk/hello", headers={b"X-API-Key": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="poto", error="invalid_token"'
    assert (await house.http.post("/Desk/hello", headers={"X-API-Key": "of another kind"})).json() == "nobody"


async def test_two_key_headers(house: House) -> None:
    """Nobody guesses which of them was meant."""
    answer = await house.http.post("/Desk/who", headers=[("X-API-Key", "poto_a"), ("X-API-Key", "poto_b")])
    assert answer.status_code == 400


async def test_a_service_account_cannot_sign_in(house: House) -> None:
    """It has no password: none is right."""
    await house.user("robot")
    for password in ("", "None", "correct horse"):
        answer = await house.http.post("/auth/login", data={"username": "robot", "password": password})
        assert answer.status_code in (401, 422)


async def test_the_store_has_no_secret(house: House) -> None:
    """Neither the key nor its secret can be read out of the store; and a removed user leaves nothing there."""
    ann = await house.user("ann", "staff")
    key = await house.poto.keys.create(ann.id, name="cron")
    records = {name: await house.store.read(name) for name in (await house.store.names("")).names}
    assert key.split("_", 2)[2] not in repr(records)
    await house.poto.accounts.remove(ann.id)
    assert await house.status(key) == 401
    assert (await house.store.names("key")).names == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": ""}, BadRequest),
        ({"name": "x" * 101}, BadRequest),
        ({"name": "a\nb"}, BadRequest),
        ({"name": "a", "expires_in": 0}, BadRequest),
        ({"name": "a", "expires_in": float("inf")}, BadRequest),
        ({"name": "a", "expires_in": float("nan")}, BadRequest),
    ],
)
async def test_wrong_arguments(house: House, arguments: dict[str, Any], error: type[Exception]) -> None:
    """Nothing is written for what is refused."""
    ann = await house.user()
    with pytest.raises(error):
        await house.poto.keys.create(ann.id, **arguments)
    for nobody, says in (("nobody", "No such user"), ("corp:ann", "Only users of this application")):
        with pytest.raises(NotFound, match=says):
            await house.poto.keys.create(nobody, name="a")
    assert (await house.store.names("key")).names == []


async def test_a_user_has_at_most_100(house: House) -> None:
    """Expired ones do not count."""
    ann = await house.user()
    for _ in range(100):
        await house.poto.keys.create(ann.id, name="a", expires_in=60)
    with pytest.raises(Conflict):
        await house.poto.keys.create(ann.id, name="a")
    house.clock.advance(61)
    await house.poto.keys.create(ann.id, name="a")
    assert len(await house.poto.keys.list(ann.id)) == 1


async def test_a_key_that_is_being_made_is_not_forgotten(house: House) -> None:
    """A list beside it leaves its place in the index; of 110 that are made at once 100 find room."""
    ann = await house.user()
    await house.store.write(f"keys:{ann.id}", {"0" * 16: b"%d" % house.clock()}, create=True)
    assert await house.poto.keys.list(ann.id) == []
    assert await house.store.read(f"keys:{ann.id}") != {}
    house.clock.advance(61)
    await house.poto.keys.list(ann.id)
    assert not await house.store.read(f"keys:{ann.id}")
    made = [house.poto.keys.create(ann.id, name="a") for _ in range(110)]
    results = await asyncio.gather(*made, return_exceptions=True)
    assert sum(isinstance(one, Conflict) for one in results) == 10
    assert len(await house.poto.keys.list(ann.id)) == 100


async def test_bytes_that_spell_no_key_open_nothing(house: House) -> None:
    """A record that is broken is 401, not 500."""
    ann = await house.user()
    key = await house.poto.keys.create(ann.id, name="cron")
    for broken in (b"", b"[]", b"\xff", b"{}"):
        await house.store.write(f"key:{key.split('_')[1]}", {"key": broken})
        assert await house.status(key) == 401


async def test_keys_nobody_would_accept() -> None:
    """Making one without `ApiKeys` in the list is a mistake that is told."""
    with pytest.raises(ConfigurationError, match="ApiKeys"):
        await Poto(SECRET).keys.create("ann", name="cron")


# Self-service routes


async def test_the_routes(house: House) -> None:
    """Who signed in makes, lists, rotates and revokes their own keys, and sees nobody else's."""
    http = house.http
    await house.poto.accounts.create("ann", "correct horse", ["staff"])

    async def bearer(**form: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {(await http.post('/auth/login', data=form)).json()['access_token']}"}

    ann = await bearer(username="ann", password="correct horse")
    body = {"name": "cron", "roles": ["staff"], "expires_in": 3600}
    made = await http.post("/auth/keys", json=body, headers=ann)
    assert made.status_code == 200
    assert made.headers["cache-control"] == "no-store"
    key = made.json()["key"]
    assert await house.status(key) == 200
    (shown,) = (await http.get("/auth/keys", headers=ann)).json()
    assert (shown["name"], shown["roles"], shown["last_used_at"]) == ("cron", ["staff"], int(house.clock()))
    assert shown["expires_at"] - shown["created_at"] == 3600
    assert key not in str(shown)
    visitor = {"Authorization": f"Bearer {(await http.post('/auth/visitor')).json()['access_token']}"}
    assert (await http.get("/auth/keys", headers=visitor)).json() == []
    for verb, path in (("DELETE", f"/auth/keys/{shown['id']}"), ("POST", f"/auth/keys/{shown['id']}/rotate")):
        assert (await http.request(verb, path, headers=visitor)).status_code == 404
        assert (await http.request(verb, path)).status_code == 401
    rotated = await http.post(f"/auth/keys/{shown['id']}/rotate", json={"overlap": 60}, headers=ann)
    assert (await house.status(key), await house.status(rotated.json()["key"])) == (200, 200)
    assert (await http.delete(f"/auth/keys/{shown['id']}", headers=ann)).status_code == 204
    assert await house.status(rotated.json()["key"]) == 401
    refused = await http.post("/auth/keys", json={"name": "more", "roles": ["admin"]}, headers=ann)
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")


async def test_a_key_makes_no_keys(house: House) -> None:
    """Or it would outlive its own end."""
    ann = await house.user()
    key = {"X-API-Key": await house.poto.keys.create(ann.id, name="cron", expires_in=60)}
    assert (await house.http.post("/auth/keys", json={"name": "a"}, headers=key)).status_code == 403
    assert (await house.http.get("/auth/keys", headers=key)).status_code == 403


async def test_the_document(house: House) -> None:
    """The routes and the header are there; without `routes=True` there are no routes."""
    document = (await house.http.get("/openapi.json")).json()
    assert {"/auth/keys", "/auth/keys/{key_id}", "/auth/keys/{key_id}/rotate"} <= document["paths"].keys()
    assert document["components"]["securitySchemes"]["PotoKey"]["name"] == "X-API-Key"
    assert {"PotoKey": []} in document["paths"]["/Desk/who"]["post"]["security"]
    app = FastAPI()
    app.include_router(poto_router(Desk, poto=Poto(SECRET, credentials=[ApiKeys()])))
    assert not [path for path in app.openapi()["paths"] if "keys" in path]


@given(st.binary(max_size=80))
def test_parsing(sent: bytes) -> None:
    """No bytes but a whole key are one."""
    assert parse_key(sent) is None
    whole = b"poto_0123456789abcdef_" + b"a" * 43
    assert parse_key(whole) is not None
    if sent:
        assert parse_key(whole + sent) is None


def test_logs_keep_the_id_alone() -> None:
    """Of a key in an access log only the id is left."""
    key = "poto_0123456789abcdef_" + "s3cr-t_" * 6 + "x"
    assert redact(f"GET /a?api_key={key} 200") == "GET /a?api_key=[redacted] 200"
    assert redact(f"said {key}!") == "said poto_0123456789abcdef_[redacted]!"
