"""What is decided here about callers whom an issuer knows, and how the document shows them."""

from typing import Any

import pytest
from joserfc.jwk import RSAKey

from fastapi_poto import OIDC
from fastapi_poto.auth import StoreUsers
from fastapi_poto.errors import NotFound
from fastapi_poto.users import Account, User
from tests.identity.conftest import World, identity_of, make_world
from tests.identity.issuer import Issuer

pytestmark = pytest.mark.anyio


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
