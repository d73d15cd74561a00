"""What a token says, checked and read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from ...stores.base import is_name

Claims = Mapping[str, Any]
RoleSource = str | Sequence[str] | Callable[[Claims], Iterable[str]] | None

LEEWAY = 10.0
_NAMES = ("preferred_username", "username", "email", "name")
_NO_ACCESS_TOKENS = frozenset({"id", "refresh", "offline", "logout"})


class Refused(Exception):
    """The claims do not hold; why."""


@dataclass(frozen=True, slots=True)
class ClaimsPolicy:
    """What an issuer's tokens have to say."""

    issuer: str
    audiences: frozenset[str]
    """Any of them; empty: whatever the audience is."""
    audience_claim: str
    authorized_parties: frozenset[str]
    subject: str
    required: Claims

    def check(self, claims: Claims, now: float) -> None:
        """Raise `Refused` unless all of it holds now."""
        if claims.get("iss") != self.issuer:
            raise Refused("another issuer")
        if not _number(claims.get("exp")) or now >= claims["exp"] + LEEWAY:
            raise Refused("expired")
        if not _number(claims.get("iat")) or claims["iat"] > now + LEEWAY:
            raise Refused("issued in the future, or never")
        if "nbf" in claims and not (_number(claims["nbf"]) and claims["nbf"] <= now + LEEWAY):
            raise Refused("not valid yet")
        if self.audiences and self.audiences.isdisjoint(texts(claims.get(self.audience_claim))):
            raise Refused("for another audience")
        if self.authorized_parties and self.authorized_parties.isdisjoint(texts(claims.get("azp"))):
            raise Refused("given to another party")
        if any(type_.lower() in _NO_ACCESS_TOKENS for type_ in texts(claims.get("typ"))):
            raise Refused("no access token")
        subject = claims.get(self.subject)
        if type(subject) is not str or not subject.isprintable() or not subject or not is_name(subject, 512):
            raise Refused(f"without {self.subject}")
        if any(claims.get(name) != value for name, value in self.required.items()):
            raise Refused("a required claim is another")


def texts(value: Any) -> list[str]:
    """The strings that a claim has: one, a list of them, or the names of an object's members."""
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list | dict) else []


def read_roles(claims: Claims, source: RoleSource) -> frozenset[str]:
    """The roles at a dotted path, at several, or as a function finds them. A path may be a claim's whole name."""
    if source is None:
        return frozenset()
    if callable(source):
        return frozenset(source(claims))
    paths = [source] if isinstance(source, str) else source
    return frozenset(role for path in paths for role in texts(_at(claims, path)))


def _at(claims: Claims, path: str) -> Any:
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def read_scopes(claims: Claims) -> frozenset[str]:
    """OAuth's scopes: `scope`, or `scp` as Entra and Okta call it."""
    found = claims.get("scope", claims.get("scp"))
    return frozenset(found.split() if isinstance(found, str) else texts(found))


def read_name(claims: Claims) -> str | None:
    """What the issuer's users are called by."""
    return next((claims[name] for name in _NAMES if isinstance(claims.get(name), str)), None)


def _number(value: Any) -> bool:
    return (type(value) is int and abs(value) < 2**53) or (type(value) is float and isfinite(value))
