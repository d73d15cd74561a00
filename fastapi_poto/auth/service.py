"""Signing in and out, as the routes and an application's own code do it."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import Conflict, NotFound, RefreshReused, TooManyRequests, Unauthenticated, Unavailable, UsernameTaken
from ..settings import AuthSettings
from ..stores.base import Store
from ..stores.memory import MemoryStore
from ..users import Account, Identity, User, UserProvider
from . import events as redaction
from .access_tokens import Tokens
from .addresses import client_address
from .authenticator import Authenticator
from .cookies import CookieTransport
from .credentials import Credentials, ManagedCredentials, asked
from .events import Audit, AuditEvent
from .own_sign_in import OwnSignIn, SignedIn
from .passwords import MAX_BYTES, MIN_BYTES, Passwords, hash_random, random_password, verify_random
from .secrets import Secrets
from .store_users import StoreUsers
from .throttle import Throttle, account_key
from .token_families import SignIn, TokenFamilies
from .users import VISITOR_PREFIX, MemoryUsers, name_key, new_user_id, new_visitor_id, storable
from .visitors import Visitors

logger = logging.getLogger("fastapi_poto.auth")


class SessionEnder(Protocol):
    """What signing in and out asks of the sessions."""

    async def rotate(self, user_id: str) -> None:
        """Give the user's session a new id; its data stays."""

    async def end(self, user_id: str) -> None:
        """Delete the user's session."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What a client gets when it signs in or refreshes. `password` is a new visitor's."""

    user: User
    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: float
    password: str | None = None


