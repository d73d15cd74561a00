"""An issuer's public keys: fetched once for everybody, kept, refreshed in the background."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from math import inf
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey

from ...errors import ConfigurationError, Unavailable
from .fetch import Fetcher, IssuerFailed, check_url

logger = logging.getLogger("fastapi_poto.auth")

RETRY = 30.0
"""Seconds between two fetches for keys that are not known, and after one that failed."""
_FIRST_RETRY = 5.0
_MAX_KEYS = 200
_SHOWN = 300
"""Characters of what went wrong: an issuer may have said it."""
_MIN_RSA_BITS = 2_048

Key = RSAKey | ECKey | OKPKey


class KeySet:
    """The keys of one issuer by their id, each with the algorithms that it may verify.

    `jwks_url`: where they are; None: where the discovery document says. No address ever comes from a token.
    """

    def __init__(
        self,
        issuer: str,
        *,
        discovery_url: str,
        jwks_url: str | None,
        refresh_interval: float,
        timeout: float,
        clock: Callable[[], float],
        on_change: Callable[[], object],
    ) -> None:
        self._issuer = issuer
        self._discovery_url = discovery_url
        self._configured_jwks_url = self._jwks_url = jwks_url
        self._refresh_interval = refresh_interval
        self._fetcher = Fetcher(timeout)
        self._clock = clock
        self._on_change = on_change
        self._keys: dict[str | None, tuple[Key, frozenset[str]]] = {}
        self._published: Any = None
        self._fetched_at = self._tried_at = self._asked_at = -inf
        self._failure: str | None = None
        self._fetching: asyncio.Task[None] | None = None
        self.endpoints: dict[str, str] = {}
        """Where people sign in, as the discovery document says; empty until it has been read."""

    async def key(self, kid: str | None, algorithm: str) -> Key | None:
        """The key; None if the issuer has no such key for this algorithm.

        Raises `Unavailable` if the issuer has never answered.
        """
        now = self._clock()
        if not self._keys:
            if self._fetching is not None or now - self._tried_at >= _FIRST_RETRY:
                await self.refresh()
            if not self._keys:
                raise Unavailable("The issuer cannot be reached")
        elif kid not in self._keys:
            if now - self._asked_at >= RETRY:
                self._asked_at = now
                await self.refresh(discover=False)
            elif self._fetching is not None:
                await self.refresh()  # the one that is under way
        key, algorithms = self._keys.get(kid, (None, frozenset[str]()))
        return key if algorithm in algorithms else None

    def refresh_if_old(self, now: float) -> None:
        """Begin a refresh that nobody waits for, if it is time."""
        if now - self._fetched_at >= self._refresh_interval and now - self._tried_at >= RETRY:
            self._start(discover=True)

    async def refresh(self, *, discover: bool = True) -> None:
        """Return when the keys are as new as they can be; one fetch, however many wait for it."""
        await asyncio.shield(self._start(discover))

    async def close(self) -> None:
        """Fetch no more. What another event loop began ended with it."""
        if self._fetching is not None and self._fetching.get_loop() is asyncio.get_running_loop():
            self._fetching.cancel()
        self._fetching = None

    def problem(self) -> str | None:
        """What is wrong with the issuer, if anything is."""
        return self._failure

    def _start(self, discover: bool) -> "asyncio.Task[None]":
        loop = asyncio.get_running_loop()
        if self._fetching is None or self._fetching.get_loop() is not loop:
            self._tried_at = self._clock()
            self._fetching = loop.create_task(self._fetch(discover), context=Context())
        return self._fetching

    async def _fetch(self, discover: bool) -> None:
        try:
            if self._configured_jwks_url is None and (discover or self._jwks_url is None):
                await self._discover()
            assert self._jwks_url is not None  # noqa: S101 - configured, or discovered
            self._take(await self._fetcher.object(self._jwks_url))
            self._fetched_at, self._failure = self._clock(), None
        except IssuerFailed as error:
            self._failure = str(error)[:_SHOWN]
            logger.warning("The keys of %s could not be fetched: %s", self._issuer, self._failure)
        except Exception as error:
            self._failure = f"{type(error).__name__}: {error}"
            logger.exception("The keys of %s could not be fetched", self._issuer)
        finally:
            self._fetching = None

    async def _discover(self) -> None:
        document = await self._fetcher.object(self._discovery_url)
        if document.get("issuer") != self._issuer:
            raise IssuerFailed(f"{self._discovery_url} is of the issuer {document.get('issuer')!r}")
        try:
            self._jwks_url = check_url(str(document.get("jwks_uri")), "jwks_uri")
        except ConfigurationError as error:
            raise IssuerFailed(str(error)) from None
        self.endpoints = {}
        for name in ("authorization_endpoint", "token_endpoint"):
            with suppress(ConfigurationError):  # they are for people who read our document
                self.endpoints[name] = check_url(str(document.get(name)), name)

    def _take(self, document: dict[str, Any]) -> None:
        listed = document.get("keys")
        if not isinstance(listed, list) or len(listed) > _MAX_KEYS:
            raise IssuerFailed(f"{self._jwks_url} is no set of keys")
        if listed == self._published:
            return
        keys: dict[str | None, tuple[Key, frozenset[str]]] = {}
        for one in listed:
            read = _read(one)
            if read is not None:
                kid = one.get("kid")
                if kid in keys:
                    raise IssuerFailed(f"{self._jwks_url} has two keys with one kid")
                keys[kid] = read
        if not keys:
            raise IssuerFailed(f"{self._jwks_url} has no key that can be used")
        if len(keys) == 1:
            keys[None] = next(iter(keys.values()))  # a token of the only key need not name it
        self._keys, self._published = keys, listed
        self._on_change()


def _read(jwk: Any) -> tuple[Key, frozenset[str]] | None:
    """A public key and what it may verify; None for one that is not for that, too weak, or not understood."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        return None
    if not isinstance(jwk.get("kid"), str | None):
        return None
    key: Key
    try:
        match jwk.get("kty"), jwk.get("crv"):
            case "RSA", None:
                key, algorithms = RSAKey.import_key({name: jwk[name] for name in ("kty", "n", "e")}), {"RS256", "PS256"}
                if key.public_key.key_size < _MIN_RSA_BITS:
                    return None
            case "EC", "P-256":
                key, algorithms = ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")}), {"ES256"}
            case "OKP", "Ed25519":
                key, algorithms = OKPKey.import_key({name: jwk[name] for name in ("kty", "crv", "x")}), {"EdDSA"}
            case _:
                return None
    except Exception:  # whatever is wrong with it, the others may be right
        return None
    said = jwk.get("alg")
    if said is not None:
        algorithms &= {"EdDSA" if said == "Ed25519" else said}
    return (key, frozenset(algorithms)) if algorithms else None
