"""Named users, as the application's own code makes and changes them."""

from collections.abc import Callable, Iterable

from ..errors import Conflict, NotFound
from ..sessions.session import SessionProvider
from ..stores import records
from ..stores.base import Store, all_names
from ..streaming.streams import Streams
from ..users import Account, User, UserProvider
from .authenticator import Authenticator
from .credentials import asked
from .events import Audit
from .external_users import ExternalUsers, is_external
from .keys import Keys
from .password_checks import PasswordChecks
from .passwords import MAX_BYTES, MIN_BYTES, Passwords
from .token_families import TokenFamilies
from .users import VISITOR_PREFIX, name_key, new_user_id, storable
from .visitors import Visitors


class Accounts:
    """Makes and removes named users, and changes their passwords."""

    def __init__(
        self,
        store: Store,
        users: UserProvider,
        *,
        passwords: Passwords,
        password_checks: PasswordChecks,
        token_families: TokenFamilies,
        authenticator: Authenticator,
        sessions: SessionProvider,
        external_users: ExternalUsers,
        visitors: Visitors,
        keys: Keys,
        streams: Streams,
        audit: Audit,
    ) -> None:
        self._store = store
        self._users = users
        self._passwords = passwords
        self._password_checks = password_checks
        self._token_families = token_families
        self._authenticator = authenticator
        self._sessions = sessions
        self._external_users = external_users
        self._visitors = visitors
        self._keys = keys
        self._streams = streams
        self._audit = audit

    async def create(self, username: str, password: str | None, roles: Iterable[str] = ()) -> User:
        """A new named user; without a password a service account, which only has API keys.

        Raises `UsernameTaken`, or `ValueError` for a name or password that will not do.
        """
        problem = name_problem(username) or (password_problem(password) if password is not None else None)
        if problem is not None:
            raise ValueError(problem)
        user = User(new_user_id(), frozenset(roles), name=username)
        password_hash = None if password is None else await self._passwords.hash(password)
        await self._users.add(Account(user, password_hash))
        self._audit("user_created", user_id=user.id)
        return user

    async def find(self, username: str) -> Account | None:
        """The account that signs in under this name, disabled ones included; None too for what can be no name."""
        return await asked(self._users.find(username)) if storable(username) else None

    async def change_password(
        self, user_id: str, new: str, *, current: str | None = None, address: str = "unknown"
    ) -> None:
        """Set a named user's password and end all their sign-ins.

        With `current`, it must be the present one (else `Unauthenticated`), and guessing it is throttled
        like signing in; without, an administrator does it, for a disabled user too (a `UserProvider` of your own
        needs `account(user_id) -> Account | None` for that). Raises `NotFound` for a user without a name,
        `ValueError` for a password that will not do.
        """
        problem = password_problem(new)
        if problem is not None:
            raise ValueError(problem)
        account = await self._account(user_id)
        if account is None or account.user.name is None:
            raise NotFound("No such user")
        name = account.user.name
        if current is not None:
            check = self._password_checks.check
            if not await check(name, account, current, address=address, what="change_password"):
                raise self._authenticator.refuse()
        password_hash = await self._passwords.hash(new)
        # Before it too: if the store fails in between, no older sign-in outlives the old password.
        await self._token_families.end_all(user_id)
        if not await self._users.set_credentials(user_id, name, password_hash, old_hash=account.password_hash):
            raise Conflict("The password was changed meanwhile")
        await self.end_sign_ins(user_id)
        self._audit("password_changed", user_id=user_id)

    async def end_sign_ins(self, user_id: str) -> None:
        """Sign out everywhere: all tokens that were given to the user until now are dead, and the session ends."""
        if is_external(user_id):
            await self._external_users.end_all(user_id)
        await self._token_families.end_all(user_id)
        await self._sessions.end(user_id)
        self._audit("signed_out_everywhere", user_id=user_id)

    async def end_all_sign_ins(self, on_each: Callable[[], object] = lambda: None) -> int:
        """Sign everybody out, and give their number: after a restore, whose store knows nothing of later sign-outs.

        API keys and users' passwords are not touched. `on_each` is told of every user.
        """
        ended = 0
        for prefix in (records.sign_ins(""), records.external("")):
            async for name in all_names(self._store, prefix):
                await self.end_sign_ins(name.removeprefix(prefix))
                ended += 1
                on_each()
        return ended

    async def _account(self, user_id: str) -> Account | None:
        account = getattr(self._users, "account", None)
        if account is not None:
            found: Account | None = await account(user_id)
            return found
        user = await self._users.get(user_id)
        return await self._users.find(user.name) if user is not None and user.name is not None else None

    async def remove(self, user_id: str) -> None:
        """Forget a user, with their sign-ins, their session and their streams."""
        await self._remove(user_id)
        await self._streams.forget(user_id)

    async def _remove(self, user_id: str) -> None:
        await self._users.remove(user_id)
        await self._external_users.forget(user_id)
        await self._keys.forget(user_id)
        await self._sessions.forget(user_id)  # before what says which session it is
        await self._token_families.forget(user_id)
        await self._visitors.forget(user_id)
        self._audit("user_removed", user_id=user_id)

    async def remove_visitor(self, user_id: str) -> None:
        """Forget a visitor. Whoever has a name by now is left alone: under a visitor's id only a visitor is found."""
        if await self.find(user_id) is not None:
            await self._remove(user_id)  # streams of theirs ended long ago


def name_problem(username: str) -> str | None:
    """What is wrong with a name that somebody wants to have."""
    key = name_key(username)
    if not 1 <= len(username) <= 128:
        return "A name has 1 to 128 characters"
    if not storable(username):
        return "A name has no control characters, and at most 512 bytes"
    if username != username.strip() or key != key.strip():
        return "A name has no spaces around it"
    if key.startswith(VISITOR_PREFIX):
        return f"A name does not begin with {VISITOR_PREFIX}"
    return None


def password_problem(password: str, *, new: bool = True) -> str | None:
    """What is wrong with the size of a password; a present one may be short, but it is never hashed if too long."""
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        return "A password is Unicode text"
    if size > MAX_BYTES:
        return f"A password has at most {MAX_BYTES} bytes"
    if new and size < MIN_BYTES:
        return f"A password has at least {MIN_BYTES} bytes"
    return None
