"""Threats 1 to 7: what is not exactly a good bearer token, at every kind of route of a live server."""

import base64
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fastapi_poto import ConfigurationError, Poto
from tests.secret import SECRET
from tests.security.world import H0, H1, World, b64, headers_of, is_refused, opened, signed, world


@pytest.fixture(scope="module")
def good(shared: World) -> dict[str, Any]:
    """A visitor's tokens; no test here ends them."""
    return shared.visitor()


@pytest.fixture(scope="module")
def parts(good: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return opened(good["access_token"])


def refused_everywhere(shared: World, token: str | bytes, challenge: str = H1) -> bool:
    header = token if isinstance(token, bytes) else token.encode()
    return all(is_refused(answer, challenge) for answer in shared.everywhere({"Authorization": b"Bearer " + header}))


def test_00_the_probe_is_good(shared: World, good: dict[str, Any], parts: Any) -> None:
    """What the following tests spoil is let in before, everywhere; and so is what they sign themselves."""
    for token in (good["access_token"], signed(*parts)):
        answers = shared.everywhere({"Authorization": f"Bearer {token}"})
        assert [answer.status_code for answer in answers] == [200] * 5
    assert answers[0].json()["id"] == answers[1].json() == answers[3].json() == good["user_id"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "bearer", "Basic dXNlcjpwYXNz", "Token abc", "abc"])
def test_01_no_bearer(shared: World, header: str | None) -> None:
    """Threat 1: no credentials of our kind are 401 with a bare challenge."""
    headers = {} if header is None else {"Authorization": header}
    assert all(is_refused(answer, H0) for answer in shared.everywhere(headers))
    assert shared.http.get("/Vault/anybody", headers=headers).json() is None


@pytest.mark.parametrize("value", [b"Bearer ", b"Bearer   ", b"bearer\t", b"Bearer \t ", b"\xff"])
def test_01_a_bearer_of_spaces(shared: World, value: bytes) -> None:
    """Threat 1: what only a hand-made request can send."""
    for path in (b"/Vault/me", b"/plain", b"/auth/me"):
        answer = shared.raw(b"GET " + path + b" HTTP/1.1", b"Authorization: " + value)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert f"www-authenticate: {H0}\r\n".encode() in answer


def test_01_two_authorization_headers(shared: World, good: dict[str, Any]) -> None:
    """Threat 1: two headers are 400, wherever the good one stands."""
    bearer = headers_of(good)["Authorization"]
    for pair in ((bearer, bearer), (bearer, "Bearer x"), ("Basic x", bearer)):
        answers = shared.everywhere([("Authorization", value) for value in pair])
        assert [answer.status_code for answer in answers] == [400] * 5


@pytest.mark.parametrize("alg", ["none", "nOnE", "HS512", "HS384", "RS256", "hs256", ["HS256"], {"a": 1}, None, 1])
def test_02_another_algorithm(shared: World, parts: Any, alg: Any) -> None:
    """Threat 2: HS256 and nothing else, with an empty signature or with a right one."""
    header = {**parts[0], "alg": alg}
    digest = {"HS512": "sha512", "HS384": "sha384"}.get(alg if isinstance(alg, str) else "", "sha256")
    assert refused_everywhere(shared, signed(header, parts[1], digest=digest))
    unsigned = ".".join(b64(json.dumps(part).encode()) for part in (header, parts[1]))
    assert refused_everywhere(shared, f"{unsigned}.")
    assert refused_everywhere(shared, unsigned)


def test_02_asymmetric_keys_as_secret(shared: World, parts: Any) -> None:
    """Threat 2: signed with a public key, in any of its forms, a token is refused; as our own secret it is too."""
    public = rsa.generate_private_key(65_537, 2048).public_key()
    spki = PublicFormat.SubjectPublicKeyInfo
    pem, der = public.public_bytes(Encoding.PEM, spki), public.public_bytes(Encoding.DER, spki)
    ssh = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    for key in (pem, der, ssh, base64.b64encode(der)):
        assert refused_everywhere(shared, signed(*parts, secret=key))
        with pytest.raises(ConfigurationError, match="key or certificate"):
            Poto(key)
    with pytest.raises(ConfigurationError, match="key or certificate"):
        Poto(pem.decode())


