"""Who may sign in: the `User` that code sees, and the protocol by which an application brings its own."""

import re
import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from threading import Lock

from ..errors import NotFound, UsernameTaken
from ..users import Account, User
from .external_users import ExternalUsers, is_external

VISITOR_PREFIX = "visitor_"
MAX_NAME_BYTES = 512


def new_visitor_id() -> str:
    return VISITOR_PREFIX + secrets.token_urlsafe(16)


def new_user_id() -> str:
    return "user_" + secrets.token_urlsafe(16)


# What Unicode calls default-ignorable and Python printable: fillers and variation selectors; and the blanks of Braille,
# music and Khitan. One blank looks like several.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U00016fe4\U0001d159"
    "\U000e0100-\U000e01ef]|(?<= ) +"
)


def name_key(username: str) -> str:
    """What must differ between two names: neither letter case nor Unicode's spellings nor what is invisible does."""
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFKC", username))
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", visible.casefold()))


def storable(name: str) -> bool:
    """Whether a name that was sent can be part of a record's name: databases refuse NUL, surrogates and long keys."""
    return name.isprintable() and 0 < len(name_key(name).encode()) <= MAX_NAME_BYTES


class MemoryUsers:
    """Users in this process's memory; they end with it."""

    external: ExternalUsers | None = None
    """Set by the runtime."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._active: dict[str, User] = {}
        self._ids: dict[str, str] = {}
        self._lock = Lock()

    async def get(self, user_id: str) -> User | None:
        return self._active.get(user_id)

    async def find(self, username: str) -> Account | None:
        if username.startswith(VISITOR_PREFIX):
            account = self._accounts.get(username)
            return account if account is not None and account.user.visitor else None
        return self._accounts.get(self._ids.get(name_key(username), ""))

    async def add(self, account: Account) -> None:
        user = account.user
        with self._lock:
            if user.name is not None:
                self._claim(user.name, user.id)
            self._put(account)

    async def set_credentials(self, user_id: str, username: str, password_hash: str, *, old_hash: str | None) -> bool:
        with self._lock:
            account = self._accounts.get(user_id)
            if account is None or account.password_hash != old_hash:
                return False
            self._claim(username, user_id)
            before = account.user.name
            if before is not None and name_key(before) != name_key(username):
                del self._ids[name_key(before)]
            user = replace(account.user, name=username, visitor=False)
            self._put(replace(account, user=user, password_hash=password_hash))
            return True

    async def account(self, user_id: str) -> Account | None:
        """The account with this id, disabled ones included."""
        return self._accounts.get(user_id)

    async def remove(self, user_id: str) -> None:
        with self._lock:
            account = self._accounts.pop(user_id, None)
            self._active.pop(user_id, None)
            if account is not None and account.user.name is not None:
                self._ids.pop(name_key(account.user.name), None)

    async def set_roles(self, user_id: str, roles: Iterable[str]) -> None:
        """Raises `NotFound` if there is no such user."""
        with self._lock:
            account = self._account(user_id)
            self._put(replace(account, user=replace(account.user, roles=frozenset(roles))))

    async def set_disabled(self, user_id: str, disabled: bool = True) -> None:
        """Also an issuer's user, such as `corp:4711`. Raises `NotFound` if there is no such user."""
        if self.external is not None and is_external(user_id) and user_id not in self._accounts:
            await self.external.set_disabled(user_id, disabled)
            return
        with self._lock:
            self._put(replace(self._account(user_id), disabled=disabled))

    def _account(self, user_id: str) -> Account:
        try:
            return self._accounts[user_id]
        except KeyError:
            raise NotFound("No such user") from None

    def _put(self, account: Account) -> None:
        user = account.user
        self._accounts[user.id] = account
        if account.disabled:
            self._active.pop(user.id, None)
        else:
            self._active[user.id] = user

    def _claim(self, username: str, user_id: str) -> None:
        if self._ids.setdefault(name_key(username), user_id) != user_id:
            raise UsernameTaken
