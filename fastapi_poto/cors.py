"""What a page of another origin may send to the routers of this package, and read of their answers."""

from collections.abc import Sequence
from typing import Final, TypedDict

from .auth.cookies import HEADER
from .errors import ConfigurationError

_SENT: Final = ("Authorization", "Content-Type", "Last-Event-ID", "Poto-Timeout-Ms", HEADER, "X-Request-ID")
_READ: Final = ("WWW-Authenticate", "Retry-After", "X-Request-ID", "Content-Disposition", "Content-Location")
_MAX_AGE: Final = 7_200
"""Seconds for which a browser remembers; Chromium believes no longer."""


class CorsArguments(TypedDict):
    """The arguments of Starlette's `CORSMiddleware`."""

    allow_origins: Sequence[str]
    allow_methods: Sequence[str]
    allow_headers: Sequence[str]
    expose_headers: Sequence[str]
    allow_credentials: bool
    max_age: int


def cors_arguments(origins: Sequence[str], *, cookies: bool) -> CorsArguments:
    """What `origins` need. Raises `ConfigurationError` if there are none."""
    if not origins:
        raise ConfigurationError("Poto.cors() is for pages of other origins. Write Poto(allowed_origins=[…]).")
    return {
        "allow_origins": [origin.rstrip("/").lower() for origin in origins],
        "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
        "allow_headers": list(_SENT),
        "expose_headers": list(_READ),
        "allow_credentials": cookies,  # the browser's own; a bearer token is none of them
        "max_age": _MAX_AGE,
    }
