"""The sign-in routes' own access tokens, as a bearer or in a cookie."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fastapi.exceptions import HTTPException
from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyCookie
from fastapi.security.base import SecurityBase
from starlette.types import Scope

from ..context import SCOPE_KEY, CallContext, headers_of
from ..errors import Unauthenticated, challenge
from ..stores.base import Wanted
from ..stores.namespaced import Namespaced
from ..users import Identity
from .access_tokens import MAX_LENGTH, Claims
from .cookies import DEAD_COOKIE
from .credentials import ManagedCredentials, Remembered, Services, bearer_token, failed
from .dependencies import bearer_scheme, password_scheme
from .store_users import StoreUsers, account_fields
from .token_families import fields_of, session_of

_WORTH_KEEPING = 1_024
_SIGNATURE = 44
"""The dot before an HS256 signature, and its 43 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn(Identity):
    """Somebody who signed in here."""

    token: Claims
    session: str
    """The generation of their session, as of this call."""

    @property
    def jti(self) -> str:
        return self.token.jti

    @property
    def family(self) -> str:
        return self.token.family


@dataclass(slots=True)
class _Verified:
    """A token whose signature and claims are right, and what the store said of its sign-in and its user last."""

    claims: Claims
    wanted: tuple[Wanted, Wanted]
    """What is read of the sign-in, and of the user, by the names that the store itself has for them."""
    found: list[dict[str, bytes] | None] | None = None
    identity: SignedIn | None = None


class OwnSignIn(ManagedCredentials):
    """Visitors, names and passwords: the `/auth` routes and their tokens.

    Only what cannot change is remembered: that a token's signature and claims are right, until it expires.
    Whether its sign-in is active and its user exists, is enabled and has which roles is read from the store and
    the `UserProvider` on every call, so that what any process changes holds for the next call to all.
    """

    security: Sequence[SecurityBase] = (bearer_scheme, password_scheme)
    name = "token"

    def attach(self, services: Services) -> None:
        super().attach(services)
        self.issuer = services.settings.auth.issuer
        self._access_tokens = services.access_tokens
        self._token_families = services.token_families
        self._store, self._users = cast("Namespaced", services.store), services.users
        self._inner = self._store.inner
        # Users who are in the same store are read along with the sign-in.
        is_one_store = type(self._users) is StoreUsers and self._users.is_in(self._store)
        self._stored_users = cast("StoreUsers", self._users) if is_one_store else None
        self._lets_visitors_in = services.settings.auth.visitors
        self._clock = services.clock
        self._bad = challenge(services.settings.auth.realm, "invalid_token")
        self._cookies = services.cookies
        if services.cookies is not None:
            cookie = APIKeyCookie(
                name=services.cookies.access,
                scheme_name="PotoCookie",
                description="The access token in a cookie, for pages that sign in with the header X-Poto-Transport.",
                auto_error=False,
            )
            self.security = (*OwnSignIn.security, cookie)
        self._known: Remembered[_Verified] = Remembered(services.settings.auth.remembered_tokens, _WORTH_KEEPING)

    def recalled(self, scope: Scope) -> Coroutine[Any, Any, Identity] | None:
        """What `authenticate` gives in a call with a bearer token that was verified before; None for all else."""
        context: CallContext | None = scope.get(SCOPE_KEY)
        if context is None:
            return None
        key = context.headers.get(b"authorization", b"")
        known = self._known.get(key)
        if known is None or len(context.headers) != len(scope["headers"]):
            return None
        return self._check(known, key)

    async def authenticate(self, connection: HTTPConnection) -> Identity | None:
        """Raises `CrossSiteRequest` for a cookie sent by a foreign page."""
        token = bearer_token(connection)
        if token is not None:
            key = b"Bearer " + token
            known = self._known.get(key)
            if known is None:
                if token[-_SIGNATURE:-43] != b".":
                    return None
                try:
                    known = self._verify(token)
                except Unauthenticated:
                    return None  # another issuer's, or nobody's
            return await self._check(known, key)
        if self._cookies is None or b"authorization" in headers_of(connection.scope):
            return None
        token = self._cookies.token(connection.scope)
        if token is None:
            return None
        key = b"\0" + token  # no header has such a byte
        try:
            identity = await self._check(self._known.get(key) or self._verify(token), key)
        except Unauthenticated:
            # The page cannot take it back, and what needs nobody must go on.
            header = connection.scope[DEAD_COOKIE] = self._cookies.cleared_access()
            context: CallContext | None = connection.scope.get(SCOPE_KEY)
            if context is not None:
                context.response_headers.append(header)
            return None
        self._cookies.check_origin(connection.scope)
        return identity

    async def is_active(self, identity: Identity) -> bool:
        """Whether the sign-in has not ended, and its user has at least the roles of then. It may outlive its token."""
        claims = cast("SignedIn", identity).token
        if not await self._token_families.is_active(claims.user_id, claims.family, claims.epoch):
            return False
        user = await self._users.get(claims.user_id)
        return user is not None and identity.user.roles <= user.roles

    def _verify(self, token: bytes) -> _Verified:
        claims = self._access_tokens.verify(token[: MAX_LENGTH + 1].decode("latin-1"))
        sign_in, account = fields_of(claims.user_id, claims.family), account_fields(claims.user_id)
        return _Verified(claims, (self._store.within(sign_in), self._store.within(account)))

    async def _check(self, known: _Verified, key: bytes) -> SignedIn:
        claims = known.claims
        if claims.expires_at > self._clock():
            try:
                if self._stored_users is None:
                    record, names = known.wanted[0]
                    fields = await self._inner.read(record, names)
                    session = session_of(fields, claims.family, claims.epoch)
                    user = None if session is None else await self._users.get(claims.user_id)
                else:
                    found = await self._inner.read_many(known.wanted)
                    if found == known.found and known.identity is not None:
                        return known.identity
                    session = session_of(found[0], claims.family, claims.epoch)
                    user = self._stored_users.user_of(claims.user_id, found[1])
                    known.found = found
            except HTTPException:
                raise
            except Exception as error:
                raise failed() from error
            identity = known.identity
            if identity is not None and identity.session == session and identity.user == user:
                return identity
            if session is not None and user is not None and (self._lets_visitors_in or not user.visitor):
                made = SignedIn(user, self.name, expires_at=claims.expires_at, token=claims, session=session)
                object.__setattr__(made, "source", self)
                known.identity = made
                self._known.keep(key, known)
                return made
        known.identity = None  # calls that are under way with the same token are about to find the same
        self._known.pop(key, None)
        raise Unauthenticated(headers=self._bad)
