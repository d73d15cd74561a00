"""Access and refresh tokens in cookies, for browser pages that must not hold them; off unless asked for.

A cookie is sent by every page on the web, so a request that may change something must also show that its own
page made it: by a header that no other origin can set without permission, and by the Origin if one is named.
"""

from starlette.types import Scope

from ..errors import CrossSiteRequest
from ..sessions.sent_cookies import sent_cookies
from ..settings import AuthSettings
from .access_tokens import MAX_LENGTH
from .token_pair import TokenPair

Header = tuple[bytes, bytes]
DEAD_COOKIE = "fastapi_poto.dead_cookie"
"""In the scope of a request whose cookie does not hold: the header that takes it back. The cookie counts for none."""

HEADER = "X-Poto-Transport"
"""`X-Poto-Transport: cookie` goes with every request that is not a GET, HEAD or OPTIONS."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class CookieTransport:
    """Reads and writes the cookies."""

    def __init__(self, settings: AuthSettings) -> None:
        self.access = settings.cookie_name
        self.refresh = f"{settings.cookie_name}-refresh"
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.allowed_origins)
        self._written = f"Path=/; HttpOnly; Secure; SameSite={settings.cookie_same_site.capitalize()}"
        self._refresh_ttl = settings.refresh_idle

    def token(self, scope: Scope) -> bytes | None:
        """The access token of the cookie; None without one, and for two of that name."""
        return _cookie(scope, self.access)

    def sent(self, scope: Scope) -> bool:
        """Whether one of the two came, dead or alive."""
        return any(sent_cookies(scope, name) for name in (self.access, self.refresh))

    def refresh_token(self, scope: Scope) -> str | None:
        """The refresh token of its cookie; None without one, and for two of that name."""
        found = _cookie(scope, self.refresh)
        return found.decode("latin-1") if found is not None else None

    def asked(self, scope: Scope) -> bool:
        """Whether the client wants its tokens in cookies."""
        return _header(scope, HEADER.lower().encode()) == b"cookie"

    def check_origin(self, scope: Scope) -> None:
        """Raise `CrossSiteRequest` for a request that may change something and may be a foreign page's."""
        if scope["type"] == "websocket":
            # A page cannot set a header of its own here, but its browser always names it.
            if _header(scope, b"origin") is None:
                raise CrossSiteRequest("A websocket with the cookie needs an Origin")
            self._check_foreign(scope)
            return
        if scope.get("method") in _SAFE:
            return
        if not self.asked(scope):
            raise CrossSiteRequest(f"A request with the cookie needs the header {HEADER}: cookie")
        self._check_foreign(scope)

    def _check_foreign(self, scope: Scope) -> None:
        """Raise `CrossSiteRequest` if the request names an Origin that may not write."""
        origin = _header(scope, b"origin")
        if origin is None:
            return
        named = origin.decode("latin-1").lower()
        host = (_header(scope, b"host") or b"").decode("latin-1").lower()
        scheme, _, rest = named.partition("://")
        # The scheme is the proxy's business: it is lost where TLS ends. `__Host-` cookies are only sent over TLS.
        same = scheme in {"http", "https"} and host and rest == host
        if not same and named not in self._origins:
            raise CrossSiteRequest

    def written(self, pair: TokenPair) -> list[Header]:
        """Headers that set both cookies."""
        return [
            self._set(self.access, pair.access_token, pair.expires_in),
            self._set(self.refresh, pair.refresh_token, self._refresh_ttl),
        ]

    def cleared(self) -> list[Header]:
        """Headers that take both cookies back."""
        return [self.cleared_access(), self._set(self.refresh, "", 0)]

    def cleared_access(self) -> Header:
        """The header that takes a dead access token back. Its refresh token may be alive."""
        return self._set(self.access, "", 0)

    def _set(self, name: str, value: str, seconds: float) -> Header:
        return b"set-cookie", f"{name}={value}; Max-Age={int(seconds)}; {self._written}".encode("latin-1")


def _header(scope: Scope, name: bytes) -> bytes | None:
    found = [value for key, value in scope["headers"] if key == name]
    # Two of them cannot be told apart: neither counts as ours.
    return found[0] if len(found) == 1 else (b"" if found else None)


def _cookie(scope: Scope, name: str) -> bytes | None:
    found = sent_cookies(scope, name)
    return found[0][: MAX_LENGTH + 1] if len(found) == 1 and found[0] else None
