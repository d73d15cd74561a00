"""Who is calling: asked at the door of every call, and again while a stream is open."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Scope

from ..errors import BadRequest, PotoError, Unauthenticated, Unavailable, challenge
from ..users import User, UserProvider
from .access_tokens import MAX_LENGTH, Claims, Tokens
from .cookies import CookieTransport
from .token_families import TokenFamilies

_WORTH_KEEPING = 1_024

logger = logging.getLogger("fastapi_poto.auth")


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Identity:
    """The credentials behind a call."""

    user: User
    claims: Claims
    by_cookie: bool = False

    @property
    def jti(self) -> str:
        return self.claims.jti

    @property
    def family(self) -> str:
        return self.claims.family

    @property
    def expires_at(self) -> float:
        return self.claims.expires_at


class Authenticator:
    """Turns a request's credentials into an `Identity`.

    Only what cannot change is remembered: that a token's signature and claims are right, until it expires.
    Whether its sign-in stands and its user exists, is enabled and has which roles is read from the store and
    the `UserProvider` on every call, so that what any process changes holds for the next call to all.
    """

    def __init__(
        self,
        *,
        tokens: Tokens,
        token_families: TokenFamilies,
        users: UserProvider,
        realm: str,
        clock: Callable[[], float],
        cookies: CookieTransport | None = None,
        remembered: int = 10_000,
    ) -> None:
        self._tokens = tokens
        self._token_families = token_families
        self._users = users
        self._clock = clock
        self._cookies = cookies
        self._remembered = remembered
        self._known: dict[bytes, Identity | Claims] = {}
        self._none = challenge(realm)
        self._bad = challenge(realm, "invalid_token")

    async def authenticate(self, scope: Scope) -> Identity | None:
        """The caller; None without credentials (no bearer token, an empty one, another scheme).

        Raises `Unauthenticated` for credentials that do not hold, `BadRequest` for two of them,
        `CrossSiteRequest` for a cookie sent by a foreign page, `Unavailable` if the store cannot say.
        """
        sent: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if sent is not None:
                    raise BadRequest("More than one Authorization header")
                sent = value
        known = self._known.get(sent) if sent is not None else None
        if known is not None and sent is not None:
            return await self._check(known, sent)
        by_cookie = False
        token = bearer(sent) if sent is not None else None
        if sent is None and self._cookies is not None:
            token = self._cookies.token(scope)
            by_cookie = token is not None
        if token is None:
            return None
        if by_cookie and self._cookies is not None:
            self._cookies.check_origin(scope)
        # A cookie's entry has a key that no header can have.
        key = b"\0" + token if by_cookie else sent
        assert key is not None  # noqa: S101 - a token came from one of the two
        return await self._check(self._known.get(key) or self._verify(token), key, by_cookie)

    async def is_active(self, identity: Identity | None) -> bool:
        """Whether the sign-in behind a call has not ended, and its user has at least the roles of then.

        For what goes on after the door: a stream, or a call that writes. It may outlive its token.
        """
        if identity is None:
            return True
        claims = identity.claims
        if not await self._token_families.is_active(claims.user_id, claims.family, claims.ver):
            return False
        user = await self.user(claims.user_id)
        return user is not None and identity.user.roles <= user.roles

    def refuse(self) -> Unauthenticated:
        """The error for a caller without credentials."""
        return Unauthenticated(headers=self._none)

    def refuse_bad(self) -> Unauthenticated:
        """The error for credentials that do not hold."""
        return Unauthenticated(headers=self._bad)

    async def _check(self, known: Identity | Claims, key: bytes, by_cookie: bool = False) -> Identity:
        claims = known if isinstance(known, Claims) else known.claims
        user_id = claims.user_id
        if claims.expires_at > self._clock() and await self._token_families.is_active(
            user_id, claims.family, claims.ver
        ):
            user = await self.user(user_id)
            if user is not None:
                if isinstance(known, Identity) and (known.user is user or known.user == user):
                    return known
                return self._remember(key, Identity(user, claims, by_cookie))
        self._known.pop(key, None)
        raise self.refuse_bad()

    async def user(self, user_id: str) -> User | None:
        """The user as of now."""
        try:
            return await self._users.get(user_id)
        except PotoError:
            raise
        except Exception as error:
            raise provider_failed() from error

    def _verify(self, token: bytes) -> Claims:
        try:
            return self._tokens.verify(token.decode("latin-1"))
        except Unauthenticated:
            raise self.refuse_bad() from None

    def _remember(self, key: bytes, identity: Identity) -> Identity:
        # Another spelling of the header, with more spaces, say, is as good; but only ours is worth the memory.
        if len(key) > len(b"Bearer ") + _WORTH_KEEPING:
            return identity
        known = self._known
        if key not in known and len(known) >= self._remembered:
            now = self._clock()
            # The oldest eighth goes, with all that has expired: insertion order is nearly that of expiry.
            for old in list(known)[: max(1, self._remembered // 8)]:
                del known[old]
            for old, entry in list(known.items()):
                if entry.expires_at <= now:
                    del known[old]
        known[key] = identity
        return identity


def provider_failed() -> Unavailable:
    """What a call is told when an application's own users cannot be asked, whatever the reason: nobody gets in."""
    logger.exception("The user provider failed")  # noqa: LOG004 - called where it was caught
    return Unavailable()


def bearer(header: bytes) -> bytes | None:
    """The token of an `Authorization` header; None for an empty one and for another scheme."""
    scheme, _, token = header.partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    token = token.strip(b" \t")
    return token[: MAX_LENGTH + 1] or None
