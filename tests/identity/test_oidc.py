"""Callers whom an issuer knows: their claims, their rights, and what is decided about them here."""

import asyncio
import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey

from fastapi_poto import OIDC, ApiKeys, ConfigurationError, OwnSignIn, Poto
from fastapi_poto.auth import StoreUsers
from fastapi_poto.auth.oidc.claims import read_roles
from fastapi_poto.auth.oidc.token import parse
from fastapi_poto.errors import NotFound, Unauthenticated
from fastapi_poto.users import Account, User
from tests.identity.conftest import World, make_world
from tests.identity.issuer import Issuer
from tests.secret import SECRET

pytestmark = pytest.mark.anyio

BAD = 'Bearer realm="poto", error="invalid_token"'


async def test_an_issuers_user_calls(issuer: Issuer, world: World) -> None:
    """The id has the issuer's name before it; roles come from the path, scopes and name from the claims."""
    token = issuer.token(realm_access={"roles": ["staff"]}, scope="read write", preferred_username="Ann")
    assert (await world.call(token)).json() == {
        "id": "corp:ann",
        "roles": ["staff"],
        "name": "Ann",
        "scopes": ["read", "write"],
        "kind": "corp",
        "tenant": None,
    }
    assert (await world.call(token, "/Desk/solved")).json() == "corp:ann"
    assert (await world.http.get("/plain", headers={"Authorization": f"Bearer {token}"})).json() == "corp:ann"
    assert [(await world.call(token, "/Desk/count")).json() for _ in range(2)] == [1, 2]
    assert await world.status(issuer.token(), "/Desk/count") == 403


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSAKey.generate_key(2048), "RS256"),
        (RSAKey.generate_key(2048), "PS256"),
        (ECKey.generate_key("P-256"), "ES256"),
        (OKPKey.generate_key("Ed25519"), "EdDSA"),
        (OKPKey.generate_key("Ed25519"), "Ed25519"),
    ],
)
async def test_algorithms(issuer: Issuer, key: Any, algorithm: str) -> None:
    """Each algorithm is good by default, and refused by a configuration that leaves it out."""
    issuer.keys = {"k": key}
    token = issuer.token(header={"alg": algorithm})
    assert await make_world(issuer).status(token) == 200
    others = {"RS256", "PS256", "ES256", "EdDSA"} - {"EdDSA" if algorithm == "Ed25519" else algorithm}
    assert await make_world(issuer, algorithms=sorted(others)).status(token) == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": ...},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": 1},
        {"exp": 10**400},
        {"exp": 1e308, "iat": -(10**400)},
        {"exp": []},
        {"iat": ...},
        {"iat": 99_999_999_999},
        {"nbf": 99_999_999_999},
        {"nbf": "soon"},
        {"aud": ...},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": {"shop": 1}, "exp": 1},
        {"sub": ...},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sub": "x" * 600},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"iss": "https://elsewhere.example"},
    ],
    ids=lambda changes: str(changes)[:40],
)
async def test_claims_that_do_not_hold(issuer: Issuer, world: World, changes: dict[str, Any]) -> None:
    """Every one of them is the same 401 as any other bad token."""
    answer = await world.call(issuer.token(**changes))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, BAD)


async def test_ten_seconds_of_leeway(issuer: Issuer, world: World) -> None:
    """Clocks differ: a token is good 10 s before `nbf` and `iat`, and 10 s after `exp`; remembered or not."""
    now = int(world.clock())
    soon = issuer.token(iat=now + 9, nbf=now + 9, exp=now + 30)
    assert await world.status(soon) == 200
    world.clock.advance(38)
    assert await world.status(soon) == 200
    assert await make_world(issuer).status(issuer.token(iat=now, exp=now - 8)) == 200
    world.clock.advance(3)
    assert await world.status(soon) == 401


