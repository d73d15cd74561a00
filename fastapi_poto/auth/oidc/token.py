"""The strict shape of an issuer's token, and its signature."""

import re
from dataclasses import dataclass
from typing import Any

from joserfc import jws

from ..access_tokens import check_canonical, decode_part
from .key_set import Key

MAX_LENGTH = 8_192
"""Characters. Entra lists up to 200 groups in one."""

ALGORITHMS = frozenset({"RS256", "PS256", "ES256", "EdDSA"})
_SHAPE = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_NEVER = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"})
"""Members of a header that bring a key of their own, or change how the rest is to be read."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token's parts, its signature not yet checked."""

    text: bytes
    algorithm: str | None
    """None for a header that no access token may have."""
    kid: str | None
    claims: dict[str, Any]


def parse(text: bytes) -> UnverifiedToken | None:
    """The parts of a JWS in compact form; None for what is none."""
    if len(text) > MAX_LENGTH:
        return None
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        return None
    try:
        header, claims = decode_part(shape[1].decode()), decode_part(shape[2].decode())
        check_canonical(shape[3].decode())
    except (ValueError, RecursionError):
        return None
    algorithm, kid, type_ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    acceptable = (
        not _NEVER & header.keys()
        and isinstance(algorithm, str)
        and (kid is None or isinstance(kid, str))
        and isinstance(type_, str)
        and type_.lower() in _TYPES
    )
    if not acceptable:
        algorithm = kid = None
    elif algorithm == "Ed25519":
        algorithm = "EdDSA"  # RFC 9864's name, and what most issuers still call it
    return UnverifiedToken(text, algorithm, kid, claims)


def has_signature_of(token: UnverifiedToken, key: Key) -> bool:
    """Whether the key signed the token, by the token's algorithm, which is one of `ALGORITHMS`."""
    try:
        jws.deserialize_compact(token.text, key, registry=_Registry())
    except Exception:  # whatever it was, the signature does not hold
        return False
    return True


class _Registry(jws.JWSRegistry):
    """joserfc's, which knows by itself only what it recommends: EdDSA under its old name is not."""

    def __init__(self) -> None:
        super().__init__(strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        return self.algorithms["EdDSA" if name == "Ed25519" else name]  # one of ours: checked before
