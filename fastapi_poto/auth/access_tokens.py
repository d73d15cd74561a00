"""Access tokens: the strict check in front of python-jose.

python-jose checks the signature; all else is checked here, since it accepts tokens without `exp`, string times,
unknown `crit`, junk in the signature and an asymmetric key as HMAC secret, and lets RecursionError, TypeError,
UnicodeEncodeError and others past its own errors. RFC 8725 says what to check, RFC 9068 names the type.
"""

import json
import re
import secrets as random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import Unauthenticated
from ..settings import AuthSettings
from .secrets import Secrets

MAX_LENGTH = 4_096
TYPE = "at+jwt"
_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")
_JTI = re.compile(r"([A-Za-z0-9_-]{22})\.[A-Za-z0-9_-]{8,32}")


class Claims(NamedTuple):
    """What a token says, once it is known to be ours. Times are whole seconds since 1970."""

    user_id: str
    jti: str
    family: str
    epoch: int
    """How often all of the user's sign-ins had been ended before: the claim `ver`."""
    issued_at: int
    expires_at: int


class AccessTokens:
    """Makes access tokens, and verifies them: `verify` gives `Claims` or raises `Unauthenticated`, nothing else."""

    def __init__(self, secrets: Secrets, settings: AuthSettings, *, clock: Callable[[], float]) -> None:
        from jose import jws  # slow to import, and not needed before there is an application
        from jose.backends import HMACKey

        self._jws = jws
        self._keys: dict[str, Any] = {kid: HMACKey(secret, "HS256") for kid, secret in secrets}
        self._current = secrets.current_id
        self._issuer = settings.issuer
        self._audience = settings.audience
        self._clock = clock

    def issue(self, user_id: str, *, family: str, epoch: int, ttl: float) -> tuple[str, Claims]:
        """A token of the current secret that is good for `ttl` seconds."""
        now = int(self._clock())
        claims = Claims(user_id, f"{family}.{random.token_urlsafe(9)}", family, epoch, now, now + int(ttl))
        payload = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": claims.user_id,
            "iat": claims.issued_at,
            "exp": claims.expires_at,
            "jti": claims.jti,
            "ver": claims.epoch,
        }
        header = {"typ": TYPE, "kid": self._current}
        return self._jws.sign(payload, self._keys[self._current], headers=header, algorithm="HS256"), claims

    def verify(self, token: str) -> Claims:
        """The claims of a token that one of our secrets signed and that holds now."""
        try:
            claims = self._verified(token)
        except Exception:  # whatever it was, the token does not hold
            claims = None
        if claims is None:
            raise Unauthenticated
        return claims

    def _verified(self, token: str) -> Claims | None:
        if len(token) > MAX_LENGTH or not token.isascii():
            return None
        shape = _SHAPE.fullmatch(token)
        if shape is None:
            return None
        header = decode_part(shape[1])
        if header.keys() != {"alg", "typ", "kid"} or header["alg"] != "HS256" or header["typ"] != TYPE:
            return None
        check_canonical(shape[3])
        # The alg is fixed here, and the key is an HMAC key by its type: there is nothing left to confuse.
        self._jws.verify(token, self._keys[header["kid"]], algorithms=["HS256"])
        return self._checked(decode_part(shape[2]))

    def _checked(self, payload: dict[str, Any]) -> Claims | None:
        now = self._clock()
        subject, jti = payload["sub"], payload["jti"]
        times = [payload["iat"], payload["exp"], payload["ver"], payload.get("nbf", 0)]
        if not all(type(value) is int and 0 <= value < 2**53 for value in times):
            return None
        issued_at, expires_at, epoch, not_before = times
        if payload["iss"] != self._issuer or payload["aud"] != self._audience:
            return None
        if not expires_at > now or issued_at > now or not_before > now or issued_at >= expires_at:
            return None
        if type(subject) is not str or not 0 < len(subject) <= 256 or not subject.isprintable():
            return None
        if type(jti) is not str:
            return None
        parts = _JTI.fullmatch(jti)
        return None if parts is None else Claims(subject, jti, parts[1], epoch, issued_at, expires_at)


def check_canonical(part: str) -> bytes:
    """The bytes of a base64url part that is written the one right way. Raises `ValueError` for another."""
    raw = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        raise ValueError("not canonical")
    return raw


def decode_part(part: str) -> dict[str, Any]:
    value = json.loads(check_canonical(part), object_pairs_hook=_unique, parse_constant=_refuse)
    if type(value) is not dict:
        raise ValueError("not an object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
