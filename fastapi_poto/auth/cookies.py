"""Access and refresh tokens in cookies, for browser pages that must not hold them; off unless asked for.

A cookie is sent by every page on the web, so a request that may change something must also show that its own
page made it: by a header that no other origin can set without permission, and by the Origin if one is named.
"""

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from ..errors import CrossSiteRequest
from .access_tokens import MAX_LENGTH

ACCESS = "__Host-poto"
REFRESH = "__Host-poto-refresh"
HEADER = "X-Poto-Transport"
"""`X-Poto-Transport: cookie` goes with every request that is not a GET, HEAD or OPTIONS."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class CookieTransport:
    """Reads and writes the cookies. `origins` are those besides the request's own that may write."""

    def __init__(self, origins: Sequence[str] = ()) -> None:
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    def token(self, scope: Scope) -> bytes | None:
        """The access token of the cookie; None without one, and for two of that name."""
        return _cookie(scope, ACCESS)

    def refresh_token(self, scope: Scope) -> str | None:
        found = _cookie(scope, REFRESH)
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

    def write(
        self, headers: MutableHeaders, *, access: str, access_ttl: float, refresh: str, refresh_ttl: float
    ) -> None:
        """Set both cookies."""
        headers.append("set-cookie", _written(ACCESS, access, access_ttl))
        headers.append("set-cookie", _written(REFRESH, refresh, refresh_ttl))

    def clear(self, headers: MutableHeaders) -> None:
        """Take both cookies back."""
        headers.append("set-cookie", _written(ACCESS, "", 0))
        headers.append("set-cookie", _written(REFRESH, "", 0))


def _written(name: str, value: str, seconds: float) -> str:
    return f"{name}={value}; Path=/; Max-Age={int(seconds)}; HttpOnly; Secure; SameSite=Lax"


def _header(scope: Scope, name: bytes) -> bytes | None:
    found = [value for key, value in scope["headers"] if key == name]
    # Two of them cannot be told apart: neither counts as ours.
    return found[0] if len(found) == 1 else (b"" if found else None)


def _cookie(scope: Scope, name: str) -> bytes | None:
    prefix = name.encode() + b"="
    found = [
        part[len(prefix) :]
        for key, value in scope["headers"]
        if key == b"cookie"
        for part in (piece.strip() for piece in value.split(b";"))
        if part.startswith(prefix)
    ]
    return found[0][: MAX_LENGTH + 1] if len(found) == 1 and found[0] else None
