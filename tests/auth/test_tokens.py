"""The strict parser in front of python-jose: what was not issued here is refused, and nothing else is raised."""

import base64
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jose import jwt

from fastapi_poto.auth.access_tokens import AccessTokens, Claims
from fastapi_poto.auth.secrets import Secrets
from fastapi_poto.errors import Unauthenticated
from fastapi_poto.settings import AuthSettings
from fastapi_poto.testing import Clock
from tests.secret import SECRET

CLOCK = Clock(1_800_000_000.5)
NOW = int(CLOCK.now)
SECRETS = Secrets(SECRET)
KID = SECRETS.current_id
TOKENS = AccessTokens(SECRETS, AuthSettings(), clock=CLOCK)
FAMILY = "A" * 22
GOOD_HEADER = {"alg": "HS256", "kid": KID, "typ": "at+jwt"}
GOOD_CLAIMS = {
    "iss": "poto", "aud": "poto", "sub": "user_1", "iat": NOW, "exp": NOW + 60, "jti": f"{FAMILY}.abcdefgh", "ver": 0,
}  # fmt: skip


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: Any, claims: Any, *, secret: bytes = SECRET.encode(), digest: str = "sha256") -> str:
    """A token with a right signature over whatever it is given: objects, or bytes as they are."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signing = ".".join(b64(part) for part in parts)
    return f"{signing}.{b64(hmac.digest(secret, signing.encode(), digest))}"


def refused(token: Any) -> bool:
    try:
        TOKENS.verify(token)
    except Unauthenticated:
        return True
    return False


def test_what_is_issued_is_verified() -> None:
    """The claims come back as they were made, and python-jose reads the same token."""
    token, claims = TOKENS.issue("user_1", family=FAMILY, epoch=3, ttl=60)
    assert TOKENS.verify(token) == claims
    assert claims == Claims("user_1", claims.jti, FAMILY, 3, NOW, NOW + 60)
    assert jwt.get_unverified_header(token) == GOOD_HEADER
    assert set(jwt.get_unverified_claims(token)) == set(GOOD_CLAIMS)


def test_the_probe_itself_is_good() -> None:
    """The tokens that the other tests spoil are right before."""
    assert not refused(signed(GOOD_HEADER, GOOD_CLAIMS))
    assert not refused(signed(GOOD_HEADER, {**GOOD_CLAIMS, "nbf": NOW, "custom": "x"}))


HEADERS: list[Any] = [
    {**GOOD_HEADER, "alg": "none"}, {**GOOD_HEADER, "alg": "nOnE"}, {**GOOD_HEADER, "alg": "HS512"},
    {**GOOD_HEADER, "alg": "RS256"}, {**GOOD_HEADER, "alg": ["HS256"]}, {**GOOD_HEADER, "alg": None},
    {**GOOD_HEADER, "alg": "hs256"}, {**GOOD_HEADER, "kid": "other"}, {**GOOD_HEADER, "kid": None},
    {**GOOD_HEADER, "kid": [KID]}, {**GOOD_HEADER, "kid": {"a": 1}}, {**GOOD_HEADER, "kid": "../../dev/null"},
    {**GOOD_HEADER, "typ": "JWT"}, {**GOOD_HEADER, "typ": "AT+JWT"}, {**GOOD_HEADER, "typ": "rt+jwt"},
    {**GOOD_HEADER, "crit": ["exp"]}, {**GOOD_HEADER, "crit": []}, {**GOOD_HEADER, "jwk": {"kty": "oct", "k": "AA"}},
    {**GOOD_HEADER, "jku": "https://evil.example/keys"}, {**GOOD_HEADER, "x5u": "https://evil.example"},
    {**GOOD_HEADER, "b64": False}, {**GOOD_HEADER, "zip": "DEF"}, {"alg": "HS256", "typ": "at+jwt"},
    {"kid": KID, "typ": "at+jwt"}, {}, [], None, "HS256", 1, b"", b"{", b"\xff\xfe", b"[" * 1000,
    b'{"alg":"none","alg":"HS256","kid":"%s","typ":"at+jwt"}' % KID.encode(),
    b"\xef\xbb\xbf" + json.dumps(GOOD_HEADER).encode(),
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: repr(header)[:60])
def test_a_header_that_is_not_ours_is_refused(header: Any) -> None:
    """Threats 2 and 4: alg, kid, typ and nothing else, each as we write it; even when the signature is right."""
    assert refused(signed(header, GOOD_CLAIMS))


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD_CLAIMS.items() if key != name}


CLAIMS: list[Any] = [
    *[without(name) for name in GOOD_CLAIMS],
    *[{**GOOD_CLAIMS, "exp": value} for value in (NOW, NOW - 1, None, "9" * 10, NOW + 9.5, True, -1, [9], {}, 10**400)],
    *[{**GOOD_CLAIMS, "iat": value} for value in (NOW + 1, NOW + 60, None, str(NOW), NOW + 0.5, False, -5)],
    *[{**GOOD_CLAIMS, "nbf": value} for value in (NOW + 1, None, str(NOW), 1e9, True)],
    *[{**GOOD_CLAIMS, "iss": value} for value in ("other", None, ["poto"], "", "POTO", 1)],
    *[{**GOOD_CLAIMS, "aud": value} for value in ("other", None, ["poto"], ["other", "poto"], "", 1)],
    *[{**GOOD_CLAIMS, "sub": value} for value in ("", None, 1, ["user_1"], {}, "x" * 257)],
    *[{**GOOD_CLAIMS, "jti": value} for value in ("", None, FAMILY, f"{FAMILY}.", f"{FAMILY}.a b c d e", 7, "x" * 500)],
    *[{**GOOD_CLAIMS, "ver": value} for value in ("0", None, -1, 0.0, True, 2**60)],
    [], None, "x", 5, b"", b"{", b"[" * 1500, b"\xff", b"9" * 1000,
    json.dumps(GOOD_CLAIMS).replace(str(NOW + 60), "Infinity").encode(),
    json.dumps(GOOD_CLAIMS).replace(str(NOW + 60), "1e999").encode(),
    json.dumps(GOOD_CLAIMS).replace(str(NOW + 60), "9" * 1200).encode(),
    json.dumps(GOOD_CLAIMS).replace('"poto"', '"\\ud800"').encode(),
    json.dumps({**GOOD_CLAIMS, "sub": "admin"}).replace('"admin"', '"user_1", "sub": "admin"').encode(),
]  # fmt: skip


@pytest.mark.parametrize("claims", CLAIMS, ids=lambda claims: repr(claims)[:60])
def test_claims_that_do_not_hold_are_refused(claims: Any) -> None:
    """Threats 3 and 5: each claim is there, of its type, and holds now; even when the signature is right."""
    assert refused(signed(GOOD_HEADER, claims))


def test_a_token_is_refused_from_the_very_second_it_expires() -> None:
    """Threat 3: `exp` equal to now has expired; there is no leeway."""
    clock = Clock(NOW + 59.999)
    tokens = AccessTokens(SECRETS, AuthSettings(), clock=clock)
    token = signed(GOOD_HEADER, GOOD_CLAIMS)
    assert tokens.verify(token)
    clock.now = NOW + 60.0
    with pytest.raises(Unauthenticated):
        tokens.verify(token)


def test_signatures_are_exact() -> None:
    """Threat 4: any other last character, junk, padding, a cut or another's signature is refused."""
    good = signed(GOOD_HEADER, GOOD_CLAIMS)
    head, claims, signature = good.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [signature[:-1] + other for other in alphabet if other != signature[-1]]
    spoiled = [
        *others,
        signature[:-1],
        signature + "A",
        signature + "=",
        signature + "\n",
        "",
        signature + ".",
        "*" * 43,
    ]
    assert all(refused(f"{head}.{claims}.{other}") for other in spoiled)
    assert all(refused(f"{head}=.{claims}.{signature}") for _ in "x")
    assert refused(f" {good}")
    assert refused(f"{good}\n")
    assert refused(signed(GOOD_HEADER, GOOD_CLAIMS, secret=b"another secret that is long enough!!"))
    assert refused(signed({**GOOD_HEADER, "alg": "HS512"}, GOOD_CLAIMS, digest="sha512"))
    assert refused(f"{b64(b'{}')}.{claims}.{signature}")