async def test_parties_and_required_claims(issuer: Issuer) -> None:
    """`azp` and further claims are checked if the configuration says so."""
    world = make_world(issuer, authorized_parties=["web"], required={"tid": "t1"})
    assert await world.status(issuer.token(azp="web", tid="t1")) == 200
    for claims in ({"azp": "web"}, {"azp": "app", "tid": "t1"}, {"tid": "t1"}, {"azp": "web", "tid": "t2"}):
        assert await world.status(issuer.token(**claims)) == 401


SHAPES = {
    "Keycloak": (
        {"roles": ["realm_access.roles", "resource_access.shop.roles"]},
        {
            "typ": "Bearer",
            "azp": "web",
            "aud": ["shop", "account"],
            "realm_access": {"roles": ["staff"]},
            "resource_access": {"shop": {"roles": ["buyer"]}, "account": {"roles": ["manage-account"]}},
            "scope": "openid profile",
            "preferred_username": "ann",
        },
        ("corp:ann", ["buyer", "staff"]),
    ),
    "Auth0": (
        {"roles": "permissions"},
        {"sub": "auth0|5f7c", "azp": "x", "aud": ["shop", "https://t/userinfo"], "permissions": ["staff"]},
        ("corp:auth0|5f7c", ["staff"]),
    ),
    "Auth0 with a namespaced claim": (
        {"roles": "https://shop.example/roles"},
        {"https://shop.example/roles": ["staff"]},
        ("corp:ann", ["staff"]),
    ),
    "Entra v1": (
        {"roles": "roles", "scopes_as_roles": True, "subject": "oid"},
        {"oid": "0000-1", "sub": "pairwise", "appid": "c", "ver": "1.0", "scp": "Orders.Read", "roles": ["staff"]},
        ("corp:0000-1", ["Orders.Read", "staff"]),
    ),
    "Entra v2": (
        {"roles": "roles", "subject": "oid", "required": {"tid": "t1"}},
        {"oid": "0000-1", "tid": "t1", "azp": "c", "ver": "2.0", "scp": "Orders.Read", "roles": ["staff"], "aio": "x"},
        ("corp:0000-1", ["staff"]),
    ),
    "Cognito": (
        {"roles": "cognito:groups", "audience_claim": "client_id", "required": {"token_use": "access"}},
        {"aud": ..., "client_id": "shop", "token_use": "access", "cognito:groups": ["staff"], "username": "ann"},
        ("corp:ann", ["staff"]),
    ),
    "Clerk": (
        {"audience": None, "authorized_parties": ["https://shop.example"], "roles": "o.rol"},
        {"aud": ..., "azp": "https://shop.example", "o": {"id": "org_1", "rol": "staff"}, "sub": "user_2"},
        ("corp:user_2", ["staff"]),
    ),
    "Supabase": (
        {"audience": "authenticated", "roles": ["role", "app_metadata.roles"]},
        {"aud": "authenticated", "role": "authenticated", "app_metadata": {"provider": "email", "roles": ["staff"]}},
        ("corp:ann", ["authenticated", "staff"]),
    ),
    "Google": (
        {"audience": "1.apps.googleusercontent.com", "required": {"email_verified": True, "hd": "shop.example"}},
        {"aud": "1.apps.googleusercontent.com", "azp": "1.apps.googleusercontent.com", "email": "ann@shop.example",
         "email_verified": True, "hd": "shop.example", "sub": "1184"},
        ("corp:1184", []),
    ),
    "better-auth": (
        {"roles": lambda claims: claims["role"].split(",")},
        {"role": "staff,user", "email": "ann@shop.example", "id": "ann"},
        ("corp:ann", ["staff", "user"]),
    ),
    "Zitadel": (
        {"roles": "urn:zitadel:iam:org:project:roles"},
        {"urn:zitadel:iam:org:project:roles": {"staff": {"1": "org"}}},
        ("corp:ann", ["staff"]),
    ),
}  # fmt: skip
HEADERS = {"Clerk": {"cat": "cl_B7d4PD111AAA"}, "Entra v1": {"x5t": "abc"}, "Keycloak": {"typ": "JWT"}}


