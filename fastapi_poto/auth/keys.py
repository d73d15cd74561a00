"""API keys: made, listed, revoked and rotated."""

import hashlib
import hmac
import json
import re
import secrets as random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..errors import BadRequest, ConfigurationError, Conflict, NotFound, TooLarge
from ..stores import records
from ..stores.base import Store
from ..users import UserProvider
from .events import Audit
from .external_users import is_external

PREFIX = "poto_"
MAX_KEYS = 100
"""Of one user."""

_SHAPE = re.compile(rb"poto_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_USED_EVERY = 60
_BEING_MADE = 60
"""Seconds after which a key that is in the index and nowhere else has expired."""
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key, without its secret. Times are in seconds since 1970."""

    id: str
    user_id: str
    name: str
    roles: frozenset[str] | None
    """None: all that its owner has, whenever it is used."""
    created_at: int
    expires_at: int | None
    last_used_at: int | None = None


class KeyRecord:
    """A key as it is in the store: `key:<id>` has the fields `key` (JSON), `hash`, `old` (a hash and until when)
    and `used`."""

    __slots__ = ("fields", "key")

    def __init__(self, key_id: str, fields: dict[str, bytes]) -> None:
        self.fields = fields
        said = json.loads(fields["key"])
        roles = said["roles"]
        self.key = ApiKey(
            key_id,
            said["user"],
            said["name"],
            None if roles is None else frozenset(roles),
            said["created"],
            said["expires"],
            int(fields["used"]) if "used" in fields else None,
        )

    def accepts(self, secret_hash: str, now: float) -> bool:
        """Whether a secret with this hash opens it now."""
        if self.key.expires_at is not None and now >= self.key.expires_at:
            return False
        old, _, until = self.fields.get("old", b"").decode().partition(" ")
        is_old = hmac.compare_digest(old, secret_hash) and now < float(until or 0)
        return hmac.compare_digest(self.fields["hash"].decode(), secret_hash) or is_old


class Keys:
    """The API keys of the users of a `Poto`. A key is shown once, when it is made or rotated: `poto_<id>_<secret>`.

    `keys:<user id>` has a field for each of a user's keys: when it was made.
    """

    def __init__(self, store: Store, users: UserProvider, *, audit: Audit, clock: Callable[[], float]) -> None:
        self._store = store
        self._users = users
        self._audit = audit
        self._clock = clock
        self.accepted = False
        """Whether `ApiKeys` is among the credentials."""
        self.has_routes = False
        """Whether it has routes for their owners."""
        # What the bytes of a record mean, so that the same bytes are parsed once. The bytes are read every time.
        self._parsed: dict[str, KeyRecord] = {}

    async def create(
        self,
        user_id: str,
        *,
        name: str,
        roles: Iterable[str] | None = None,
        expires_in: float | None = None,
    ) -> str:
        """A new key, shown this once. `roles`: some of its owner's; None: all that the owner has at the time.

        Raises `NotFound` if there is no such user, `BadRequest` for a role that the owner does not have, a name
        that will not do, or a life that is none, `Conflict` past 100 keys of one user.
        """
        if not self.accepted:
            raise ConfigurationError(
                "Nobody would accept an API key: write Poto(credentials=[OwnSignIn(), ApiKeys()]), "
                "and give a command that application with --app."
            )
        owner = await self._users.get(user_id)
        if owner is None:
            raise NotFound("Only users of this application have keys" if is_external(user_id) else "No such user")
        wanted = None if roles is None else sorted(set(roles))
        if not owner.roles.issuperset(wanted or ()):
            raise BadRequest("A key can only have roles of its owner")
        if not (1 <= len(name) <= 100 and name.isprintable()):
            raise BadRequest("A key's name has 1 to 100 printable characters")
        if expires_in is not None and not 1 <= expires_in <= 2**31:
            raise BadRequest("A key's life is in seconds, and at least one")
        now = int(self._clock())
        expires = None if expires_in is None else now + int(expires_in)
        key_id, secret = random.token_hex(8), random.token_urlsafe(32)
        said = {"user": user_id, "name": name, "roles": wanted, "created": now, "expires": expires}
        fields: dict[str, bytes | None] = {"key": json.dumps(said).encode(), "hash": _hash(secret.encode()).encode()}
        await self._add_to_index(user_id, key_id, now)
        await self._store.write(records.key(key_id), fields, create=True, expires_in=expires_in)
        self._audit("key_created", user_id=user_id, key_id=key_id)
        return f"{PREFIX}{key_id}_{secret}"

    async def list(self, user_id: str) -> Sequence[ApiKey]:
        """A user's keys that have not expired, the oldest first."""
        index = records.keys(user_id)
        found = []
        for key_id, created in (await self._store.read(index) or {}).items():
            record = await self.read(key_id)
            if record is not None:
                found.append(record.key)
            elif self._clock() - int(created) > _BEING_MADE:
                await self._store.write(index, {key_id: None})  # expired
        return sorted(found, key=lambda key: (key.created_at, key.id))

    async def revoke(self, key_id: str, *, user_id: str | None = None) -> None:
        """Refuse the key from the next call on, and end its streams. `user_id`: only if it is theirs.

        Raises `NotFound`.
        """
        key = (await self._of(key_id, user_id)).key
        await self._store.delete(records.key(key_id))
        await self._store.write(records.keys(key.user_id), {key_id: None})
        self._audit("key_revoked", user_id=key.user_id, key_id=key_id)

    async def rotate(self, key_id: str, *, overlap: float = 0, user_id: str | None = None) -> str:
        """The key with a new secret, shown this once; the old one is good for `overlap` seconds more.

        Raises `NotFound`, and `Conflict` if it is being rotated by somebody else.
        """
        record = await self._of(key_id, user_id)
        secret, old = random.token_urlsafe(32), record.fields["hash"]
        name = records.key(key_id)
        # First: no moment in which neither is good.
        await self._store.write(name, {"old": old + b" %d" % (self._clock() + overlap)})
        if not await self._store.swap(name, "hash", old, _hash(secret.encode()).encode()):
            raise Conflict("The key was rotated or revoked meanwhile")
        self._audit("key_rotated", user_id=record.key.user_id, key_id=key_id)
        return f"{PREFIX}{key_id}_{secret}"

    async def forget(self, user_id: str) -> None:
        """Revoke all keys of a user who is gone for good."""
        for key_id in await self._store.read(records.keys(user_id)) or ():
            await self._store.delete(records.key(key_id))
        await self._store.delete(records.keys(user_id))

    async def read(self, key_id: str) -> KeyRecord | None:
        """The record of a key as of now."""
        fields = await self._store.read(records.key(key_id))
        if not fields:
            return None
        known = self._parsed.get(key_id)
        if known is not None and known.fields == fields:
            return known
        try:
            record = KeyRecord(key_id, fields)
        except (ValueError, KeyError, TypeError):  # bytes that spell no key open nothing
            return None
        if len(self._parsed) >= _REMEMBERED:
            self._parsed.pop(next(iter(self._parsed)), None)
        self._parsed[key_id] = record
        return record

    async def note_use(self, record: KeyRecord) -> None:
        """Write down that the key was used now, at most once a minute."""
        now = int(self._clock())
        last = record.key.last_used_at
        if last is None or now - last >= _USED_EVERY:
            await self._store.swap(records.key(record.key.id), "used", record.fields.get("used"), b"%d" % now)

    async def _add_to_index(self, user_id: str, key_id: str, now: int) -> None:
        for is_last in (False, True):
            try:
                entry: dict[str, bytes | None] = {key_id: b"%d" % now}
                await self._store.write(records.keys(user_id), entry, create=True, max_fields=MAX_KEYS)
                return
            except TooLarge:
                if is_last:
                    raise Conflict(f"A user has at most {MAX_KEYS} keys") from None
                await self.list(user_id)  # lets go of those that expired

    async def _of(self, key_id: str, user_id: str | None) -> KeyRecord:
        record = await self.read(key_id)
        if record is None or user_id not in (None, record.key.user_id):
            raise NotFound("No such key")
        return record


def parse_key(sent: bytes) -> tuple[str, str] | None:
    """The id, and the hash of the secret, of what was sent; None for what is no key."""
    shape = _SHAPE.fullmatch(sent)
    return None if shape is None else (shape[1].decode(), _hash(shape[2]))


def _hash(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()  # of 256 random bits: nobody guesses them, however fast
