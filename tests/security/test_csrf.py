"""Threats 18 and 41: tokens in cookies, and pages of other origins that try to use them."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from fastapi_poto import ConfigurationError, Poto
from tests.secret import SECRET
from tests.security.world import H1, NAME, PASSWORD, World, headers_of, is_refused, world

ASKS = {"X-Poto-Transport": "cookie"}


@pytest.fixture
def own() -> Iterator[World]:
    with world(cookies=True, allowed_origins=["https://app.example"]) as made:
        yield made


def sign_in(own: World, **headers: str) -> dict[str, str]:
    """The cookies of a new visitor."""
    answer = own.http.post("/auth/visitor", headers={**ASKS, **headers})
    assert answer.status_code == 200, answer.text
    return taken(own, answer)


def taken(own: World, answer: httpx.Response) -> dict[str, str]:
    """The cookies that an answer sets, and that are as they must be; httpx would not send them without TLS."""
    cookies = {}
    for value in answer.headers.get_list("set-cookie"):
        pair, *attributes = value.split("; ")
        name, _, cookie = pair.partition("=")
        assert name.startswith("__Host-")
        assert {"Path=/", "HttpOnly", "Secure", "SameSite=Lax"} <= set(attributes)
        assert not [attribute for attribute in attributes if attribute.lower().startswith("domain")]
        assert len(value) <= 4_096
        cookies[name] = cookie
    own.http.cookies.clear()
    return cookies


def call(own: World, cookies: dict[str, str], verb: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), **headers}
    return own.http.request(verb, path, headers=sent, json=body)


def test_18_the_page_never_sees_a_token(own: World) -> None:
    """Threat 18: asked for cookies, sign-in routes put no token into the body, and no visitor's password."""
    answer = own.http.post("/auth/visitor", headers=ASKS)
    assert set(answer.json()) == {"token_type", "expires_in", "user_id"}
    assert answer.json()["token_type"] == "cookie"
    cookies = taken(own, answer)
    assert set(cookies) == {"__Host-poto", "__Host-poto-refresh"}
    assert call(own, cookies, "GET", "/Vault/me").json()["id"] == answer.json()["user_id"]


def test_18_a_write_needs_the_header(own: World) -> None:
    """Threat 18: without it a write with the cookie is 403, whatever the page; with it it is done."""
    cookies = sign_in(own)
    refused = call(own, cookies, "POST", "/Vault/keep", {"key": "k", "value": 1})
    assert refused.status_code == 403
    assert refused.json()["code"] == "cross_site_request"
    for wrong in ({"X-Requested-With": "XMLHttpRequest"}, {"X-Poto-Transport": ""}, {"X-Poto-Transport": "bearer"}):
        assert call(own, cookies, "POST", "/Vault/keep", {"key": "k", "value": 1}, **wrong).status_code == 403
    for path in ("/Vault/tick", "/plain/count", "/auth/logout"):
        assert call(own, cookies, "POST", path, {}).status_code == 403
    assert call(own, cookies, "GET", "/Vault/kept").json() == {}
    assert call(own, cookies, "POST", "/Vault/keep", {"key": "k", "value": 1}, **ASKS).status_code == 204
    assert call(own, cookies, "GET", "/Vault/kept").json() == {"k": 1}


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("{own}", 204), ("https://app.example", 204), ("https://evil.example", 403), ("null", 403), ("", 403),
        ("http://127.0.0.1", 403), ("{own}.evil.example", 403), ("https://app.example.evil.example", 403),
        ("http://app.example", 403), ("https://app.example:8443", 403), ("file://", 403), ("ftp{own}", 403),
        ("http://[", 403), ("http://[::1", 403), ("http://", 403), ("://", 403),
    ],
)  # fmt: skip
def test_18_a_foreign_origin(own: World, origin: str, status: int) -> None:
    """Threat 18: a page of another origin may not write even with the header; our own and the allowed ones may."""
    cookies = sign_in(own)
    headers = {**ASKS, "Origin": origin.replace("{own}", own.url)}
    assert call(own, cookies, "POST", "/Vault/keep", {"key": "k", "value": 1}, **headers).status_code == status