@pytest.mark.parametrize("provider", SHAPES)
async def test_providers(issuer: Issuer, provider: str) -> None:
    """Tokens shaped like those of well-known issuers are read by the line that the documentation has for each."""
    options, claims, (user_id, roles) = SHAPES[provider]
    world = make_world(issuer, **options)
    answer = await world.call(issuer.token(header=HEADERS.get(provider), **claims))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["id"], answer.json()["roles"]) == (user_id, roles)
    decisive = {"Cognito": "client_id", "Clerk": "azp"}.get(provider, "aud")
    assert await world.status(issuer.token(**claims | {decisive: "another"})) == 401


async def test_keys_without_discovery(issuer: Issuer) -> None:
    """`jwks` names the keys of an issuer without a discovery document: a better-auth, say."""
    world = make_world(issuer, jwks=f"{issuer.url}/jwks")
    assert await world.status(issuer.token()) == 200
    assert set(issuer.fetched) == {"/jwks"}


@pytest.mark.parametrize(
    ("source", "roles"),
    [
        (None, set()),
        ("a.b", {"x"}),
        ("a.b.c", set()),
        ("one", {"y z"}),
        ("number", set()),
        ("mixed", {"s"}),
        ("nothing.there", set()),
        (["a.b", "one"], {"x", "y z"}),
        (lambda claims: {str(claims["number"])}, {"7"}),
    ],
)
def test_role_sources(source: Any, roles: set[str]) -> None:
    """A path that leads nowhere, and values that are no strings, are no roles."""
    claims = {"a": {"b": ["x"]}, "one": "y z", "number": 7, "mixed": [1, None, "s", ["t"]]}
    assert read_roles(claims, source) == roles


async def test_two_issuers_never_mix(issuer: Issuer) -> None:
    """The same `sub` of two issuers, and of our own users, are different people; neither signs for the other."""
    from tests.identity.issuer import serve_issuer

    with serve_issuer() as second:
        second.keys = {"one": RSAKey.generate_key(2048)}
        other = OIDC(second.url, audience="shop", name="partner")
        world = make_world(issuer, more=[other])
        assert (await world.call(issuer.token())).json()["id"] == "corp:ann"
        assert (await world.call(second.token())).json()["id"] == "partner:ann"
        # One's key id and name with the other's key, and the other way round.
        assert await world.status(second.token(iss=issuer.url)) == 401
        assert await world.status(issuer.token(iss=second.url)) == 401
        visitor = (await world.http.post("/auth/visitor")).json()
        assert (await world.call(visitor["access_token"])).json()["id"] == visitor["user_id"]


async def test_what_is_decided_here_holds_at_the_next_call(issuer: Issuer, world: World) -> None:
    """Blocked, let in, given and denied a role, signed out everywhere: whatever the token says."""
    now = int(world.clock())
    token = issuer.token(realm_access={"roles": ["staff"]}, iat=now - 5)
    users, known = world.poto.users, world.poto.external_users
    assert await world.status(token) == 200
    await users.set_disabled("corp:ann")  # type: ignore[attr-defined]
    assert await world.status(token) == 401
    await users.set_disabled("corp:ann", False)  # type: ignore[attr-defined]
    await known.take_roles("corp:ann", "staff")
    await known.add_roles("corp:ann", "night")
    assert (await world.call(token)).json()["roles"] == ["night"]
    assert await world.status(token, "/Desk/count") == 403
    await known.reset_roles("corp:ann", "staff", "night")
    assert (await world.call(token)).json()["roles"] == ["staff"]
    assert (await world.call(token, "/Desk/count")).json() == 1
    await world.poto.accounts.end_sign_ins("corp:ann")
    assert await world.status(token) == 401
    world.clock.advance(2)
    later = issuer.token(realm_access={"roles": ["staff"]}, iat=now + 1)
    assert (await world.call(later, "/Desk/count")).json() == 1  # a new session
    await known.forget("corp:ann")
    assert await world.status(token) == 200