def test_every_single_changed_character_is_refused() -> None:
    """Threat 4: a token is ours to the last bit."""
    good = signed(GOOD_HEADER, GOOD_CLAIMS)
    for index, character in enumerate(good):
        other = "B" if character == "A" else "A"
        assert refused(good[:index] + other + good[index + 1 :]), index


def test_an_unsigned_token_is_refused() -> None:
    """Threat 2: alg none with an empty signature, as in every textbook."""
    header, claims = b64(json.dumps({**GOOD_HEADER, "alg": "none"}).encode()), b64(json.dumps(GOOD_CLAIMS).encode())
    assert refused(f"{header}.{claims}.")
    assert refused(f"{header}.{claims}")


def test_length_is_looked_at_first() -> None:
    """Threat 6: a long token is refused before anything of it is decoded."""
    long = signed(GOOD_HEADER, {**GOOD_CLAIMS, "x": "y" * 4_000})
    assert len(long) > 4_096
    assert refused(long)
    assert refused("A" * 10_000_000)


@pytest.mark.parametrize(
    "token", [None, 1, b"a.b.c", "", ".", "..", "a.b", "a.b.c.d", "\ud800.\udfff.x", "ä.ö.ü", "a\0.b.c"]
)
def test_shapes_that_are_no_token(token: Any) -> None:
    """Threat 6: whatever is given, it is refused in the same way."""
    assert refused(token)


