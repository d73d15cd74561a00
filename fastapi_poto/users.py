"""Who calls, what they are known by, and the protocol by which an application brings its own users."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

_NO_CLAIMS: Mapping[str, Any] = MappingProxyType({})

__all__ = ["Account", "Identity", "User", "UserProvider"]


@dataclass(frozen=True, slots=True)
class User:
    """Who calls."""

    id: str
    roles: frozenset[str] = frozenset()
    visitor: bool = False
    name: str | None = None
    """What a named user signs in with; None for a visitor."""
    claims: Mapping[str, Any] = field(default_factory=lambda: _NO_CLAIMS, compare=False, repr=False)
    """What an external issuer says of them; empty for the application's own users."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Identity:
    """Who calls, and the credentials by which they are known. `expires_at` is in seconds since 1970.

    What an identity may do follows from `user` and `scopes`, never from its `kind`.
    """

    user: User
    kind: str
    """Of which credentials: `"token"`, `"key"`, an issuer's name, or a word of your own."""
    expires_at: float = inf
    claims: Mapping[str, Any] = field(default_factory=lambda: _NO_CLAIMS, compare=False, repr=False)
    scopes: frozenset[str] = frozenset()
    source: Any = field(default=None, init=False, repr=False, compare=False)
    """The entry of `Poto(credentials=…)` that knew them; set by the runtime."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user with what signing in needs."""

    user: User
    password_hash: str | None
    """As `Passwords.hash` made it; None: cannot sign in with a password."""
    disabled: bool = False

    def __repr__(self) -> str:
        return f"<Account {self.user.id}>"


@runtime_checkable
class UserProvider(Protocol):
    """The users of an application. All methods may be called at once, in any number of processes.

    A user is known by an id that never changes and is never given to another. Visitors have ids that
    begin with `visitor_` and sign in under their id; everybody else signs in under a name.
    """

    async def get(self, user_id: str) -> User | None:
        """The user as of now, asked on every call; None if there is none or they are disabled."""
        ...

    async def find(self, username: str) -> Account | None:
        """The account that signs in under this name (a visitor's: its id), disabled ones included."""
        ...

    async def add(self, account: Account) -> None:
        """Keep a new account. Raises `UsernameTaken` if its user's name is taken; two at once: one is refused."""

    async def set_credentials(self, user_id: str, username: str, password_hash: str, *, old_hash: str | None) -> bool:
        """Let the user sign in under this name with this password from now on, and no more as before.

        A visitor becomes a named user by it. False, and nothing changes, if the present hash is not
        `old_hash` or the user is gone: somebody else was faster. Raises `UsernameTaken`.
        """
        ...

    async def remove(self, user_id: str) -> None:
        """Forget the user. Their name may be taken again; their id not."""
