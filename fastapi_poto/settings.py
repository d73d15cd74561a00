"""The numbers and switches of the runtime, and how the environment sets them."""

import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Literal, get_type_hints
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from .errors import ConfigurationError


def wall_clock() -> float:
    """Seconds since 1970. `time.time` is looked up each time: freezegun puts another one there."""
    return time.time()


HOUR = 3_600.0
DAY = 24 * HOUR

_COOKIE_NAME = r"__Host-[A-Za-z0-9_-]{1,40}"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ORIGIN = r"(?i:[a-z][a-z0-9+.-]*)://[^/?#@*\s]+/?"
PREFIX = "POTO_"

_MAY_BE_ZERO = frozenset(
    {
        "ping_interval",
        "validity_interval",
        "retry",
        "replay_grace",
        "purge_interval",
        "body_timeout",
        "streams_per_user",
        "streams_per_address",
        "detached_streams",
        "subscriptions_per_user",
        "subscriptions_per_address",
    }
)


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

    visitors: bool = True
    """Whether strangers may sign in as visitors."""
    registration: bool = True
    """Whether visitors may give themselves a name and a password."""
    visitors_per_hour: int | None = 1_000
    """New ones, for one client address. Of all limits, None: without limit; 0: none at all."""
    visitor_idle: float = 30 * DAY
    free_failures: int = 5
    """Wrong passwords for one account before waiting begins."""
    first_delay: float = 1.0
    longest_delay: float = 15 * 60
    failures_per_address: int | None = 30
    """In one `address_window`."""
    sign_ins_per_account: int | None = 100
    """That succeed, in one `address_window`: who repeats their own password costs as much as who guesses."""
    address_window: float = 5 * 60
    trusted_proxies: Sequence[str] = ()
    """Networks whose `X-Forwarded-For` is believed. The server may have applied its own rule before (uvicorn does)."""

    cookies: bool = False
    """Also accept the access token in a cookie, with CSRF protection, and set it for clients that ask."""
    allowed_origins: Sequence[str] = ()
    """Origins of pages besides the request's own: they may write with the cookie, and `Poto.cors()` lets them call."""
    cookie_name: str = "__Host-poto"
    """Of the access token; with `-refresh` and `-session` behind it of the other cookies. Two applications on one host
    need two."""
    cookie_same_site: Literal["lax", "strict", "none"] = "lax"
    """`none` where pages of another site sign in: `allowed_origins` says which."""

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
            if not re.fullmatch(_ORIGIN, origin):
                raise ConfigurationError(
                    f"AuthSettings: allowed_origins takes origins such as https://app.example, not {origin!r}."
                )
        if not re.fullmatch(_COOKIE_NAME, self.cookie_name):
            raise ConfigurationError(
                f"AuthSettings: cookie_name={self.cookie_name!r}. Write __Host- and 1 to 40 letters, digits, dashes or "
                "underscores: browsers keep such a cookie to this host, and send it over TLS alone."
            )
        if self.cookies:
            self._check_sites()
        self.proxy_networks()

    def _check_sites(self) -> None:
        """Raise `ConfigurationError` for pages whose browsers would not send the cookie."""
        origins = [urlsplit(origin.lower()) for origin in self.allowed_origins]
        if self.cookie_same_site == "none":
            if not origins:
                raise ConfigurationError(
                    "AuthSettings: cookie_same_site='none' is for pages of other sites, and allowed_origins names "
                    "none. Name them, or remove cookie_same_site."
                )
            return
        insecure = [one.geturl() for one in origins if one.scheme == "http" and one.hostname not in _LOOPBACK]
        if insecure:
            raise ConfigurationError(
                f"AuthSettings: allowed_origins has {insecure[0]}. A browser sends the cookie, which is Secure, to "
                "https:// pages of this site alone. Serve the page over TLS."
            )
        sites = {".".join((one.hostname or "").split(".")[-2:]) for one in origins if one.hostname not in _LOOPBACK}
        if len(sites) > 1:
            raise ConfigurationError(
                f"AuthSettings: allowed_origins are of several sites ({', '.join(sorted(sites))}), and a browser does "
                f"not send a SameSite={self.cookie_same_site.capitalize()} cookie from one site to another. "
                "Set cookie_same_site='none', or serve them from one site."
            )

    @property
    def namespace(self) -> str:
        """Of records: tokens of one issuer for two audiences are those of two applications."""
        return self.issuer if self.issuer == self.audience else f"{self.issuer} {self.audience}"

    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        try:
            return tuple(ip_network(network, strict=False) for network in self.trusted_proxies)
        except ValueError as error:
            raise ConfigurationError(
                f"AuthSettings: trusted_proxies takes addresses and networks such as 10.0.0.0/8: {error}"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Times are in seconds, sizes in bytes."""

    max_body_size: int = 16 * 1024 * 1024
    """Of a call. A limit of the router or of its inclusion goes before."""
    body_timeout: float = 30.0
    """So long a call waits in all for its body, and a second more for every 16 KiB that come; 0: for ever."""
    session_idle: float = 14 * DAY
    session_absolute: float = 30 * DAY
    session_value_bytes: int = 64 * 1024
    session_keys: int = 256
    ping_interval: float = 15.0
    """Silence after which a stream sends a keep-alive; 0: none."""
    send_timeout: float = 30.0
    """So long a stream waits for a reader that has stopped reading."""
    cleanup_timeout: float = 10.0
    """So long a generator's `finally` may take."""
    stream_buffer: int = 64 * 1024
    recheck_interval: float = 15.0
    """Between two looks at whether an open stream's caller may still call."""
    retry: float | None = None
    """What streams tell a browser to wait before it reconnects."""
    replay_items: int = 1_000
    """Of a resumable stream, the items kept for a client that comes back."""
    replay_grace: float = 30.0
    """So long a resumable generator runs on without a reader."""
    streams_per_user: int | None = 8
    """Resumable streams of one user that run at a time, on all servers; None: any number."""
    streams_per_address: int | None = 64
    """Those of all callers from one client address who are visitors, or nobody; None: any number."""
    detached_streams: int | None = 200
    """Resumable streams without a reader in one process: the one whose reader left first ends for one more."""
    subscriptions_per_user: int | None = 32
    """Streams of one user that subscribe to topics at a time, on all servers; None: any number."""
    subscriptions_per_address: int | None = 256
    """Those of all callers from one client address who are visitors, or nobody; None: any number."""
    purge_interval: float = 300.0
    """Between two rounds that remove what has expired; 0: none."""
    namespace: str | None = None
    """Goes before the names of all records, so that applications share a store and do not meet; by default, what the
    issuer and the audience of the tokens are."""
    auth: AuthSettings = field(default_factory=AuthSettings)

    def __post_init__(self) -> None:
        for name, value in ((one.name, getattr(self, one.name)) for one in fields(self)):
            if isinstance(value, int | float) and not (value > 0 or (value == 0 and name in _MAY_BE_ZERO)):
                least = "0 or more" if name in _MAY_BE_ZERO else "above 0"
                raise ConfigurationError(f"Settings: {name} must be {least}, not {value!r}.")

    @property
    def sign_in_life(self) -> float:
        """Of a user's sign-in record, which says what their session is called: no session outlives it."""
        return max(self.auth.refresh_absolute, self.session_absolute)


def with_options(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """The settings with some of their numbers, or of sign-in's, replaced. Raises `TypeError` for an unknown name."""
    hints = _hints()
    for name in options:
        if name not in hints:
            raise TypeError(f"Poto() has no option {name!r}. There are: {', '.join(sorted(hints))}.")
    checked = {
        name: _checked(hints[name], value, f"Poto({name}={value!r})", "Change or remove it.")
        for name, value in options.items()
    }
    own = {one.name for one in fields(Settings)}
    for_auth = {name: value for name, value in checked.items() if name not in own}
    for_own = {name: value for name, value in checked.items() if name in own}
    return replace(settings, auth=replace(settings.auth, **for_auth), **for_own)


def from_environment(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The options that `POTO_<NAME>` variables set: `POTO_VISITORS_PER_HOUR=none`; of lists, the items by commas.

    Raises `ConfigurationError` for a value that does not fit, and for a name that is nearly an option's.
    """
    options: dict[str, Any] = {}
    hints = {**_hints(), "strict": bool}
    known = {PREFIX + name.upper() for name in (*hints, "secret", "previous_secrets", "store")}
    for variable in sorted(one for one in environment if one.startswith(PREFIX) and one not in known):
        from difflib import get_close_matches

        # Other names are somebody else's: Kubernetes sets POTO_PORT and the like for a service that is called poto.
        if near := get_close_matches(variable, known, 1, 0.9):
            raise ConfigurationError(f"{variable} is no option. Write {near[0]}, or rename the variable.")
    for name, hint in hints.items():
        sent = environment.get(PREFIX + name.upper())
        if sent is None:
            continue
        listed = "Sequence" in str(hint)
        value: Any = [item.strip() for item in sent.split(",") if item.strip()] if listed else sent
        if sent.lower() == "none" and "None" in str(hint):
            value = None
        options[name] = _checked(hint, value, f"{PREFIX}{name.upper()}={sent!r}", "Change or unset the variable.")
    return options


def _hints() -> dict[str, Any]:
    hints = {**get_type_hints(AuthSettings), **get_type_hints(Settings)}
    del hints["auth"]
    return hints


def _checked(hint: Any, value: Any, shown: str, cure: str) -> Any:
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise ConfigurationError(f"{shown}: {error.errors()[0]['msg'].lower()}. {cure}") from None
