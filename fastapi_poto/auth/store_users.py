"""Users in the store where everything else is kept, shared by all processes on it."""

import json
from collections.abc import Iterable
from typing import Any

from ..errors import NotFound, UsernameTaken
from ..stores import records
from ..stores.base import Store, Wanted
from ..users import Account, User
from .external_users import ExternalUsers, is_external
from .users import VISITOR_PREFIX, name_key

_REMEMBERED = 10_000
_FOREVER = 10.0**10
"""Seconds. A claim says how long it lives, since the record of a name that was freed a moment ago is about to go."""


class StoreUsers:
    """Users in a `Store`, shared by all processes on it.

    `user:<id>` has the fields `login` (JSON: name, hash, visitor), `roles` (JSON list) and `disabled`;
    `name:<name>` has `id`. A record of a user is written before its name is claimed and removed before the
    name is freed, so a claim whose user does not exist is a left-over and may be taken over.
    """

    external: ExternalUsers | None = None
    """Set by the runtime."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # What the bytes of a record mean, so that the same bytes are parsed once. The bytes are read every time.
        self._parsed: dict[str, tuple[dict[str, bytes], Account]] = {}

    async def get(self, user_id: str) -> User | None:
        return self.user_of(user_id, await self._store.read(*account_fields(user_id)))

    def is_in(self, store: Store) -> bool:
        """Whether this is where the users are."""
        return self._store is store

    def user_of(self, user_id: str, fields: dict[str, bytes] | None) -> User | None:
        """The user whose record has these `account_fields`; None if they are disabled."""
        account = self._account(user_id, fields)
        return None if account is None or account.disabled else account.user

    async def find(self, username: str) -> Account | None:
        if username.startswith(VISITOR_PREFIX):
            account = await self._read(username)
            return account if account is not None and account.user.visitor else None
        claim = await self._store.read(records.name(name_key(username)), ("id",))
        if not claim or "id" not in claim:
            return None
        account = await self._read(claim["id"].decode(errors="replace"))
        return account if account is not None and _goes_by(account, username) else None

    async def add(self, account: Account) -> None:
        user = account.user
        fields: dict[str, bytes | None] = {"login": _login(user.name, account.password_hash, user.visitor)}
        if user.roles:
            fields["roles"] = json.dumps(sorted(user.roles)).encode()
        if account.disabled:
            fields["disabled"] = b"1"
        await self._store.write(records.user(user.id), fields, create=True)
        if user.name is not None and not await self._claim(user.name, user.id):
            await self._store.delete(records.user(user.id))
            raise UsernameTaken

    async def set_credentials(self, user_id: str, username: str, password_hash: str, *, old_hash: str | None) -> bool:
        fields = await self._store.read(records.user(user_id), ("login",))
        account = _parse(user_id, fields) if fields else None
        if fields is None or account is None or account.password_hash != old_hash:
            return False
        before = account.user.name
        same = _goes_by(account, username)
        if not same and not await self._claim(username, user_id):
            raise UsernameTaken
        new = _login(username, password_hash, False)
        if await self._store.swap(records.user(user_id), "login", fields["login"], new) is not True:
            # Overtaken by another wish, which may have been for the same name.
            winner = await self._read(user_id)
            if winner is None or not _goes_by(winner, username):
                await self._free(username, user_id)
            return False
        if before is not None and not same:
            await self._free(before, user_id)
        return True

    async def account(self, user_id: str) -> Account | None:
        """The account with this id, disabled ones included."""
        return await self._read(user_id)

    async def page(self, cursor: str | None = None, *, limit: int = 500) -> tuple[list[Account], str | None]:
        """Accounts, about `limit` of them, and the cursor of the next page: for administration, never for a call."""
        page = await self._store.names(records.user(""), cursor=cursor, limit=limit)
        found = [await self._read(name.removeprefix(records.user(""))) for name in page.names]
        return [account for account in found if account is not None], page.cursor

    async def remove(self, user_id: str) -> None:
        account = await self._read(user_id)
        await self._store.delete(records.user(user_id))
        self._parsed.pop(user_id, None)
        if account is not None and account.user.name is not None:
            await self._free(account.user.name, user_id)

    async def set_roles(self, user_id: str, roles: Iterable[str]) -> None:
        """Raises `NotFound` if there is no such user."""
        await self._set(user_id, "roles", json.dumps(sorted(roles)).encode())

    async def set_disabled(self, user_id: str, disabled: bool = True) -> None:
        """Also an issuer's user, such as `corp:4711`. Raises `NotFound` if there is no such user."""
        try:
            await self._set(user_id, "disabled", b"1" if disabled else None)
        except NotFound:
            if self.external is None or not is_external(user_id):
                raise
            await self.external.set_disabled(user_id, disabled)

    async def _set(self, user_id: str, field: str, value: bytes | None) -> None:
        if not await self._store.write(records.user(user_id), {field: value}):
            raise NotFound("No such user")

    async def _read(self, user_id: str) -> Account | None:
        return self._account(user_id, await self._store.read(*account_fields(user_id)))

    def _account(self, user_id: str, fields: dict[str, bytes] | None) -> Account | None:
        if fields is None:
            return None
        known = self._parsed.get(user_id)
        if known is not None and known[0] == fields:
            return known[1]
        account = _parse(user_id, fields)
        if account is not None:
            if len(self._parsed) >= _REMEMBERED:
                self._parsed.pop(next(iter(self._parsed)), None)
            self._parsed[user_id] = (fields, account)
        return account

    async def _claim(self, username: str, user_id: str) -> bool:
        record, new = records.name(name_key(username)), user_id.encode()
        if await self._store.swap(record, "id", None, new, create=True, expires_in=_FOREVER):
            return True
        claim = await self._store.read(record, ("id",))
        holder = claim.get("id") if claim else None
        if holder is None:
            return False
        if holder == new:
            return True
        if await self._store.read(records.user(holder.decode(errors="replace")), ("login",)) is not None:
            return False
        return await self._store.swap(record, "id", holder, new, expires_in=_FOREVER) is True

    async def _free(self, username: str, user_id: str) -> None:
        # Emptied by compare-and-set, and gone at once: another's claim on the name must not be deleted with ours.
        record = records.name(name_key(username))
        await self._store.swap(record, "id", user_id.encode(), None, expires_in=0.001)


def account_fields(user_id: str) -> Wanted:
    """What is read of a user."""
    return records.user(user_id), ("login", "roles", "disabled")


def _goes_by(account: Account, username: str) -> bool:
    name = account.user.name
    return name is not None and name_key(name) == name_key(username)


def _login(name: str | None, password_hash: str | None, visitor: bool) -> bytes:
    login: dict[str, Any] = {"hash": password_hash}
    if name is not None:
        login["name"] = name
    if visitor:
        login["visitor"] = True
    return json.dumps(login, separators=(",", ":")).encode()


def _parse(user_id: str, fields: dict[str, bytes]) -> Account | None:
    """The account that a record's fields spell; None for bytes that spell none: nobody signs in by them."""
    try:
        login = json.loads(fields["login"])
        roles = json.loads(fields.get("roles", b"[]"))
        user = User(user_id, frozenset(map(str, roles)), bool(login.get("visitor")), login.get("name"))
        return Account(user, login["hash"], "disabled" in fields)
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
