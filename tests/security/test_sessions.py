"""Threats 12 to 17, 27 and 31, as clients can try them on a live server.

The same on each store, over four processes and with faults: tests/sessions/test_processes.py, test_session.py,
test_faults.py, test_cookie.py and test_store_contract.py.
"""

import base64
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.security.world import NAME, PASSWORD, World, headers_of, world

COOKIE = "__Host-poto-session"
JUNK = [b"", b"\x80\x04\x95", b"{", b"\xff\xfe\xfd", b"nil", b"[[[[", b"\x00" * 50, b"cos\nsystem\n(S'true'\ntR."]


def at_once(calls: list[Callable[[], httpx.Response]]) -> list[int]:
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda call=call: statuses.append(call().status_code)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def kept(own: World, pair: dict[str, Any]) -> Any:
    return own.get("/Vault/kept", pair["access_token"]).json()


def test_12_concurrent_writes(own: World) -> None:
    """Threat 12: 20 writes to 20 keys of one session that nobody has made yet: 20 survive; 20 increments: none lost."""
    pair = own.visitor()
    writes = [lambda n=n: own.post("/Vault/keep", pair, key=f"key{n}", value=n) for n in range(20)]
    assert at_once(writes) == [204] * 20  # type: ignore[arg-type]
    assert kept(own, pair) == {f"key{n}": n for n in range(20)}
    counts = [lambda: own.post("/Vault/count", pair), lambda: own.post("/plain/count", pair)] * 10
    assert at_once(counts) == [200] * 20
    assert kept(own, pair)["count"] == 20


def slowly(own: World, pair: dict[str, Any]) -> tuple[threading.Thread, list[httpx.Response]]:
    """A call that is under way, and writes the session in a moment."""
    answers: list[httpx.Response] = []
    slow = threading.Thread(target=lambda: answers.append(own.post("/Vault/keep_slowly", pair, key="slow", value=1)))
    slow.start()
    while "begun" not in kept(own, pair):
        pass
    return slow, answers


def test_13_a_slow_writer_beside_a_logout(own: World) -> None:
    """Threat 13: a call that is under way while its user signs out for good does not bring the session back to life."""
    own.user()
    pair = own.signed_in()
    own.post("/Vault/keep", pair, key="before", value=1)
    slow, answers = slowly(own, pair)
    assert own.post("/auth/logout", pair).status_code == 204
    slow.join()
    assert answers[0].status_code in (401, 409), answers[0].text
    again = own.signed_in()
    assert kept(own, again) == {}
    assert own.post("/Vault/keep", again, key="after", value=2).status_code == 204
    assert kept(own, own.signed_in()) == {"after": 2}


def test_13_a_slow_writer_beside_an_end(own: World) -> None:
    """Threat 13: nor does one whose session was ended from outside; the next call starts an empty one."""
    pair = own.visitor()
    own.post("/Vault/keep", pair, key="before", value=1)
    slow, answers = slowly(own, pair)
    own.do(own.poto.sessions.end(pair["user_id"]))
    slow.join()
    assert answers[0].status_code in (401, 409), answers[0].text
    assert kept(own, pair) == {}
    assert own.post("/Vault/keep", pair, key="after", value=2).status_code == 204
    assert kept(own, pair) == {"after": 2}


def test_13_one_device_signs_out(own: World) -> None:
    """Signing out on one device leaves the session to the user's other sign-ins; the last one takes it along."""
    own.user()
    phone, laptop = own.signed_in(), own.signed_in()
    own.post("/Vault/keep", phone, key="before", value=1)
    assert own.post("/auth/logout", phone).status_code == 204
    assert own.get("/Vault/kept", phone["access_token"]).status_code == 401
    assert kept(own, laptop) == {"before": 1}
    tablet = own.signed_in()
    assert own.post("/auth/logout", laptop).status_code == 204
    assert kept(own, tablet) == {"before": 1}
    assert own.post("/auth/logout", tablet).status_code == 204
    assert kept(own, own.signed_in()) == {}