def test_18_get_changes_nothing(own: World) -> None:
    """Threat 18: GET, HEAD and OPTIONS with the cookie do what they do for anybody, and nothing is written."""
    cookies = sign_in(own)
    before = {name: own.do(own.poto.store.read(name)) for name in own.do(own.poto.store.names("")).names}
    for path in ("/Vault/me", "/Vault/kept", "/auth/me", "/plain"):
        assert call(own, cookies, "GET", path, Origin="https://evil.example").status_code == 200
    for path in ("/auth/logout", "/auth/visitor", "/auth/refresh", "/auth/login", "/auth/upgrade", "/Vault/keep"):
        for verb in ("GET", "HEAD", "OPTIONS"):
            assert call(own, cookies, verb, path).status_code == 405
    assert {name: own.do(own.poto.store.read(name)) for name in own.do(own.poto.store.names("")).names} == before


def test_18_refresh_and_logout(own: World) -> None:
    """Threat 18: the refresh cookie works for our page alone; logout takes both cookies back and ends the sign-in."""
    cookies = sign_in(own)
    assert call(own, cookies, "POST", "/auth/refresh").status_code == 403
    assert call(own, cookies, "POST", "/auth/refresh", Origin="https://evil.example", **ASKS).status_code == 403
    refreshed = call(own, cookies, "POST", "/auth/refresh", **ASKS)
    assert refreshed.status_code == 200
    newer = taken(own, refreshed)
    assert newer["__Host-poto-refresh"] != cookies["__Host-poto-refresh"]
    out = call(own, newer, "POST", "/auth/logout", **ASKS)
    assert out.status_code == 204
    assert taken(own, out) == {"__Host-poto": "", "__Host-poto-refresh": ""}
    assert is_refused(call(own, newer, "GET", "/Vault/me"), H1)
    assert call(own, newer, "POST", "/auth/refresh", **ASKS).status_code == 401


def test_18_signing_in_from_a_foreign_page(own: World) -> None:
    """Threat 18: a page cannot sign its reader in as somebody else, nor get cookies set by a plain form."""
    own.user()
    evil = {"Origin": "https://evil.example"}
    form = {"username": NAME, "password": PASSWORD}
    visitor = own.visitor()  # the page's own, whose tokens it knows
    bearer = headers_of(visitor)
    for path, body in {
        "/auth/visitor": {},
        "/auth/login": {"data": form},
        "/auth/refresh": {"json": {"refresh_token": visitor["refresh_token"]}},
        "/auth/upgrade": {"json": {"username": "eve", "password": PASSWORD}},
        "/auth/logout": {},
    }.items():
        refused = own.http.post(path, headers={**ASKS, **evil, **bearer}, **body)
        assert refused.status_code == 403, path
        assert "set-cookie" not in refused.headers
    assert own.http.get("/auth/me", headers=bearer).status_code == 200
    plain = own.http.post("/auth/login", data=form, headers=evil)
    assert plain.status_code == 200
    assert "set-cookie" not in plain.headers


def test_18_the_header_wins(own: World) -> None:
    """A bearer token beside a cookie is what counts, and needs no protection: no page sends it by itself."""
    cookies = sign_in(own)
    other = own.visitor()
    bearer = {"Authorization": f"Bearer {other['access_token']}"}
    assert call(own, cookies, "POST", "/Vault/whoami", {}, **bearer).json() == other["user_id"]
    assert is_refused(call(own, cookies, "GET", "/Vault/me", Authorization="Bearer x.y.z"), H1)


def test_18_two_cookies_of_the_name(own: World) -> None:
    """Of two cookies of our name none counts: one of them was planted."""
    first, second = sign_in(own), sign_in(own)
    planted = f"__Host-poto={first['__Host-poto']}; __Host-poto={second['__Host-poto']}"
    assert own.http.get("/Vault/me", headers={"Cookie": planted}).status_code == 401


def opens_a_socket(own: World, *, origin: str | None = None, **headers: str) -> bool:
    url = own.url.replace("http://", "ws://") + "/socket"
    try:
        with connect(url, origin=origin, additional_headers=headers) as socket:  # type: ignore[arg-type]
            assert str(socket.recv()).startswith("visitor_")
    except InvalidStatus as refused:
        return refused.response.status_code not in (401, 403)
    return True


def test_18_a_foreign_pages_websocket(own: World) -> None:
    """Threat 18: a socket with the cookie opens for our own page only; with a bearer token for anybody."""
    cookie = {"Cookie": f"__Host-poto={sign_in(own)['__Host-poto']}"}
    assert opens_a_socket(own, origin=own.url, **cookie)
    assert opens_a_socket(own, origin="https://app.example", **cookie)
    assert not opens_a_socket(own, origin="https://evil.example", **cookie)
    assert not opens_a_socket(own, origin="null", **cookie)
    assert not opens_a_socket(own, **cookie)
    assert not opens_a_socket(own)
    bearer = {"Authorization": f"Bearer {own.visitor()['access_token']}"}
    assert opens_a_socket(own, origin="https://evil.example", **bearer)