FAR = 4_000_000_000
EXPIRIES = [0, 1, -1, None, "soon", str(FAR), FAR + 0.5, True, [FAR], {}, 10**30, "Infinity", "NaN", "1e999"]


@pytest.mark.parametrize("exp", EXPIRIES, ids=repr)
def test_03_expiry(shared: World, parts: Any, exp: Any) -> None:
    """Threat 3: past, null, a string, a fraction, infinite: refused."""
    claims = json.dumps({**parts[1], "exp": exp})
    if exp in ("Infinity", "NaN", "1e999"):
        claims = claims.replace(f'"{exp}"', exp)
    assert refused_everywhere(shared, signed(parts[0], claims.encode()))


def test_03_missing_and_future(shared: World, parts: Any) -> None:
    """Threat 3: without `exp`, or with `nbf` or `iat` in the future: refused."""
    header, claims = parts
    assert refused_everywhere(shared, signed(header, {key: claims[key] for key in claims if key != "exp"}))
    for name in ("nbf", "iat"):
        assert refused_everywhere(shared, signed(header, {**claims, name: int(time.time()) + 60}))
    assert shared.get("/Vault/me", signed(header, {**claims, "nbf": claims["iat"]})).status_code == 200


def test_03_exp_equal_to_now(own: World) -> None:
    """Threat 3: a token is good until the second it names and not in it, remembered or seen for the first time."""
    pair, other = own.visitor(), own.visitor()
    assert own.get("/Vault/me", pair["access_token"]).status_code == 200
    for one in (pair, other):
        expiry = opened(one["access_token"])[1]["exp"]
        own.clock.now = float(expiry)
        assert is_refused(own.get("/Vault/me", one["access_token"]), H1)
        own.clock.now = expiry - 0.001
        assert own.get("/Vault/me", one["access_token"]).status_code == 200


def spoiled_headers() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "kid", {"kid": "unknown"}
    yield "kid null", {"kid": None}
    yield "kid list", {"kid": []}
    yield "crit", {"crit": ["exp"]}
    yield "jwk", {"jwk": {"kty": "oct", "k": b64(SECRET.encode())}}
    yield "jku", {"jku": "http://127.0.0.1:1/keys"}
    yield "x5c", {"x5c": ["AAAA"]}
    yield "typ", {"typ": "JWT"}
    yield "typ refresh", {"typ": "rt+jwt"}


@pytest.mark.parametrize(
    "change", [change for _, change in spoiled_headers()], ids=[name for name, _ in spoiled_headers()]
)
def test_04_header_members(shared: World, parts: Any, change: dict[str, Any]) -> None:
    """Threat 4: an unknown kid, a foreign typ, and every member that we do not write."""
    assert refused_everywhere(shared, signed({**parts[0], **change}, parts[1]))


def test_04_tampered(shared: World, good: dict[str, Any], parts: Any) -> None:
    """Threat 4: another's id, junk and other last characters in the signature, base64 that is not canonical."""
    token = good["access_token"]
    header, claims, signature = token.split(".")
    forged = b64(json.dumps({**parts[1], "sub": "user_admin"}).encode())
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spoiled = [
        f"{header}.{forged}.{signature}", f"{token}A", f"{token}=", f"{header}.{claims}.*{signature}",
        f"{header}=.{claims}.{signature}", f"{header}.{claims}=.{signature}", f"{header}.{claims}.{signature[:-1]}",
        f"{header}..{claims}.{signature}", f"{header}.{claims}", f"{claims}.{header}.{signature}",
        f"{token}.{signature}", f"{header} .{claims}.{signature}", f"{token},{token}", token.upper(), token[::-1],
    ]  # fmt: skip
    for one in spoiled:
        assert refused_everywhere(shared, one)
    for character in last:
        if character != signature[-1]:
            assert is_refused(shared.get("/Vault/me", token[:-1] + character), H1)
    assert shared.get("/Vault/me", token).status_code == 200