def test_14_the_client_names_no_session(own: World) -> None:
    """Threat 14: a session that a client names, in whatever way, is never adopted, and nothing shows its own."""
    victim, thief = own.visitor(), own.visitor()
    own.post("/Vault/keep", victim, key="secret", value=7)
    for name in ("session", "session_id", "sessionid", "sid", "poto_session", COOKIE, "X-Session-ID"):
        for value in (victim["user_id"], "made-up", f"session:{victim['user_id']}"):
            headers = {**headers_of(thief), "Cookie": f"{name}={value}", name: value}
            answer = own.http.get("/Vault/kept", headers=headers, params={name: value})
            assert answer.json() == {}
            assert "session" not in repr(answer.headers)
    assert "set-cookie" not in answer.headers
    own.post("/Vault/keep", thief, key="mine", value=1)
    assert kept(own, victim) == {"secret": 7}
    assert kept(own, thief) == {"mine": 1}


def test_14_sign_in_and_upgrade(own: World) -> None:
    """Threat 14: at sign-in and at upgrade the data stays; a session that was ended is under no name ever again."""
    pair = own.visitor()
    own.post("/Vault/keep", pair, key="k", value=1)
    own.login(pair["user_id"], pair["password"])
    own.post("/auth/upgrade", pair, username=NAME, password=PASSWORD)
    again = own.signed_in()
    assert kept(own, again) == {"k": 1}
    names = set()
    for value in (2, 3):
        names.update(own.do(own.poto.store.names("session:")).names)
        own.do(own.poto.sessions.end(pair["user_id"]))
        assert own.do(own.poto.store.names("session:")).names == []
        own.post("/Vault/keep", again, key="k", value=value)
    names.update(own.do(own.poto.store.names("session:")).names)
    assert len(names) == 3


# Sessions in a cookie


@pytest.fixture
def cookies() -> Iterator[World]:
    with world(sessions="cookie") as made:
        yield made


class Browser:
    """Sends its session cookie over plain HTTP too, as an attacker's client does."""

    def __init__(self, own: World, pair: dict[str, Any]) -> None:
        self.own = own
        self.pair = pair
        self.cookie = ""
        self.last: httpx.Response | None = None

    def call(self, verb: str, path: str, cookie: str | None = None, **body: Any) -> httpx.Response:
        sent = self.cookie if cookie is None else cookie
        headers = {**headers_of(self.pair), **({"Cookie": f"{COOKIE}={sent}"} if sent else {})}
        answer = self.own.http.request(verb, path, headers=headers, json=body if verb == "POST" else None)
        self.own.http.cookies.clear()
        set_cookie = answer.headers.get("set-cookie")
        if set_cookie is not None and cookie is None:
            name, _, rest = set_cookie.partition("=")
            assert name == COOKIE
            assert {"Path=/", "HttpOnly", "Secure", "SameSite=Lax"} <= {part.strip() for part in rest.split(";")}
            self.cookie = rest.partition(";")[0]
        self.last = answer
        return answer

    def kept(self, cookie: str | None = None) -> Any:
        answer = self.call("GET", "/Vault/kept", cookie)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def browser(cookies: World) -> Browser:
    made = Browser(cookies, cookies.visitor())
    assert made.call("POST", "/Vault/keep", key="k", value=1).status_code == 204
    assert made.kept() == {"k": 1}
    return made


def test_15_a_cookie_that_is_not_ours(cookies: World, browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """Threat 15: tampered, cut short, another user's, another purpose's: empty, cleared, one log line, no 500."""
    other = Browser(cookies, cookies.visitor())
    other.call("POST", "/Vault/keep", key="theirs", value=2)
    good = browser.cookie
    raw = base64.urlsafe_b64decode(good + "=" * (-len(good) % 4))
    changed = base64.urlsafe_b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).rstrip(b"=").decode()
    for spoiled in (
        changed,
        good[:-10],
        good[:20],
        good[5:],
        good * 2,
        other.cookie,
        browser.pair["access_token"],
        "x",
    ):
        caplog.clear()
        assert browser.kept(spoiled) == {}
        assert browser.last is not None
        assert browser.last.headers["set-cookie"].startswith(f"{COOKIE}=;")
        told = [record for record in caplog.records if record.name.startswith("fastapi_poto")]
        assert len(told) == 1
        assert spoiled not in told[0].getMessage()
        assert told[0].levelno >= logging.INFO
    assert browser.kept(good) == {"k": 1}


def test_16_a_cookie_too_large(browser: Browser) -> None:
    """Threat 16: a clear error at the write, the session unchanged, nothing sent."""
    answer = browser.call("POST", "/Vault/keep_text", key="large", value="x" * 4_096)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert "set-cookie" not in answer.headers
    assert browser.kept() == {"k": 1}


