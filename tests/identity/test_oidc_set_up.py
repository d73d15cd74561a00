"""What is checked when an issuer is set up, and that nothing that is sent makes anything but a caller or a refusal."""

import asyncio
import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_poto import OIDC, ApiKeys, ConfigurationError, OwnSignIn, Poto
from fastapi_poto.auth.oidc.token import parse
from fastapi_poto.errors import Unauthenticated
from tests.identity.conftest import World, identity_of, make_world
from tests.identity.issuer import Issuer
from tests.secret import SECRET

pytestmark = pytest.mark.anyio


MISTAKES = [
    ({"url": "http://login.example"}, "https:// URL"),
    ({"url": "ftp://login.example"}, "https:// URL"),
    ({"url": "https://"}, "https:// URL"),
    ({"url": "https://user:pass@login.example"}, "https:// URL"),
    ({"jwks": "http://10.0.0.1/keys"}, "jwks is to be"),
    ({"discovery": "http://example.org"}, "discovery is to be"),
    ({"name": "Corp"}, "lower case"),
    ({"name": "key"}, "not token, not key"),
    ({"algorithms": ["HS256"]}, "any of ES256, EdDSA, PS256, RS256"),
    ({"algorithms": []}, "any of"),
    ({"audience": ""}, "name this application"),
    ({"stream_until": "forever"}, "token"),
]


@pytest.mark.parametrize(("options", "says"), MISTAKES, ids=str)
def test_mistakes_are_seen_at_start_up(options: dict[str, Any], says: str) -> None:
    """Each is a ConfigurationError that says what to write."""
    issuer = Issuer()
    issuer.url = "https://login.example"
    with pytest.raises(ConfigurationError, match=says):
        make_world(issuer, **options)


def test_two_that_claim_the_same_callers() -> None:
    """Two entries for one issuer, or with one name, and two own sign-ins, are an error at start-up."""

    def one() -> OIDC:
        return OIDC("https://a.example", audience="shop", name="corp")

    for other in (
        OIDC("https://a.example", audience="shop", name="other"),
        OIDC("https://b.example", audience="shop", name="corp"),
    ):
        with pytest.raises(ConfigurationError, match="two entries have the"):
            Poto(SECRET, credentials=[one(), other])
    with pytest.raises(ConfigurationError, match="two entries have the"):
        Poto(SECRET, credentials=[OwnSignIn(), OwnSignIn()])
    with pytest.raises(ConfigurationError, match="two entries have the issuer"):
        Poto(SECRET, issuer="https://a.example", credentials=[OwnSignIn(), one()])


@pytest.mark.parametrize("make", [OwnSignIn, ApiKeys, lambda: OIDC("https://a.example", audience="shop")])
def test_each_runtime_has_its_own(make: Any) -> None:
    """What is decided about a user in one store must not be looked up in another: an object of two is refused."""
    shared = make()
    Poto(SECRET, credentials=[shared])
    with pytest.raises(ConfigurationError, match="another Poto's already"):
        Poto(SECRET, credentials=[shared])


async def test_one_verification_for_many_calls(issuer: Issuer, world: World) -> None:
    """100 calls at once with a token that nobody has seen: one fetch of the keys, and all are let in."""
    token = issuer.token()
    assert await asyncio.gather(*(world.status(token) for _ in range(100))) == [200] * 100
    assert issuer.fetched == {"/.well-known/openid-configuration": 1, "/jwks": 1}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, -(10**400)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


CLAIMS = st.sampled_from(["aud", "sub", "iat", "exp", "nbf", "azp", "typ", "tid", "scope", "scp", "roles", "name"])


MEMBERS = st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "x"])


def test_whatever_is_signed(issuer: Issuer) -> None:
    """No claims and no header make anything but a user or a 401, with every check switched on and off."""
    strict = {"authorized_parties": ["web"], "required": {"tid": "t1"}, "scopes_as_roles": True}
    worlds = [make_world(issuer, roles=["roles", "scope.a"], **options) for options in ({}, strict)]

    @settings(max_examples=200, deadline=None)
    @given(claims=st.dictionaries(CLAIMS, JSON, max_size=3), header=st.dictionaries(MEMBERS, JSON, max_size=1))
    def check(claims: dict[str, Any], header: dict[str, Any]) -> None:
        signed = issuer.token(**{"azp": "web", "tid": "t1", **claims})
        _, payload, signature = signed.split(".")
        head = json.dumps({"alg": "RS256", "kid": "one", **header}).encode()
        other = f"{base64.urlsafe_b64encode(head).rstrip(b'=').decode()}.{payload}.{signature}"
        for world in worlds:
            for token in (signed, other):
                with suppress(Unauthenticated):
                    assert runner.run(identity_of(world, token)).user.id.startswith("corp:")

    with asyncio.Runner() as runner:
        check()


def test_deep_headers() -> None:
    """Members that are nested deeper than Python likes are no token."""
    for depth in (300, 900, 990, 3_000):
        head = base64.urlsafe_b64encode(b'{"alg":' + b"[" * depth + b"]" * depth + b"}").rstrip(b"=")
        parsed = parse(head + b".e30.AA")
        assert parsed is None or parsed.algorithm is None


@given(st.binary(max_size=200))
def test_whatever_is_sent(sent: bytes) -> None:
    """No bytes make anything but a token or None."""
    assert parse(sent) is None or sent.count(b".") == 2
