"""`/auth/keys`: the keys of who is signed in."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, Field

from ..context import SCOPE_KEY
from ..errors import BadRequest, Conflict, Forbidden, NotFound, PotoError, TooLarge, Unauthenticated, Unavailable
from ..users import User
from .api_keys import KeyIdentity
from .keys import ApiKey, Keys
from .routes import Runtime, add_route, identity_of


class KeyRequest(BaseModel):
    """A key that is wanted."""

    name: str = Field(json_schema_extra={"minLength": 1, "maxLength": 100})
    roles: list[str] | None = Field(default=None, description="Some of the caller's roles; all of them if left out.")
    expires_in: float | None = Field(default=None, description="Seconds; never if left out.")


class KeyShown(BaseModel):
    """A key without its secret. Times are in seconds since 1970."""

    id: str
    name: str
    roles: list[str] | None = Field(description="Null: all that its owner has.")
    created_at: int
    expires_at: int | None
    last_used_at: int | None

    @classmethod
    def of(cls, key: ApiKey) -> "KeyShown":
        shown: dict[str, Any] = asdict(key) | {"roles": None if key.roles is None else sorted(key.roles)}
        return cls(**shown)


class KeyMade(BaseModel):
    """A key, shown this once."""

    key: str = Field(repr=False)


def add_key_routes(router: APIRouter, poto: Runtime, keys: Keys) -> None:
    """Add the routes to the router of the sign-in routes. A key cannot make keys: it could outlive itself by one."""

    def owner(request: Request) -> User:
        identity = identity_of(request)
        if isinstance(identity, KeyIdentity):
            raise Forbidden("Sign in to manage keys")
        request.scope[SCOPE_KEY].response_headers.append((b"cache-control", b"no-store"))
        return identity.user

    async def list_keys(request: Request) -> list[KeyShown]:
        """The caller's API keys"""
        return [KeyShown.of(key) for key in await keys.list(owner(request).id)]

    async def create_key(request: Request, body: KeyRequest) -> KeyMade:
        """A new API key, shown this once"""
        user = owner(request)
        made = await keys.create(user.id, name=body.name, roles=body.roles, expires_in=body.expires_in)
        return KeyMade(key=made)

    async def rotate_key(
        request: Request, key_id: str, overlap: Annotated[float, Body(embed=True, ge=0, le=86_400)] = 0
    ) -> KeyMade:
        """Give a key a new secret, shown this once

        The old one is good for `overlap` seconds more.
        """
        return KeyMade(key=await keys.rotate(key_id, overlap=overlap, user_id=owner(request).id))

    async def revoke_key(request: Request, key_id: str) -> None:
        """Revoke an API key"""
        await keys.revoke(key_id, user_id=owner(request).id)

    def add(endpoint: Any, verb: str, path: str, *errors: type[PotoError], **arguments: Any) -> None:
        errors = (Unauthenticated, Forbidden, Unavailable, *errors)
        name = endpoint.__name__
        add_route(router, poto, endpoint, path, name=name, verb=verb, errors=errors, guarded=True, **arguments)

    add(list_keys, "GET", "keys")
    add(create_key, "POST", "keys", BadRequest, NotFound, Conflict, TooLarge)
    add(rotate_key, "POST", "keys/{key_id}/rotate", NotFound, Conflict, TooLarge)
    add(revoke_key, "DELETE", "keys/{key_id}", NotFound, status_code=204)