async def test_own_users_whose_id_has_a_colon(issuer: Issuer, world: World) -> None:
    """Blocking one of an application's own users blocks that one, whatever its id looks like."""
    users: Any = world.poto.users
    for provider in (users, StoreUsers(world.poto.store)):
        await provider.add(Account(User("ldap:ann", name=f"ann {id(provider)}"), None))
        await provider.set_disabled("ldap:ann")
        assert await provider.get("ldap:ann") is None
    assert (await world.poto.store.names("external:")).names == []
    with pytest.raises(NotFound):
        await StoreUsers(world.poto.store).set_disabled("corp:nobody")


async def identity_of(world: World, token: str) -> Any:
    scope = {"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]}
    return await world.poto.authenticator.authenticate(scope)


async def test_a_stream_ends_with_its_token(issuer: Issuer, world: World) -> None:
    """What an open stream asks: no longer after the expiry, a block, a lost role, or `end_all`."""
    is_active = world.poto.authenticator.is_active
    known = world.poto.external_users
    identity = await identity_of(world, issuer.token(realm_access={"roles": ["staff"]}))
    assert await is_active(identity)
    await known.set_disabled("corp:ann")
    assert not await is_active(identity)
    await known.set_disabled("corp:ann", False)
    await known.take_roles("corp:ann", "staff")
    assert not await is_active(identity)
    await known.reset_roles("corp:ann", "staff")
    assert await is_active(identity)
    world.clock.advance(311)
    assert not await is_active(identity)


async def test_a_stream_may_go_on_for_a_session(issuer: Issuer) -> None:
    """With `stream_until="session"` it outlives its token, for as long as a sign-in could last, and not a block."""
    world = make_world(issuer, stream_until="session")
    identity = await identity_of(world, issuer.token())
    world.clock.advance(days=29)
    assert await world.poto.authenticator.is_active(identity)
    await world.poto.accounts.end_sign_ins("corp:ann")
    assert not await world.poto.authenticator.is_active(identity)
    await world.poto.external_users.forget("corp:ann")
    world.clock.advance(days=2)
    assert not await world.poto.authenticator.is_active(identity)


async def test_a_role_that_was_added_here_can_be_withdrawn(issuer: Issuer, world: World) -> None:
    """A stream that a local role opened ends when the role is withdrawn."""
    await world.poto.external_users.add_roles("corp:ann", "night")
    identity = await identity_of(world, issuer.token())
    assert "night" in identity.user.roles
    await world.poto.external_users.reset_roles("corp:ann", "night")
    assert not await world.poto.authenticator.is_active(identity)


async def test_the_document_says_where_to_sign_in(issuer: Issuer) -> None:
    """OpenID Connect's discovery, and the authorization code flow once the issuer has told its addresses."""
    world = make_world(issuer)
    await world.poto.open()
    document = (await world.http.get("/openapi.json")).json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["corp"] == {
        "type": "openIdConnect",
        "openIdConnectUrl": f"{issuer.url}/.well-known/openid-configuration",
    }
    assert schemes["corp-code"]["flows"]["authorizationCode"] == {
        "authorizationUrl": f"{issuer.url}/auth",
        "tokenUrl": f"{issuer.url}/token",
        "scopes": {"openid": "Who signs in"},
    }
    ways = [{"PotoBearer": []}, {"PotoPassword": []}, {"corp": []}, {"corp-code": []}]
    for path, verb in (("/Desk/who", "post"), ("/plain", "get")):
        assert document["paths"][path][verb]["security"] == ways


async def test_agents_find_the_issuers(issuer: Issuer, world: World) -> None:
    """RFC 9728: the metadata of the protected resource names them."""
    answer = await world.http.get("/auth/.well-known/oauth-protected-resource")
    assert answer.status_code == 404
    answer = await world.http.get("/.well-known/oauth-protected-resource")
    assert answer.json() == {
        "resource": "http://desk",
        "authorization_servers": [issuer.url],
        "bearer_methods_supported": ["header"],
    }


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