def test_04_each_token_for_its_purpose(shared: World, good: dict[str, Any]) -> None:
    """Threat 4: a refresh token is no access token, and an access token no refresh token."""
    assert refused_everywhere(shared, good["refresh_token"])
    assert is_refused(shared.http.post("/auth/refresh", json={"refresh_token": good["access_token"]}), H1)


@pytest.mark.parametrize("name", ["iss", "aud"])
@pytest.mark.parametrize("value", ["other", "", None, 1, ["poto"], ["poto", "other"], "absent"])
def test_05_issuer_and_audience(shared: World, parts: Any, name: str, value: Any) -> None:
    """Threat 5: whose token it is and whom it is for, exactly."""
    claims = {**parts[1], name: value}
    if value == "absent":
        del claims[name]
    assert refused_everywhere(shared, signed(parts[0], claims))


def test_05_another_application(shared: World, parts: Any) -> None:
    """Threat 5: two applications that share a secret do not share their users."""
    with world(issuer="other", audience="other") as other:
        pair = other.visitor()
        assert refused_everywhere(shared, pair["access_token"])
        assert is_refused(other.get("/Vault/me", signed(*parts)), H1)


def test_06_length_and_shape(shared: World, parts: Any) -> None:
    """Threat 6: long, deeply nested, not ASCII, surrogates: 401 and never 500."""
    header, claims = parts
    deep = b"[" * 1_400 + b"]" * 1_400
    tokens: list[str | bytes] = [
        signed(header, {**claims, "pad": "x" * 4_000}),
        "A" * 5_000,
        "." * 4_096,
        signed(deep, claims),
        signed(header, deep),
        signed(b'{"a":' * 500 + b"1" + b"}" * 500, claims),
        signed(header, json.dumps(claims).replace('"sub": "', '"sub": "\\ud800').encode()),
        signed(header, b"\xff\xfe\x00"),
        "ä.ö.ü".encode(),
        "\u0430\u0431.x.y".encode(),
        b"\xed\xa0\x80.\xed\xa0\x80.\xed\xa0\x80",
        b"\xff" * 100,
    ]
    for token in tokens:
        assert refused_everywhere(shared, token)
    assert shared.get("/Vault/me", signed(header, {**claims, "sub": "x" * 300})).status_code == 401


def test_07_query(shared: World, good: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """Threat 7: a token in the query is ignored, streams too; the access log does not show it, nor one in the path."""
    with caplog.at_level(logging.INFO):
        logging.getLogger("uvicorn.access").addHandler(caplog.handler)
        logging.getLogger("uvicorn.access").setLevel(logging.INFO)
        try:
            for path in ("/Vault/me", "/Vault/ticks", "/plain", "/auth/me"):
                for name in ("access_token", "token", "authorization", "x"):
                    query = {name: good["access_token"], "page": "2"}
                    assert is_refused(shared.http.get(path, params=query), H0)
                assert is_refused(shared.http.get(path, params={"token": good["refresh_token"]}), H0)
            for token in (good["access_token"], good["refresh_token"]):
                assert shared.http.get(f"/Vault/{token}").status_code == 404
        finally:
            logging.getLogger("uvicorn.access").removeHandler(caplog.handler)
    told = "".join(
        record.getMessage() for record in caplog.records if record.name.startswith(("uvicorn", "fastapi_poto"))
    )
    assert "page=2" in told
    for token in (good["access_token"], good["refresh_token"]):
        assert not [part for part in token.split(".")[1:] if part in told]


def test_07_stream_with_post(shared: World, good: dict[str, Any]) -> None:
    """Threat 7: nor does a token in the body sign anybody in."""
    body = {"access_token": good["access_token"], "token": good["access_token"]}
    answer = shared.http.post("/Vault/tick", json=body)
    assert isinstance(answer, httpx.Response)
    assert is_refused(answer, H0)
