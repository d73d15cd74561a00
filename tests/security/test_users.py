"""Threats 8 to 11 and 25: roles, users who are gone, signing out, refresh tokens used twice, passwords of visitors."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.security.world import H1, NAME, PASSWORD, World, headers_of, is_refused, opened, signed, world


def is_forbidden(answer: httpx.Response) -> bool:
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert answer.json()["code"] == "forbidden"
    return True


def test_08_a_role_is_missing(own: World) -> None:
    """Threat 8: 403, unary and stream, for visitors and for named users; with the role 200."""
    own.user()
    own.user("root", "admin", "other")
    for pair in (own.visitor(), own.signed_in()):
        assert is_forbidden(own.get("/Vault/reports", pair["access_token"]))
        assert is_forbidden(own.post("/Vault/tick_for_admins", pair))
    assert own.get("/Vault/reports", own.signed_in("root")["access_token"]).status_code == 200
    assert own.get("/Vault/reports").status_code == 401


def test_09_the_next_call_knows(own: World) -> None:
    """Threat 9: demoted, promoted, disabled, enabled, deleted: the very next call with the same token says so."""
    user_id = own.user(NAME, "admin")
    pair = own.signed_in()
    users: Any = own.poto.users

    def answer() -> int:
        return own.get("/Vault/reports", pair["access_token"]).status_code

    assert answer() == 200
    own.do(users.set_roles(user_id, ["reader"]))
    assert answer() == 403
    assert own.get("/Vault/me", pair["access_token"]).json()["roles"] == ["reader"]
    own.do(users.set_roles(user_id, ["admin"]))
    assert answer() == 200
    own.do(users.set_disabled(user_id))
    assert answer() == 401
    assert is_refused(own.refresh(pair), H1)
    own.do(users.set_disabled(user_id, False))
    assert answer() == 200
    own.do(own.poto.accounts.remove(user_id))
    for refused in own.everywhere(headers_of(pair)):
        assert is_refused(refused, H1)
    assert is_refused(own.refresh(pair), H1)


@pytest.fixture
def watchful() -> Iterator[World]:
    """A world whose streams ask often whether their caller still stands."""
    with world(recheck_interval=0.05) as made:
        yield made


@contextmanager
def open_stream(own: World, path: str, pair: dict[str, Any]) -> Iterator[list[str]]:
    """The lines of a stream that is open; at the exit it has been ended by the server."""
    lines: list[str] = []
    started = threading.Event()

    def read() -> None:
        with own.http.stream("POST", path, headers=headers_of(pair), json={}) as answer:
            for line in answer.iter_lines():
                lines.append(line)
                started.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(10)
    yield lines
    reader.join(10)
    assert not reader.is_alive(), "the stream was not closed"


@pytest.mark.parametrize("end", ["disabled", "deleted", "demoted", "signed out", "signed out everywhere"])
def test_09_open_streams_close(watchful: World, end: str) -> None:
    """Threats 9 and 10: an open stream of who may no longer read it ends, with an error and not in silence."""
    own = watchful
    user_id = own.user(NAME, "admin")
    pair = own.signed_in()
    users: Any = own.poto.users
    with open_stream(own, "/Vault/tick_for_admins", pair) as lines:
        match end:
            case "disabled":
                own.do(users.set_disabled(user_id))
            case "deleted":
                own.do(own.poto.accounts.remove(user_id))
            case "demoted":
                own.do(users.set_roles(user_id, []))
            case "signed out":
                assert own.post("/auth/logout", pair).status_code == 204
            case _:
                own.do(own.poto.accounts.end_sign_ins(user_id))
    assert "event: error" in lines[-4:]


def test_10_after_logout(own: World) -> None:
    """Threat 10: the token and its refresh token are dead, everywhere; other sign-ins of the user are not."""
    own.user()
    pair, other = own.signed_in(), own.signed_in()
    newer = own.refresh(pair).json()
    assert own.post("/auth/logout", newer).status_code == 204
    for dead in (pair, newer):
        for answer in own.everywhere(headers_of(dead)):
            assert is_refused(answer, H1)
        assert is_refused(own.refresh(dead), H1)
    assert is_refused(own.post("/auth/logout", pair), H1)
    assert [answer.status_code for answer in own.everywhere(headers_of(other))] == [200] * 5
    assert own.refresh(other).status_code == 200


@pytest.mark.parametrize("how", ["password", "everywhere"])
def test_10_all_older_tokens(own: World, how: str) -> None:
    """Threat 10: after a change of password or "log out everywhere" every older token is dead, newer ones are good."""
    user_id = own.user()
    older = [own.signed_in() for _ in range(3)]
    if how == "password":
        own.do(own.poto.accounts.change_password(user_id, "another " + PASSWORD))
    else:
        own.do(own.poto.accounts.end_sign_ins(user_id))
    for pair in older:
        assert is_refused(own.get("/Vault/me", pair["access_token"]), H1)
        assert is_refused(own.refresh(pair), H1)
    if how == "password":
        assert own.login().status_code == 401
    pair = own.login(password="another " + PASSWORD if how == "password" else PASSWORD).json()
    assert own.get("/Vault/me", pair["access_token"]).status_code == 200


def test_10_a_forged_version_is_of_no_use(own: World) -> None:
    """Threat 10: who knows an old token cannot make it newer; it is signed."""
    user_id = own.user()
    pair = own.signed_in()
    own.do(own.poto.accounts.end_sign_ins(user_id))
    header, claims = opened(pair["access_token"])
    assert claims["ver"] == 0
    # Even with the right secret the family is over.
    assert is_refused(own.get("/Vault/me", signed(header, {**claims, "ver": 1})), H1)


def test_11_a_refresh_token_used_twice(own: World, caplog: pytest.LogCaptureFixture) -> None:
    """Threat 11: 401, the whole family dead, access token too, and one warning in the log."""
    pair = own.visitor()
    newer = own.refresh(pair).json()
    assert own.get("/Vault/me", newer["access_token"]).status_code == 200
    own.clock.advance(10.1)
    for _ in range(3):
        assert is_refused(own.refresh(pair), H1)
    assert is_refused(own.refresh(newer), H1)
    assert is_refused(own.get("/Vault/me", newer["access_token"]), H1)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.__dict__["event"] for record in warnings] == ["refresh_reused"]
    assert warnings[0].__dict__["user_id"] == pair["user_id"]


def test_11_two_tabs(own: World) -> None:
    """Threat 11: two refreshes within 10 s both succeed, and both go on; at once, too."""
    pair = own.visitor()
    first = own.refresh(pair).json()
    own.clock.advance(9)
    second = own.refresh(pair).json()
    for tab in (first, second):
        assert own.get("/Vault/me", tab["access_token"]).status_code == 200
    answers_of_tabs: list[httpx.Response] = []
    tabs = [threading.Thread(target=lambda: answers_of_tabs.append(own.refresh(second))) for _ in range(8)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert [answer.status_code for answer in answers_of_tabs] == [200] * 8


def test_25_a_visitors_password(own: World, caplog: pytest.LogCaptureFixture) -> None:
    """Threat 25: it works after the token has expired, and neither the store nor any log has it."""
    with caplog.at_level(logging.DEBUG, "fastapi_poto"):
        pair = own.visitor()
        own.clock.advance(3_600)
        assert is_refused(own.get("/Vault/me", pair["access_token"]), H1)
        again = own.login(pair["user_id"], pair["password"])
        assert again.json()["user_id"] == pair["user_id"]
        assert own.login(pair["user_id"], pair["password"][:-1]).status_code == 401
        assert "password" not in again.json()
    told = caplog.text + repr([record.__dict__ for record in caplog.records if record.name.startswith("fastapi_poto")])
    assert pair["password"] not in told.replace(repr(pair), "")
    kept = repr(own.do(everything(own))) + repr(vars(own.poto.users))
    assert pair["user_id"] in kept
    assert pair["password"] not in kept


async def everything(own: World) -> list[Any]:
    return [(name, await own.poto.store.read(name)) for name in (await own.poto.store.names("")).names]


def test_25_nobody_gives_themselves_a_role(own: World) -> None:
    """Threat 25: no member of any sign-in body or query is a role, and a named user cannot be upgraded."""
    wish = {
        "roles": ["admin"],
        "role": "admin",
        "is_admin": True,
        "visitor": False,
        "user_id": "user_root",
        "scope": "admin",
    }
    pair = own.http.post("/auth/visitor", json=wish, params={"roles": "admin"}).json()
    assert own.get("/auth/me", pair["access_token"]).json() == {
        "user_id": pair["user_id"], "name": None, "roles": [], "visitor": True,
    }  # fmt: skip
    name = {"username": NAME, "password": PASSWORD}
    named = own.post("/auth/upgrade", pair, **name, **wish)
    assert named.status_code == 200, named.text
    form = {**name, "scope": "admin", "roles": "admin"}
    login = own.http.post("/auth/login", data=form).json()
    refreshed = own.http.post("/auth/refresh", json={"refresh_token": login["refresh_token"], **wish}).json()
    for one in (named.json(), login, refreshed):
        assert own.get("/auth/me", one["access_token"]).json()["roles"] == []
        assert own.get("/Vault/reports", one["access_token"]).status_code == 403
    header, claims = opened(login["access_token"])
    forged = signed(header, {**claims, "roles": ["admin"], "scope": "admin", "is_admin": True})
    assert own.get("/Vault/reports", forged).status_code == 403
    assert own.post("/auth/upgrade", named.json(), username="root", password=PASSWORD).status_code == 409


def test_25_a_taken_or_reserved_name(own: World) -> None:
    """Threat 25: nobody becomes somebody else by choosing a name that looks the same, or a visitor's id."""
    own.user("Admin", "admin")
    other = own.visitor()
    for name, status in [
        ("admin", 409), ("ADMIN", 409), ("\uff21dmin", 409), ("visitor_x", 422), ("VISITOR_x", 422), ("", 422),
        (other["user_id"], 422), (" admin", 422), ("admin\u00a0", 422), ("ad\0min", 422), ("ad\nmin", 422),
        ("x" * 129, 422), ("\ufdfa" * 100, 422), ("ad\u202emin", 422), ("admin\u200b", 422),
    ]:  # fmt: skip
        answer = own.post("/auth/upgrade", own.visitor(), username=name, password=PASSWORD)
        assert answer.status_code == status, (name, answer.text)
    assert own.signed_in("admin")["user_id"].startswith("user_")
    surrogate = b'{"username": "\\ud800", "password": "correct horse"}'
    headers = {**headers_of(other), "Content-Type": "application/json"}
    assert own.http.post("/auth/upgrade", content=surrogate, headers=headers).status_code == 422
