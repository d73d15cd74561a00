"""Callers with an API key."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyHeader
from fastapi.security.base import SecurityBase

from ..context import headers_of
from ..errors import BadRequest, Unauthenticated
from ..users import Identity, User
from .credentials import ManagedCredentials, Remembered, Services, bearer_token
from .keys import PREFIX, KeyRecord, parse_key

_PREFIX = PREFIX.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyIdentity(Identity):
    """A caller with a key of `owner`, whose roles may be more than the key's."""

    record: KeyRecord = field(repr=False, compare=False)
    secret_hash: str = field(repr=False)
    owner: User


class ApiKeys(ManagedCredentials):
    """API keys, in `X-API-Key` or as a bearer; `Poto.keys` makes them. `routes` adds `/auth/keys` for their owners.

    The key and its owner are read on every call: a key never has a role that its owner does not have now, and a
    revoked one is refused at the next call.
    """

    name = "key"
    security: Sequence[SecurityBase] = (
        APIKeyHeader(name="X-API-Key", scheme_name="PotoKey", description="An API key.", auto_error=False),
    )

    def __init__(self, *, routes: bool = False) -> None:
        self.routes = routes

    def attach(self, services: Services) -> None:
        super().attach(services)
        self._keys, self._users, self._clock = services.keys, services.users, services.clock
        self._throttle, self._audit, self._address = services.throttle, services.audit, services.address
        self._keys.accepted, self._keys.has_routes = True, self.routes
        self._known: Remembered[KeyIdentity] = Remembered(services.settings.auth.remembered_tokens, 128)

    async def authenticate(self, connection: HTTPConnection) -> Identity | None:
        """Raises `TooManyRequests` for a wrong key from an address that sent too many of them."""
        sent = _sent(connection)
        if sent is None:
            return None
        key_id, secret_hash = parse_key(sent) or ("", "")
        record = await self._keys.read(key_id) if key_id else None
        if record is None or not record.accepts(secret_hash, self._clock()):
            await self._count_wrong(connection, key_id)
            raise Unauthenticated
        owner = await self._users.get(record.key.user_id)
        if owner is None:
            raise Unauthenticated
        await self._keys.note_use(record)
        known = self._known.get(sent)
        if known is not None and known.record is record and known.owner == owner:
            return known
        key = record.key
        identity = KeyIdentity(
            owner if key.roles is None else replace(owner, roles=owner.roles & key.roles),
            self.name,
            inf if key.expires_at is None else key.expires_at,
            claims={"key_id": key.id, "key_name": key.name},
            record=record,
            secret_hash=secret_hash,
            owner=owner,
        )
        self._known.keep(sent, identity)
        return identity

    async def is_active(self, identity: Identity) -> bool:
        """Whether the key has not been revoked, rotated or expired, and its owner has at least the roles of then."""
        assert isinstance(identity, KeyIdentity)  # noqa: S101 - given here
        record = await self._keys.read(identity.record.key.id)
        if record is None or not record.accepts(identity.secret_hash, self._clock()):
            return False
        owner = await self._users.get(record.key.user_id)
        return owner is not None and identity.user.roles <= owner.roles

    async def _count_wrong(self, connection: HTTPConnection, key_id: str) -> None:
        address = self._address(connection.scope)
        with self._audit.throttling(address, "key"):
            await self._throttle.wrong_key(address)
        self._audit("key_refused", key_id=key_id or None, address=address)


def _sent(connection: HTTPConnection) -> bytes | None:
    token = bearer_token(connection)
    if token is not None:
        return token if token.startswith(_PREFIX) else None
    found = headers_of(connection.scope).get(b"x-api-key")
    if found is None or not found.startswith(_PREFIX):
        return None
    if sum(name == b"x-api-key" for name, _ in connection.scope["headers"]) > 1:
        raise BadRequest("More than one X-API-Key header")
    return found
