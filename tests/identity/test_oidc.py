"""Callers whom an issuer knows: their claims, and their rights."""

from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from fastapi_poto.auth.oidc.claims import read_roles
from tests.identity.conftest import World, make_world
from tests.identity.issuer import Issuer

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
