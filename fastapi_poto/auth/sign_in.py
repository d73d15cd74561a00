"""Signing in and out, as the routes and an application's own code do it."""

from collections.abc import Callable
from contextlib import suppress

from ..errors import Conflict, RefreshReused, Unauthenticated, Unavailable, UsernameTaken
from ..sessions.session import SessionProvider
from ..settings import AuthSettings
from ..users import Account, Identity, User, UserProvider
from .access_tokens import AccessTokens
from .accounts import Accounts
from .authenticator import Authenticator
from .credentials import asked
from .events import Audit
from .own_sign_in import SignedIn
from .password_checks import PasswordChecks
from .passwords import Passwords, hash_random, random_password
from .throttle import Throttle
from .token_families import RefreshToken, TokenFamilies
from .token_pair import TokenPair, VisitorTokens
from .users import new_visitor_id
from .visitors import Visitors


class SignIn:
    """Gives token pairs to those who show who they are, and takes them back. `address` is the client's."""

    def __init__(
        self,
        users: UserProvider,
        settings: AuthSettings,
        *,
        accounts: Accounts,
        passwords: Passwords,
        password_checks: PasswordChecks,
        throttle: Throttle,
        visitors: Visitors,
        access_tokens: AccessTokens,
        token_families: TokenFamilies,
        authenticator: Authenticator,
        sessions: SessionProvider,
        audit: Audit,
        clock: Callable[[], float],
    ) -> None:
        self._users = users
        self._settings = settings
        self._accounts = accounts
        self._passwords = passwords
        self._password_checks = password_checks
        self._throttle = throttle
        self._visitors = visitors
        self._access_tokens = access_tokens
        self._token_families = token_families
        self._authenticator = authenticator
        self._sessions = sessions
        self._audit = audit
        self._clock = clock

    async def visitor(self, address: str) -> VisitorTokens:
        """A new visitor. Raises `TooManyRequests` past the limit for one address."""
        with self._audit.throttling(address, "visitor"):
            await self._throttle.visitor(address)
        password = random_password()
        user = User(new_visitor_id(), visitor=True)
        await asked(self._users.add(Account(user, hash_random(password))))
        await self._visitors.note(user.id)
        begun = await self._token_families.begin(user.id, epoch=0)
        self._audit("visitor_created", user_id=user.id, family=begun.family, address=address)
        return VisitorTokens(password=password, **dict(self.pair(begun)))

    async def login(self, username: str, password: str, address: str) -> TokenPair:
        """Sign in with a name, or a visitor with its id.

        Raises `Unauthenticated`, the same for every reason, `TooManyRequests`, or `Unavailable` when too many
        passwords are being checked.
        """
        account = await self._accounts.find(username)
        if account is not None and account.user.visitor and not self._settings.visitors:
            account = None
        good = await self._password_checks.check(username, account, password, address=address, what="login")
        if account is None or not good:
            raise self._authenticator.refuse()
        # The epoch is read before the account is read again: if the password is changed after that look,
        # the change ends this sign-in; if before, the look sees it.
        user = account.user
        epoch = await self._token_families.epoch(user.id)
        now = await self._accounts.find(username)
        if now is None or now.disabled or now.user.id != user.id or now.password_hash != account.password_hash:
            raise self._authenticator.refuse()
        user = now.user
        await self._rehash(user, password, account.password_hash)
        if user.visitor:
            await self._visitors.note(user.id)
        begun = await self._token_families.begin(user.id, epoch=epoch)
        self._audit("signed_in", user_id=user.id, family=begun.family, address=address)
        return self.pair(begun)

    async def refresh(self, refresh_token: str, address: str) -> TokenPair:
        """A new pair; the old refresh token is spent."""
        try:
            user_id = self._token_families.owner(refresh_token)
            user = await self._authenticator.user(user_id)
            if user is None or (user.visitor and not self._settings.visitors):
                raise Unauthenticated
            rotated = await self._token_families.rotate(refresh_token)
        except RefreshReused as reused:
            if reused.was_last:
                await self._sessions.end(reused.user_id)
            self._audit("refresh_reused", user_id=reused.user_id, family=reused.family, address=address)
            raise self._authenticator.refuse_bad() from None
        except Unauthenticated:
            raise self._authenticator.refuse_bad() from None
        if user.visitor:
            await self._visitors.note(user.id)
        self._audit("refreshed", user_id=user.id, family=rotated.family, address=address)
        return self.pair(rotated)

    async def upgrade(self, identity: Identity, username: str, password: str, address: str = "unknown") -> TokenPair:
        """Give a visitor a name and a password. Its id and session stay; older tokens end.

        Raises `UsernameTaken`, or `Conflict` for somebody who has a name. Who tries many names that are
        taken has to wait like who guesses passwords.
        """
        with self._audit.throttling(address, "upgrade"):
            await self._throttle.count_address(address)
        visitor = identity.user
        # An API key must not become a sign-in, which would outlive it.
        is_visitor = visitor.visitor and isinstance(identity, SignedIn)
        account = await self._accounts.find(visitor.id) if is_visitor else None
        if account is None:
            raise Conflict("Only a visitor can be given a name")
        if await self._accounts.find(username) is not None:
            raise UsernameTaken
        await self._throttle.forgive_address(address)
        async with self._password_checks.turn(address):
            password_hash = await self._passwords.hash(password)
        set_credentials = self._users.set_credentials(
            visitor.id, username, password_hash, old_hash=account.password_hash
        )
        if not await asked(set_credentials):
            raise Conflict("Only a visitor can be given a name")
        await self._visitors.forget(visitor.id)
        epoch = await self._token_families.end_all(visitor.id)
        user = await self._authenticator.user(visitor.id)
        if user is None:
            raise self._authenticator.refuse_bad()
        begun = await self._token_families.begin(user.id, epoch=epoch)
        self._audit("upgraded", user_id=user.id, family=begun.family)
        return self.pair(begun)

    async def logout(self, identity: Identity) -> None:
        """End this sign-in and its tokens; with the user's last sign-in their session ends, too.

        Raises `Conflict` for who did not sign in here.
        """
        if not isinstance(identity, SignedIn):
            raise Conflict("Sign out where you signed in")
        user_id = identity.user.id
        if await self._token_families.end(user_id, identity.family):
            await self._sessions.end(user_id)
        self._audit("signed_out", user_id=user_id, family=identity.family, jti=identity.jti)

    async def end(self, refresh_token: str) -> None:
        """End the sign-in of a refresh token. For one that is none nothing happens (RFC 7009, 2.2)."""
        try:
            ended = await self._token_families.end_by_token(refresh_token)
        except Unauthenticated:
            ended = None
        if ended is not None:
            user_id, was_last = ended
            if was_last:
                await self._sessions.end(user_id)
            self._audit("signed_out", user_id=user_id)

    def pair(self, refresh: RefreshToken) -> TokenPair:
        """The tokens that a client is given: no access token outlives its sign-in."""
        ttl = max(1, int(min(self._settings.access_ttl, refresh.ends_at - self._clock())))
        token, _ = self._access_tokens.issue(refresh.user_id, family=refresh.family, epoch=refresh.epoch, ttl=ttl)
        return TokenPair(access_token=token, expires_in=ttl, refresh_token=refresh.token, user_id=refresh.user_id)

    async def _rehash(self, user: User, password: str, password_hash: str | None) -> None:
        """Bring the hash up to today's parameters; if there is no room for it now, at another sign-in."""
        if password_hash is not None and user.name is not None and self._passwords.needs_rehash(password_hash):
            with suppress(Unavailable):
                fresh = await self._passwords.hash(password)
                await asked(self._users.set_credentials(user.id, user.name, fresh, old_hash=password_hash))