def test_18_off_unless_asked_for() -> None:
    """By default a cookie signs nobody in, and none is set."""
    with world() as plain:
        answer = plain.http.post("/auth/visitor", headers=ASKS)
        assert "set-cookie" not in answer.headers
        cookie = {"Cookie": f"__Host-poto={answer.json()['access_token']}"}
        assert plain.http.get("/Vault/me", headers=cookie).status_code == 401
        assert plain.http.post("/Vault/whoami", headers={**cookie, **ASKS}, json={}).status_code == 401


def names_cleared(answer: httpx.Response) -> set[str]:
    """The cookies that an answer takes back."""
    sent = answer.headers.get_list("set-cookie")
    return {value.partition("=")[0] for value in sent if "; Max-Age=0;" in f"{value};" and "=;" in value}


BOTH = {"__Host-poto", "__Host-poto-refresh"}


@pytest.mark.parametrize("left", [{"__Host-poto-refresh"}, {"__Host-poto"}, BOTH])
@pytest.mark.parametrize("minutes", [0, 16])
def test_41_signing_out_works_whatever_has_expired(own: World, left: set[str], minutes: int) -> None:
    """Threat 41: with what cookie is left, dead or alive: 204, both taken back, and no refresh works any more."""
    cookies = sign_in(own)
    own.clock.advance(minutes=minutes)
    rest = {name: value for name, value in cookies.items() if name in left}
    out = call(own, rest, "POST", "/auth/logout", **ASKS)
    assert out.status_code == 204
    assert names_cleared(out) == BOTH
    if left != {"__Host-poto"} or minutes == 0:
        back = call(own, cookies, "POST", "/auth/refresh", **ASKS)
        assert is_refused(back, H1)
        assert names_cleared(back) == BOTH
    assert is_refused(call(own, cookies, "GET", "/Vault/me"), H1)


def test_41_signing_out_is_the_pages_own_business(own: World) -> None:
    """Threat 41: a foreign page, or one that does not send the header, signs nobody out."""
    cookies = sign_in(own)
    rest = {"__Host-poto-refresh": cookies["__Host-poto-refresh"]}
    assert call(own, rest, "POST", "/auth/logout").status_code == 403
    assert call(own, rest, "POST", "/auth/logout", **ASKS, Origin="https://evil.example").status_code == 403
    assert call(own, {}, "POST", "/auth/logout", **ASKS).status_code == 401
    made_up = {"__Host-poto-refresh": rest["__Host-poto-refresh"][:-3] + "AAA"}
    assert call(own, made_up, "POST", "/auth/logout", **ASKS).status_code == 204
    assert call(own, cookies, "GET", "/Vault/me").status_code == 200


def test_41_the_last_sign_in_takes_the_session_with_it(own: World) -> None:
    """Threat 41: also where only the refresh cookie is left."""
    answer = own.http.post("/auth/visitor", headers={})
    visitor = answer.json()
    form = {"username": visitor["user_id"], "password": visitor["password"]}
    own.post("/auth/logout", visitor)
    cookies = taken(own, own.http.post("/auth/login", data=form, headers=ASKS))
    assert call(own, cookies, "POST", "/Vault/keep", {"key": "k", "value": 1}, **ASKS).status_code == 204
    rest = {"__Host-poto-refresh": cookies["__Host-poto-refresh"]}
    assert call(own, rest, "POST", "/auth/logout", **ASKS).status_code == 204
    again = taken(own, own.http.post("/auth/login", data=form, headers=ASKS))
    assert call(own, again, "GET", "/Vault/kept").json() == {}


def test_41_a_dead_cookie_does_not_close_public_methods(own: World) -> None:
    """Threat 41: what needs nobody is answered; the dead cookie is taken back, its refresh cookie not."""
    cookies = sign_in(own)
    own.clock.advance(minutes=16)
    for path, expected in (("/Vault/status", "open"), ("/Vault/anybody", None)):
        answer = call(own, cookies, "GET", path)
        assert (answer.status_code, answer.json()) == (200, expected)
        assert names_cleared(answer) == {"__Host-poto"}
    refused = call(own, cookies, "GET", "/Vault/me")
    assert is_refused(refused, H1)
    assert names_cleared(refused) == {"__Host-poto"}
    assert call(own, cookies, "POST", "/auth/refresh", **ASKS).status_code == 200
    junk = {"__Host-poto": "junk"}
    assert call(own, junk, "GET", "/Vault/status").status_code == 200


