"""The numbers and switches of sign-in."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from ..errors import ConfigurationError

HOUR = 3_600.0
DAY = 24 * HOUR

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\s]+/?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """Times are in seconds. The defaults follow OWASP's ASVS 5 where it names a number."""

    realm: str = "poto"
    issuer: str = "poto"
    audience: str = "poto"

    access_ttl: float = 15 * 60
    refresh_idle: float = 7 * DAY
    refresh_absolute: float = 30 * DAY
    refresh_grace: float = 10.0
    """So long a spent refresh token repeats its answer: an honest client has two tabs, or lost the first answer."""
    sign_ins_per_user: int = 200
    """A user's oldest sign-in ends when one more would pass this."""

    visitors_per_hour: int = 1_000
    """For one client address; 0: no limit."""
    visitor_idle: float = 30 * DAY
    free_failures: int = 5
    """Wrong passwords for one account before waiting begins."""
    first_delay: float = 1.0
    longest_delay: float = 15 * 60
    failures_per_address: int = 30
    """In one `address_window`; 0: no limit."""
    address_window: float = 5 * 60
    trusted_proxies: Sequence[str] = ()
    """Networks whose `X-Forwarded-For` is believed. The server may have applied its own rule before (uvicorn does)."""

    cookies: bool = False
    """Also accept the access token in a cookie, with CSRF protection, and set it for clients that ask."""
    allowed_origins: Sequence[str] = ()
    """Origins besides the request's own that may write with the cookie."""

    remembered_tokens: int = 10_000
    """How many verified signatures are kept, so that a token is decoded once."""
    max_body_size: int = 16 * 1024
    """Bytes, of each sign-in route."""

    def __post_init__(self) -> None:
        if not 0 < self.access_ttl <= self.refresh_idle <= self.refresh_absolute < math.inf:
            raise ConfigurationError(
                "AuthSettings: access_ttl must be above 0 and not above refresh_idle, "
                "refresh_idle not above refresh_absolute, and none of them endless."
            )
        for name in ("realm", "issuer", "audience"):
            value = getattr(self, name)
            if not value or not value.isascii() or not value.isprintable() or '"' in value or "\\" in value:
                raise ConfigurationError(f"AuthSettings: {name} must be printable ASCII without quotes, not {value!r}.")
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigurationError(
                    f"AuthSettings: allowed_origins takes origins such as https://app.example, not {origin!r}."
                )
        self.proxy_networks()

    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        try:
            return tuple(ip_network(network, strict=False) for network in self.trusted_proxies)
        except ValueError as error:
            raise ConfigurationError(
                f"AuthSettings: trusted_proxies takes addresses and networks such as 10.0.0.0/8: {error}"
            ) from error