def test_secrets_rotate_by_key_id() -> None:
    """Threat 30: a previous key verifies and no longer signs; a removed one is unknown."""
    old, new = "old " + SECRET, "new " + SECRET
    token, _ = AccessTokens(Secrets({"2025": old}), AuthSettings(issuer="i", audience="a"), clock=CLOCK).issue(
        "u", family=FAMILY, epoch=0, ttl=60
    )
    both = AccessTokens(Secrets({"2026": new, "2025": old}), AuthSettings(issuer="i", audience="a"), clock=CLOCK)
    assert both.verify(token).user_id == "u"
    fresh, _ = both.issue("u", family=FAMILY, epoch=0, ttl=60)
    assert jwt.get_unverified_header(fresh)["kid"] == "2026"
    only_new = AccessTokens(Secrets({"2026": new}), AuthSettings(issuer="i", audience="a"), clock=CLOCK)
    with pytest.raises(Unauthenticated):
        only_new.verify(token)
    # The same name for another secret does not help either.
    renamed = AccessTokens(Secrets({"2025": new}), AuthSettings(issuer="i", audience="a"), clock=CLOCK)
    with pytest.raises(Unauthenticated):
        renamed.verify(token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.text() | st.from_regex(r"[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*"))
def test_any_text_is_refused(token: str) -> None:
    """No text of any kind makes anything but a refusal."""
    assert refused(token)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=200), st.binary(min_size=32, max_size=32))
def test_any_three_parts_are_refused(header: bytes, claims: bytes, signature: bytes) -> None:
    """No bytes behind the base64 make anything but a refusal."""
    assert refused(f"{b64(header)}.{b64(claims)}.{b64(signature)}")


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "x"]), JSON, max_size=4),
    st.dictionaries(st.sampled_from([*GOOD_CLAIMS, "nbf"]), JSON, max_size=4),
)
def test_signed_by_us_or_not_it_is_a_user_or_a_refusal(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """Even under our own signature, odd members give verified claims or a refusal, and claims are well-formed."""
    token = signed({**GOOD_HEADER, **header}, {**GOOD_CLAIMS, **claims})
    try:
        found = TOKENS.verify(token)
    except Unauthenticated:
        return
    assert header.keys() <= {"alg", "kid", "typ"}
    assert found.user_id
    assert found.expires_at > CLOCK.now >= found.issued_at
    assert found.epoch >= 0


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=6))
def test_a_good_token_with_bytes_written_over_it(position: int, junk: bytes) -> None:
    """Bytes written over a good token anywhere make a refusal, unless they are the same."""
    good = signed(GOOD_HEADER, GOOD_CLAIMS)
    at = position % len(good)
    text = junk.decode("latin-1")
    spoiled = good[:at] + text + good[at + len(text) :]
    assert spoiled == good or refused(spoiled)


def test_python_jose_alone_would_take_what_the_door_refuses() -> None:
    """The reason for the parser: if this fails, python-jose has become strict and it may do less."""
    spoiled = signed({**GOOD_HEADER, "crit": ["unknown"], "typ": "else"}, without("exp"))
    assert jwt.decode(spoiled, SECRET, algorithms=["HS256"], audience="poto", issuer="poto")["sub"] == "user_1"
    assert refused(spoiled)