def test_41_a_dead_cookie_on_a_plain_route(own: World) -> None:
    """Threat 41: a route of the application itself refuses it, and takes it back."""
    cookies = sign_in(own)
    alive = call(own, cookies, "GET", "/plain")
    assert (alive.status_code, names_cleared(alive)) == (200, set())
    own.clock.advance(minutes=16)
    refused = call(own, cookies, "GET", "/plain")
    assert is_refused(refused, H1)
    assert names_cleared(refused) == {"__Host-poto"}


def test_41_what_the_document_says(own: World) -> None:
    """Threat 41: the scheme, the header, the answer without tokens, a refresh without a body."""
    document = own.http.get("/openapi.json").json()
    scheme = document["components"]["securitySchemes"]["PotoCookie"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "cookie", "__Host-poto")
    assert {"PotoCookie": []} in document["paths"]["/Vault/me"]["get"]["security"]
    assert {"PotoCookie": []} in document["paths"]["/auth/logout"]["post"]["security"]
    refresh = document["paths"]["/auth/refresh"]["post"]
    assert not refresh["requestBody"].get("required")
    names = [one["name"] for one in refresh["parameters"]]
    assert "X-Poto-Transport" in names
    assert "SignedInByCookie" in repr(document["paths"]["/auth/login"]["post"]["responses"]["200"]) + repr(
        document["components"]["schemas"]
    )
    schemas = document["components"]["schemas"]
    assert set(schemas["SignedInByCookie"]["properties"]) == {"token_type", "expires_in", "user_id"}
    told = {name: schemas[name]["properties"]["token_type"]["const"] for name in ("TokenPair", "SignedInByCookie")}
    assert told == {"TokenPair": "bearer", "SignedInByCookie": "cookie"}  # by which a generated client tells them apart


def test_41_two_applications_on_one_host() -> None:
    """Threat 41: with names of their own neither overwrites the other's cookies, sessions in cookies included."""
    with (
        world(cookies=True, cookie_name="__Host-one", sessions="cookie://") as one,
        world(SECRET[::-1], cookies=True, cookie_name="__Host-two", sessions="cookie://") as two,
    ):
        both = sign_in(one) | sign_in(two)
        assert set(both) == {"__Host-one", "__Host-one-refresh", "__Host-two", "__Host-two-refresh"}
        for own in (one, two):
            kept = call(own, both, "POST", "/Vault/keep", {"key": "k", "value": 1}, **ASKS)
            both |= taken(own, kept)
        assert {"__Host-one-session", "__Host-two-session"} < set(both)
        for own in (one, two):
            assert call(own, both, "GET", "/Vault/kept").json() == {"k": 1}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"allowed_origins": ["https://app.example", "https://shop.test"]}, "several sites"),
        ({"allowed_origins": ["http://app.example"]}, "over TLS"),
        ({"cookie_same_site": "none"}, "allowed_origins names none"),
        ({"cookie_same_site": "sometimes"}, "cookie_same_site"),
        ({"cookie_name": "poto"}, "Write __Host-"),
        ({"cookie_name": "__Host-a;b"}, "Write __Host-"),
    ],
)
def test_41_set_ups_that_cannot_work(options: dict[str, Any], says: str) -> None:
    """Threat 41: a browser would not send the cookie: refused at start-up, with the cure."""
    with pytest.raises(ConfigurationError, match=says):
        Poto(SECRET, cookies=True, **options)


def test_41_pages_of_another_site() -> None:
    """Threat 41: with cookie_same_site="none" they sign in; the Origin is checked as ever."""
    origins = ["https://app.example", "https://shop.test"]
    with world(cookies=True, cookie_same_site="none", allowed_origins=origins) as own:
        answer = own.http.post("/auth/visitor", headers={**ASKS, "Origin": "https://shop.test"})
        assert all("SameSite=None" in value for value in answer.headers.get_list("set-cookie"))
        assert own.http.post("/auth/visitor", headers={**ASKS, "Origin": "https://evil.test"}).status_code == 403
