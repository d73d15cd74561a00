"""Ways to know a caller: the protocol that all of them implement, and what they share."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from fastapi.requests import HTTPConnection
from fastapi.security.base import SecurityBase

from ..context import headers_of
from ..errors import BadRequest, ConfigurationError, PotoError, Unavailable
from ..settings import Settings
from ..stores.base import Store
from ..users import Identity, UserProvider
from .access_tokens import AccessTokens
from .cookies import CookieTransport
from .events import Audit
from .external_users import ExternalUsers
from .keys import Keys
from .throttle import Throttle
from .token_families import TokenFamilies

T = TypeVar("T")

logger = logging.getLogger("fastapi_poto.auth")


@runtime_checkable
class Credentials(Protocol):
    """One way to know a caller, an entry of `Poto(credentials=[…])`. It serves any number of calls at once."""

    @property
    def security(self) -> Sequence[SecurityBase]:
        """How the document shows it: FastAPI's security schemes, any of which will do."""
        ...

    async def authenticate(self, connection: HTTPConnection) -> Identity | None:
        """The caller, asked on every call before its body is read; None: these credentials are not mine.

        Raises `Unauthenticated` for credentials that are mine and do not hold.
        """
        ...

    async def is_active(self, identity: Identity) -> bool:
        """Whether an identity that I gave still holds: asked before a session begins, and while a stream is open."""
        ...


class Services(Protocol):
    """What the runtime has for credentials that keep something: a `Poto`."""

    store: Store
    users: UserProvider
    settings: Settings
    clock: Callable[[], float]
    audit: Audit
    throttle: Throttle
    access_tokens: AccessTokens
    token_families: TokenFamilies
    cookies: CookieTransport | None
    external_users: ExternalUsers
    keys: Keys

    def address(self, scope: Any) -> str: ...


class ManagedCredentials:
    """The base of `Credentials` that need the runtime, its store, say, or that are opened and closed with it."""

    authorization_servers: Sequence[str] = ()
    """The issuers whose tokens it accepts, for clients that ask where to get one."""
    _services: Services | None = None

    def attach(self, services: Services) -> None:
        """Called once, before all else. Raises `ConfigurationError` for what cannot work together."""
        if self._services is not None:
            raise ConfigurationError(f"This {type(self).__name__} is another Poto's already. Make one for each.")
        self._services = services

    async def open(self) -> None:
        """Called when the application starts, or else before the first call. What is away now may come later."""

    async def close(self) -> None:
        """Let go of what `open` began."""

    def problem(self) -> str | None:
        """What is wrong now, for the health route; None if nothing is."""
        return None


def check_credentials(given: Sequence[Credentials]) -> Sequence[Credentials]:
    """Them, or `ConfigurationError` for one that is none."""
    if not isinstance(given, Iterable):
        raise ConfigurationError(f"Poto(credentials={given!r}): it takes a list. Write credentials=[…].")
    for one in given:
        missing = [name for name in ("authenticate", "is_active", "security") if not hasattr(one, name)]
        if missing or isinstance(one, type):
            raise ConfigurationError(
                f"Poto(credentials=[{one!r}]): an object with authenticate, is_active and security is needed"
                f"{', not a class: call it' if isinstance(one, type) else ', and it lacks ' + ', '.join(missing)}."
            )
    return given


def check_distinct(credentials: Sequence[Credentials]) -> None:
    """Raise `ConfigurationError` for two that claim the same callers."""
    for what in ("issuer", "name"):
        seen: set[str] = set()
        for one in credentials:
            value = getattr(one, what, None)
            if value is None:
                continue
            if value in seen:
                raise ConfigurationError(
                    f"Poto(credentials=…): two entries have the {what} {value!r}, and a caller can be only one's. "
                    "Remove one, or name it otherwise."
                )
            seen.add(value)


def bearer_token(connection: HTTPConnection) -> bytes | None:
    """The token of the `Authorization` header; None without one, for an empty one and for another scheme.

    Raises `BadRequest` for two of these headers.
    """
    scope = connection.scope
    headers = headers_of(scope)
    sent = headers.get(b"authorization")
    if len(headers) != len(scope["headers"]) and sum(name == b"authorization" for name, _ in scope["headers"]) > 1:
        raise BadRequest("More than one Authorization header")
    if sent is None:
        return None
    scheme, _, token = sent.partition(b" ")
    if scheme != b"Bearer" and scheme.lower() != b"bearer":
        return None
    return token.strip(b" \t") or None


async def asked(answer: Awaitable[T]) -> T:
    """What an application's own code answers; whatever fails there, the call is told `Unavailable`: nobody gets in."""
    try:
        return await answer
    except PotoError:
        raise
    except Exception as error:
        raise failed() from error


def failed() -> Unavailable:
    """What a call is told when an application's users or credentials cannot be asked, whatever the reason."""
    logger.exception("An application's users or credentials failed")  # noqa: LOG004 - called where it was caught
    return Unavailable()


class Remembered(dict[bytes, T]):
    """What was verified once, by the token that was sent; bounded: the oldest go first."""

    def __init__(self, most: int, longest: int) -> None:
        super().__init__()
        self._most = most
        self._longest = longest

    def __repr__(self) -> str:
        return f"<{len(self)} remembered>"  # an error tracker shows what a function knows

    def keep(self, token: bytes, verified: T) -> None:
        """Remember it, unless the token is too long to be worth the memory."""
        if len(token) <= self._longest:
            if token not in self and len(self) >= self._most:
                for old in list(self)[: max(1, self._most // 8)]:
                    del self[old]
            self[token] = verified