class AuthService:
    """The rooms of sign-in, wired. Public: `users`, `passwords`, `authenticator`, `throttle`, `sign_ins`, `settings`.

    `sessions` is set by the runtime, since sessions ask `authenticator.stands`; and `ensure_open`, which opens the
    stores for a sign-in route of an application whose lifespan does not run.
    """

    def __init__(
        self,
        *,
        store: Store,
        users: UserProvider,
        secrets: Secrets,
        settings: AuthSettings,
        clock: Callable[[], float],
        passwords: Passwords,
        audit: Audit,
        credentials: Sequence[Credentials] | None = None,
    ) -> None:
        self.store = store
        self.users = users
        self.settings = settings
        self.passwords = passwords
        self.audit = audit
        self.clock = clock
        self.sessions: SessionEnder | None = None
        self.ensure_open: Callable[[], Awaitable[None]] | None = None
        self.cookies = CookieTransport(settings.allowed_origins) if settings.cookies else None
        self.visitors = Visitors(store, idle=settings.visitor_idle, clock=clock)
        self.throttle = Throttle(store, settings, clock=clock)
        self.tokens = Tokens(secrets, issuer=settings.issuer, audience=settings.audience, clock=clock)
        self.token_families = TokenFamilies(store, secrets, settings, clock=clock)
        self.authenticator = Authenticator(
            [OwnSignIn()] if credentials is None else credentials, users=users, realm=settings.realm
        )
        for one in self.managed:
            one.attach(self)
        self._proxies = settings.proxy_networks()

    @property
    def managed(self) -> list[ManagedCredentials]:
        """The credentials that are opened and closed with the runtime."""
        return [one for one in self.authenticator.credentials if isinstance(one, ManagedCredentials)]

    @property
    def signs_in(self) -> bool:
        """Whether people can sign in here, or only elsewhere."""
        return any(isinstance(one, OwnSignIn) for one in self.authenticator.credentials)

    def address(self, scope: Any) -> str:
        """The client's address as throttling counts it."""
        return client_address(scope, self._proxies)

    # Signing in

    async def visitor(self, address: str) -> Pair:
        """A new visitor. Raises `TooManyRequests` past the limit for one address."""
        with self._throttling(address, "visitor"):
            await self.throttle.visitor(address)
        password = random_password()
        user = User(new_visitor_id(), visitor=True)
        await asked(self.users.add(Account(user, hash_random(password))))
        await self.visitors.note(user.id)
        sign_in = await self.token_families.begin(user.id, ver=0)
        self.audit("visitor_created", user_id=user.id, family=sign_in.family, address=address)
        return self._pair(user, sign_in, password=password)

    async def login(self, username: str, password: str, address: str) -> Pair:
        """Sign in with a name, or a visitor with its id.

        Raises `Unauthenticated`, the same for every reason, `TooManyRequests`, or `Unavailable` when too many
        passwords are being checked.
        """
        with self._throttling(address, "login", username):
            attempt = await self.throttle.begin(username, address)
        account = await self._find(username)
        password_hash = account.password_hash if account is not None else None
        if username.startswith(VISITOR_PREFIX):
            good = verify_random(password_hash, password) and password_hash is not None
        else:
            good = await self.passwords.verify(password_hash, password)
        if account is None or not good or account.disabled:
            reason = "unknown" if account is None else "disabled" if good else "password"
            fields = {"address": address, "account": attempt.account, "reason": reason}
            self.audit("sign_in_refused", user_id=account.user.id if account else None, **fields)
            with self._throttling(address, "login", username):
                await self.throttle.failed(attempt)
            raise self.authenticator.refuse()
        with self._throttling(address, "login", username):
            await self.throttle.succeeded(attempt)
        # The count of ends is read before the account is read again: if the password is changed after that look,
        # the change ends this sign-in; if before, the look sees it.
        user = account.user
        ver = await self.token_families.version(user.id)
        now = await self._find(username)
        if now is None or now.disabled or now.user.id != user.id or now.password_hash != password_hash:
            raise self.authenticator.refuse()
        user = now.user
        await self._rehash(user, password, password_hash)
        if user.visitor:
            await self.visitors.note(user.id)
        sign_in = await self.token_families.begin(user.id, ver=ver)
        await self._rotate_session(user.id)
        self.audit("signed_in", user_id=user.id, family=sign_in.family, address=address)
        return self._pair(user, sign_in)

    async def refresh(self, refresh_token: str, address: str) -> Pair:
        """A new pair; the old refresh token is spent."""
        try:
            user_id = self.token_families.owner(refresh_token)
            user = await self.authenticator.user(user_id)
            if user is None:
                raise Unauthenticated
            sign_in = await self.token_families.rotate(refresh_token)
        except RefreshReused as reused:
            self.audit("refresh_reused", user_id=reused.user_id, family=reused.family, address=address)
            raise self.authenticator.refuse_bad() from None
        except Unauthenticated:
            raise self.authenticator.refuse_bad() from None
        if user.visitor:
            await self.visitors.note(user.id)
        self.audit("refreshed", user_id=user.id, family=sign_in.family, address=address)
        return self._pair(user, sign_in)

    async def upgrade(self, identity: Identity, username: str, password: str, address: str = "unknown") -> Pair:
        """Give a visitor a name and a password. Its id and session stay; older tokens end.

        Raises `UsernameTaken`, or `Conflict` for somebody who has a name. Who tries many names that are
        taken has to wait like who guesses passwords.
        """
        with self._throttling(address, "upgrade"):
            await self.throttle.check_address(address)
        visitor = identity.user
        account = await self._find(visitor.id) if visitor.visitor else None
        if account is None:
            raise Conflict("Only a visitor can be given a name")
        if await self._find(username) is not None:
            await self.throttle.count_address(address)
            raise UsernameTaken
        password_hash = await self.passwords.hash(password)
        set_credentials = self.users.set_credentials(
            visitor.id, username, password_hash, old_hash=account.password_hash
        )
        if not await asked(set_credentials):
            raise Conflict("Only a visitor can be given a name")
        ver = await self.token_families.end_all(visitor.id)
        user = await self.authenticator.user(visitor.id)
        if user is None:
            raise self.authenticator.refuse_bad()
        sign_in = await self.token_families.begin(user.id, ver=ver)
        await self._rotate_session(user.id)
        self.audit("upgraded", user_id=user.id, family=sign_in.family)
        return self._pair(user, sign_in)

    # Signing out

    async def logout(self, identity: Identity) -> None:
        """End this sign-in, its tokens and the user's session. Raises `Conflict` for who did not sign in here."""
        if not isinstance(identity, SignedIn):
            raise Conflict("Sign out where you signed in")
        user_id = identity.user.id
        await self.token_families.end(user_id, identity.family)
        await self._end_session(user_id)
        self.audit("signed_out", user_id=user_id, family=identity.family, jti=identity.jti)

    async def end_all(self, user_id: str) -> None:
        """Log out everywhere: all tokens that were given to the user until now are dead."""
        await self.token_families.end_all(user_id)
        await self._end_session(user_id)
        self.audit("signed_out_everywhere", user_id=user_id)

    # Accounts

    async def create_user(self, username: str, password: str, roles: Iterable[str] = ()) -> User:
        """A new named user. Raises `UsernameTaken`, or `ValueError` for a name or password that will not do."""
        problem = name_problem(username) or password_problem(password)
        if problem is not None:
            raise ValueError(problem)
        user = User(new_user_id(), frozenset(roles), name=username)
        await self.users.add(Account(user, await self.passwords.hash(password)))
        self.audit("user_created", user_id=user.id)
        return user

    async def change_password(
        self, user_id: str, new: str, *, current: str | None = None, address: str = "unknown"
    ) -> None:
        """Set a named user's password and log them out everywhere.

        With `current`, it must be the present one (else `Unauthenticated`), and guessing it is throttled
        like signing in; without, an administrator does it. Raises `NotFound` for a user without a name,
        `ValueError` for a password that will not do.
        """
        problem = password_problem(new)
        if problem is not None:
            raise ValueError(problem)
        user = await self.users.get(user_id)
        account = await self.users.find(user.name) if user is not None and user.name is not None else None
        if user is None or user.name is None or account is None:
            raise NotFound("No such user")
        if current is not None:
            with self._throttling(address, "change_password", user.name):
                attempt = await self.throttle.begin(user.name, address)
                if not await self.passwords.verify(account.password_hash, current):
                    self.audit("sign_in_refused", user_id=user_id, address=address, reason="password")
                    await self.throttle.failed(attempt)
                    raise self.authenticator.refuse()
                await self.throttle.succeeded(attempt)
        password_hash = await self.passwords.hash(new)
        # Before it too: if the store fails in between, no older sign-in outlives the old password.
        await self.token_families.end_all(user_id)
        if not await self.users.set_credentials(user_id, user.name, password_hash, old_hash=account.password_hash):
            raise Conflict("The password was changed meanwhile")
        await self.end_all(user_id)
        self.audit("password_changed", user_id=user_id)

    async def remove_user(self, user_id: str) -> None:
        """Forget a user, with their sign-ins and their session."""
        await self.users.remove(user_id)
        await self.token_families.forget(user_id)
        await self._end_session(user_id)
        self.audit("user_removed", user_id=user_id)

    async def purge(self) -> None:
        """Remove the visitors who were away for too long, with their sessions."""
        await self.visitors.purge(self.remove_visitor)

    async def remove_visitor(self, user_id: str) -> None:
        """Forget a visitor. Whoever has a name by now is left alone: under a visitor's id only a visitor is found."""
        if await self._find(user_id) is not None:
            await self.remove_user(user_id)

    def close(self) -> None:
        """Let the hashing threads end."""
        self.passwords.close()

    async def _find(self, username: str) -> Account | None:
        return await asked(self.users.find(username)) if storable(username) else None

    async def _rehash(self, user: User, password: str, password_hash: str | None) -> None:
        """Bring the hash up to today's parameters; if there is no room for it now, at another sign-in."""
        if password_hash is not None and user.name is not None and self.passwords.needs_rehash(password_hash):
            with suppress(Unavailable):
                fresh = await self.passwords.hash(password)
                await asked(self.users.set_credentials(user.id, user.name, fresh, old_hash=password_hash))

    @contextmanager
    def _throttling(self, address: str, what: str, username: str | None = None) -> Iterator[None]:
        try:
            yield
        except TooManyRequests:
            account = account_key(username) if username is not None else None
            self.audit("throttled", address=address, account=account, what=what)
            raise

    def _pair(self, user: User, sign_in: SignIn, password: str | None = None) -> Pair:
        left = sign_in.ends_at - self.clock()
        ttl = max(1, int(min(self.settings.access_ttl, left)))
        token, _ = self.tokens.issue(user.id, family=sign_in.family, ver=sign_in.ver, ttl=ttl)
        return Pair(user, token, ttl, sign_in.refresh_token, left, password)

    async def _rotate_session(self, user_id: str) -> None:
        if self.sessions is not None:
            await self.sessions.rotate(user_id)

    async def _end_session(self, user_id: str) -> None:
        if self.sessions is not None:
            await self.sessions.end(user_id)


def build_auth(
    store: Store,
    users: UserProvider | None,
    secrets: Secrets,
    settings: AuthSettings | None = None,
    clock: Callable[[], float] = time.time,
    *,
    passwords: Passwords | None = None,
    on_event: Callable[[AuditEvent], object] | None = None,
    credentials: Sequence[Credentials] | None = None,
) -> AuthService:
    """Sign-in over one store. Set `.sessions` on what it gives, so that signing in rotates and out ends them.

    Without `users`, they are kept where everything else is.
    """
    redaction.install()
    if users is None:
        users = MemoryUsers() if isinstance(store, MemoryStore) else StoreUsers(store)
    return AuthService(
        store=store,
        users=users,
        secrets=secrets,
        settings=settings or AuthSettings(),
        clock=clock,
        passwords=passwords or Passwords(),
        audit=Audit(on_event),
        credentials=credentials,
    )


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