def test_17_a_cookie_replayed(cookies: World, browser: Browser) -> None:
    """Threat 17: after logout the cookie is refused, in the same user's hands too; so is one past its expiry."""
    old = browser.cookie
    cookies.clock.advance(1)
    user = browser.pair
    assert cookies.post("/auth/logout", user).status_code == 204
    browser.pair = cookies.login(user["user_id"], user["password"]).json()
    assert browser.kept(old) == {}
    browser.cookie = ""
    browser.call("POST", "/Vault/keep", key="k", value=2)
    late = browser.cookie
    assert browser.kept(late) == {"k": 2}
    cookies.clock.advance(14 * 86_400 + 1)
    browser.pair = cookies.login(user["user_id"], user["password"]).json()
    assert browser.kept(late) == {}


# Channels


def test_27_another_users_channel(own: World) -> None:
    """Threat 27: with another user's event id a stream is 403, without credentials 401; made-up ids open nothing."""
    owner, thief = own.visitor(), own.visitor()
    event_id = ""
    with own.http.stream("POST", "/Vault/numbers", headers=headers_of(owner), json={}) as answer:
        for line in answer.iter_lines():
            if line.startswith("id: "):
                event_id = line.removeprefix("id: ")
                break
    assert event_id
    as_owner = {**headers_of(owner), "Last-Event-ID": event_id}
    as_thief = {**headers_of(thief), "Last-Event-ID": event_id}
    assert own.http.post("/Vault/numbers", headers=as_thief, json={}).status_code == 403
    assert own.http.post("/Vault/numbers", headers={"Last-Event-ID": event_id}, json={}).status_code == 401
    for made_up in ("x", "1", event_id + "1", f"{thief['user_id']}:1", "../" + event_id, "%00"):
        answer = own.http.post("/Vault/numbers", headers={**headers_of(thief), "Last-Event-ID": made_up}, json={})
        assert answer.status_code in (403, 409, 204), (made_up, answer.text)
    rest = own.http.post("/Vault/numbers", headers=as_owner, json={})
    assert rest.status_code == 200
    assert rest.text.endswith("event: close\ndata\n\n")


# Expiry and junk


def test_28_bytes_that_do_not_parse(own: World) -> None:
    """Threat 28: junk in any record of a user is an empty session or a 401, and never a 500."""
    store = own.poto.store
    for junk in JUNK:
        pair = own.visitor()
        own.post("/Vault/keep", pair, key="k", value=1)
        session = f"session:{pair['user_id']}"
        fields = own.do(store.read(session)) or {}
        own.do(store.write(session, dict.fromkeys(fields, junk)))
        assert kept(own, pair) == {}
        own.do(store.write(f"auth:{pair['user_id']}", {"session": junk}))
        assert kept(own, pair) == {}
        assert own.post("/Vault/keep", pair, key="k", value=2).status_code == 204
        record = f"auth:{pair['user_id']}"
        families = own.do(store.read(record)) or {}
        own.do(store.write(record, dict.fromkeys(families, junk)))
        assert own.refresh(pair).status_code == 401
        own.do(store.write(record, {"epoch": junk}))
        assert own.get("/Vault/me", pair["access_token"]).status_code == 401
        assert own.login(pair["user_id"], pair["password"]).status_code == 200


def test_31_idle_and_absolute(own: World) -> None:
    """Threat 31: access token 15 min, refresh 7 days idle and 30 in all, session 14 days idle and 30 in all."""
    pair = own.visitor()
    own.post("/Vault/keep", pair, key="k", value=1)
    day = 86_400

    def sign_in() -> dict[str, Any]:
        fresh: dict[str, Any] = own.login(pair["user_id"], pair["password"]).json()
        return fresh

    own.clock.advance(15 * 60)
    assert own.get("/Vault/me", pair["access_token"]).status_code == 401
    began = own.clock.now - 15 * 60
    own.clock.now = began + 7 * day + 1
    assert own.refresh(pair).status_code == 401
    own.clock.now = began + 13 * day
    assert kept(own, sign_in()) == {"k": 1}
    own.clock.now = began + 26 * day
    assert kept(own, sign_in()) == {"k": 1}
    own.clock.now = began + 30 * day + 1
    assert kept(own, sign_in()) == {}
    fresh = sign_in()
    own.post("/Vault/keep", fresh, key="k", value=2)
    own.clock.advance(14 * day + 1)
    assert kept(own, sign_in()) == {}
