"""Sign-ins that last: families of refresh tokens, each rotated, and ended as a whole.

`auth:<user id>` has the field `epoch`, which counts how often all of the user's sign-ins were ended, and for
each sign-in a field `f:<family>`. An access token is good while its family's field is there and its epoch is
the record's: what is lost from the store is signed out, never signed in again.

A refresh token is `poto-rt.<user id>.<family>.<random>.<MAC>`. The store knows the last two by a hash with the
issuer and the audience. The MAC is only looked at where the store does not know them: then it tells a token that was
spent, which is theft, from one that was never made here, which is nothing.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets as random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import RefreshReused, Unauthenticated
from ..settings import AuthSettings
from ..stores import records
from ..stores.base import Store, Wanted
from .secrets import Secrets
from .users import storable

_ATTEMPTS = 10
_SHAPE = re.compile(r"poto-rt\.([A-Za-z0-9_-]{1,1400})\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{22})")
_MOST_SPENT = 32


class Spent(NamedTuple):
    """A token that was exchanged for the next one: within the grace it may be exchanged again."""

    hashed: str
    nonce: str
    """With the token and a key of ours, this gives the next one."""
    at: float


class Family(NamedTuple):
    """One sign-in. Times are those of Poto's clock, in seconds."""

    epoch: int
    began_at: float
    used_at: float
    current: str
    """The hash of the token that is good now."""
    spent: tuple["Spent", ...] = ()
    """Those before it that were spent within the grace, in order."""

    def dump(self) -> bytes:
        values = [self.epoch, self.began_at, self.used_at, self.current, self.spent]
        return json.dumps(values, separators=(",", ":")).encode()

    @classmethod
    def load(cls, raw: bytes) -> "Family | None":
        """None for bytes that are no family: their sign-in has ended."""
        try:
            epoch, began_at, used_at, current, listed = json.loads(raw)
            spent = tuple(Spent(str(hashed), str(nonce), float(at)) for hashed, nonce, at in listed)
            return cls(int(epoch), float(began_at), float(used_at), str(current), spent)
        except (ValueError, TypeError):
            return None


class RefreshToken(NamedTuple):
    """What signing in or refreshing gave: a token, and the sign-in that it prolongs."""

    user_id: str
    family: str
    epoch: int
    token: str
    ends_at: float

    def __repr__(self) -> str:
        return f"<RefreshToken {self.user_id} {self.family}>"


