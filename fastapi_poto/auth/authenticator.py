"""Who is calling: asked of every way to know a caller in turn, and again while a stream is open."""

from collections.abc import Awaitable, Sequence

from fastapi.exceptions import HTTPException
from fastapi.requests import HTTPConnection
from starlette.types import Scope

from ..errors import Unauthenticated, challenge
from ..users import Identity, User, UserProvider
from .cookies import DEAD_COOKIE
from .credentials import Credentials, asked, bearer_token, failed
from .dependencies import Shown
from .own_sign_in import OwnSignIn


class Authenticator:
    """The one authentication step: turns a request's credentials into an `Identity`, by the first that knows them."""

    def __init__(self, credentials: Sequence[Credentials], *, users: UserProvider, realm: str) -> None:
        self.credentials = tuple(credentials)
        first = credentials[0] if credentials else None
        self._recalled = first.recalled if type(first) is OwnSignIn else None
        self._users = users
        self._none = challenge(realm)
        self._bad = challenge(realm, "invalid_token")

    @property
    def security(self) -> list[Shown]:
        """Dependencies by which FastAPI documents that an operation needs a caller."""
        return [Shown(scheme) for one in self.credentials for scheme in one.security]

    def authenticate(self, scope: Scope) -> Awaitable[Identity | None]:
        """The caller; None without credentials.

        Raises `Unauthenticated` for credentials that do not hold and for a bearer token that nobody knows,
        `BadRequest` for two of them, `CrossSiteRequest` for a cookie sent by a foreign page, `Unavailable` if
        it cannot be said now.
        """
        recalled = None if self._recalled is None else self._recalled(scope)
        return self._ask_in_turn(scope) if recalled is None else recalled

    async def _ask_in_turn(self, scope: Scope) -> Identity | None:
        connection = HTTPConnection(scope)
        try:
            for one in self.credentials:
                identity = await one.authenticate(connection)
                if identity is not None:
                    if identity.source is not one:
                        object.__setattr__(identity, "source", one)
                    return identity
        except Unauthenticated:
            raise self.refuse_bad() from None
        except HTTPException:
            raise
        except Exception as error:
            raise failed() from error
        if bearer_token(connection) is not None:
            raise self.refuse_bad()
        return None

    async def is_active(self, identity: Identity | None) -> bool:
        """Whether the credentials behind a call still hold: for what goes on after its start, and what is kept."""
        return identity is None or await asked(identity.source.is_active(identity))

    def refuse(self, scope: Scope | None = None) -> Unauthenticated:
        """The error for a caller without credentials, and for one whose cookie does not hold."""
        return Unauthenticated(headers=self._bad if scope is not None and DEAD_COOKIE in scope else self._none)

    def refuse_bad(self) -> Unauthenticated:
        """The error for credentials that do not hold."""
        return Unauthenticated(headers=self._bad)

    async def user(self, user_id: str) -> User | None:
        """The user as of now."""
        return await asked(self._users.get(user_id))