class TokenFamilies:
    """Begins, prolongs and ends sign-ins."""

    def __init__(
        self, store: Store, secrets: Secrets, settings: AuthSettings, *, clock: Callable[[], float], record_life: float
    ) -> None:
        self._store = store
        self._record_life = record_life
        self._keys = secrets.derive("refresh token")
        self._audience = f"{settings.issuer}\0{settings.audience}\0"
        self._settings = settings
        self._clock = clock

    async def epoch(self, user_id: str) -> int:
        """To be read before the last look at the account: a sign-in that `end_all` overtakes is dead on arrival."""
        return _epoch(await self._store.read(_record(user_id), ("epoch",)))

    async def begin(self, user_id: str, *, epoch: int) -> RefreshToken:
        """A new family."""
        settings = self._settings
        now = self._clock()
        name = random.token_urlsafe(16)
        secret = self._signed(self._keys[0], user_id, name, random.token_urlsafe(32))
        changes: dict[str, bytes | None] = dict.fromkeys(await self._surplus(user_id))
        changes[f"f:{name}"] = Family(epoch, now, now, self._hash(secret)).dump()
        await self._store.write(_record(user_id), changes, create=True, expires_in=self._record_life)
        return RefreshToken(user_id, name, epoch, _token(user_id, name, secret), now + settings.refresh_absolute)

    def owner(self, refresh_token: str) -> str:
        """The id of the user whom a token says it is from. Raises `Unauthenticated` for what is no token."""
        return _read(refresh_token)[0]

    async def rotate(self, refresh_token: str) -> RefreshToken:
        """Spend a refresh token for its successor.

        Within the grace a spent token gives the newest one again. With one that was spent before, the family is over,
        and the one call that ended it gets `RefreshReused`. Raises `Unauthenticated` for all others.
        """
        user_id, name, secret = _read(refresh_token)
        record, field = _record(user_id), f"f:{name}"
        settings = self._settings
        presented = self._hash(secret)
        for _ in range(_ATTEMPTS):
            fields = await self._store.read(record, ("epoch", field))
            raw = fields.get(field) if fields else None
            family = Family.load(raw) if raw is not None else None
            if raw is None or family is None:
                raise Unauthenticated
            now = self._clock()
            ends_at = family.began_at + settings.refresh_absolute
            if self._is_over(family, _epoch(fields), now):
                await self._store.swap(record, field, raw, None)
                raise Unauthenticated
            if hmac.compare_digest(presented, family.current):
                nonce = random.token_urlsafe(32)
                successor = self._successor(self._keys[0], user_id, name, secret, nonce)
                spent = [one for one in family.spent if now < one.at + settings.refresh_grace]
                spent = [*spent[1 - _MOST_SPENT :], Spent(presented, nonce, now)]
                new = family._replace(used_at=now, current=self._hash(successor), spent=tuple(spent))
                # The record, which holds the epoch for all families, lives as long as the longest of them could.
                if await self._store.swap(record, field, raw, new.dump(), expires_in=self._record_life):
                    return RefreshToken(user_id, name, family.epoch, _token(user_id, name, successor), ends_at)
                continue
            if any(one.hashed == presented and now < one.at + settings.refresh_grace for one in family.spent):
                newest = self._newest(user_id, name, family, secret)
                return RefreshToken(user_id, name, family.epoch, _token(user_id, name, newest), ends_at)
            if not self._is_ours(user_id, name, secret):
                raise Unauthenticated
            ended = await self._store.swap(record, field, raw, None)
            if ended:
                raise RefreshReused(user_id, name, was_last=await self._is_signed_out(user_id))
            if ended is None:
                raise Unauthenticated
        raise Unauthenticated

    async def is_active(self, user_id: str, family: str, epoch: int) -> bool:
        """Whether an access token of this family is still good."""
        return session_of(await self._store.read(*fields_of(user_id, family)), family, epoch) is not None

    async def end_by_token(self, refresh_token: str) -> tuple[str, bool] | None:
        """End the sign-in of a refresh token of ours, spent or not: its user, and whether it was their last."""
        user_id, name, secret = _read(refresh_token)
        fields = await self._store.read(_record(user_id), (f"f:{name}",)) or {}
        family = Family.load(fields.get(f"f:{name}", b""))
        if family is None or not (family.current == self._hash(secret) or self._is_ours(user_id, name, secret)):
            return None
        return user_id, await self.end(user_id, name)

    async def end(self, user_id: str, family: str) -> bool:
        """End one sign-in; whether it was the user's last: then their session ends with it."""
        await self._store.write(_record(user_id), {f"f:{family}": None})
        return await self._is_signed_out(user_id)

    async def end_all(self, user_id: str) -> int:
        """End every sign-in of a user, those that are beginning too; the new epoch."""
        record = _record(user_id)
        epoch = await self._store.add(record, "epoch", 1, create=True, expires_in=self._record_life) or 0
        fields = await self._store.read(record) or {}
        ended: dict[str, bytes | None] = {}
        for name, raw in fields.items():
            family = Family.load(raw) if name.startswith("f:") else None
            if name.startswith("f:") and (family is None or family.epoch < epoch):
                ended[name] = None
        if ended:
            await self._store.write(record, ended)
        return epoch

    async def forget(self, user_id: str) -> None:
        """End every sign-in of a user who is gone for good."""
        await self._store.delete(_record(user_id))

    def _newest(self, user_id: str, name: str, family: Family, secret: str) -> str:
        """The family's current secret, worked out from one of those that were spent within the grace.

        Raises `Unauthenticated` if a process that has a newer key already took a step in between.
        """
        for spent in family.spent:
            if spent.hashed == self._hash(secret):
                made = [self._successor(key, user_id, name, secret, spent.nonce) for key in self._keys]
                known = {family.current, *(one.hashed for one in family.spent)}
                secret = next((one for one in made if self._hash(one) in known), "")
        if self._hash(secret) != family.current:
            raise Unauthenticated
        return secret

    def _is_ours(self, user_id: str, name: str, secret: str) -> bool:
        signed = (self._signed(key, user_id, name, secret[:43]) for key in self._keys)
        return any(hmac.compare_digest(secret, one) for one in signed)

    def _successor(self, key: bytes, user_id: str, name: str, secret: str, nonce: str) -> str:
        return self._signed(key, user_id, name, _b64(hmac.digest(key, f"{secret}.{nonce}".encode(), "sha256")))

    def _signed(self, key: bytes, user_id: str, name: str, drawn: str) -> str:
        """A token's last two parts."""
        said = f"{self._audience}{user_id}\0{name}\0{drawn}".encode()
        return f"{drawn}.{_b64(hmac.digest(key, said, 'sha256')[:16])}"

    def _hash(self, secret: str) -> str:
        return hashlib.sha256(f"{self._audience}{secret}".encode()).hexdigest()

    async def _is_signed_out(self, user_id: str) -> bool:
        alive, _ = self._sorted(await self._store.read(_record(user_id)))
        return not alive

    async def _surplus(self, user_id: str) -> list[str]:
        """Fields to drop when one more is added: families that are over, and the oldest past the limit."""
        alive, over = self._sorted(await self._store.read(_record(user_id)))
        return over + alive[: max(0, len(alive) + 1 - self._settings.sign_ins_per_user)]

    def _sorted(self, fields: Mapping[str, bytes] | None) -> tuple[list[str], list[str]]:
        """The fields of families that are alive, least recently used first, and of those that are over."""
        epoch, now = _epoch(fields), self._clock()
        alive: list[tuple[float, str]] = []
        over: list[str] = []
        for name, raw in (fields or {}).items():
            if name.startswith("f:"):
                family = Family.load(raw)
                if family is None or self._is_over(family, epoch, now):
                    over.append(name)
                else:
                    alive.append((family.used_at, name))
        return [name for _, name in sorted(alive)], over

    def _is_over(self, family: Family, epoch: int, now: float) -> bool:
        settings = self._settings
        ends_at = min(family.began_at + settings.refresh_absolute, family.used_at + settings.refresh_idle)
        return now >= ends_at or family.epoch != epoch


def fields_of(user_id: str, family: str) -> Wanted:
    """The record of a sign-in, and the fields of it from which `session_of` follows."""
    return _record(user_id), ("epoch", "session", f"f:{family}")


def session_of(fields: Mapping[str, bytes] | None, family: str, epoch: int) -> str | None:
    """The generation of the user's session while an access token of this family is good, else None."""
    if fields is None or f"f:{family}" not in fields or fields.get("epoch", b"0") != b"%d" % epoch:
        return None
    return records.generation(fields.get("session"))


def _record(user_id: str) -> str:
    return records.sign_ins(user_id)


def _epoch(fields: Mapping[str, bytes] | None) -> int:
    epoch = fields.get("epoch", b"0") if fields else b"0"
    return int(epoch) if epoch.isdigit() else 0


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _token(user_id: str, family: str, secret: str) -> str:
    return f"poto-rt.{_b64(user_id.encode())}.{family}.{secret}"


def _read(token: Any) -> tuple[str, str, str]:
    shape = _SHAPE.fullmatch(token) if isinstance(token, str) else None
    if shape is None:
        raise Unauthenticated
    try:
        user_id = base64.urlsafe_b64decode(shape[1] + "=" * (-len(shape[1]) % 4)).decode()
    except ValueError:
        raise Unauthenticated from None
    if not storable(user_id):
        raise Unauthenticated
    return user_id, shape[2], shape[3]
