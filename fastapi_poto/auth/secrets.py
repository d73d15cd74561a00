"""The secrets that sign: checked at start-up, rotated by key id."""

import base64
import hashlib
import hmac
import logging
import re
import secrets as random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from ..errors import ConfigurationError
from .guessable import is_guessable

MIN_BYTES = 32
_CURE = 'Make one with: python -c "import secrets; print(secrets.token_urlsafe(48))"'

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ASYMMETRIC = (b"-----BEGIN", b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")


SecretValue = str | bytes | Sequence[str | bytes] | Mapping[str, str | bytes]

log = logging.getLogger("fastapi_poto")


class Secrets:
    """HMAC secrets by key id. The current one signs; the others still verify what they signed.

    `value` is one secret; or several, the current one first; or a mapping from key id to secret, the
    current one first. A secret without a name is named after its hash, so that every process of a
    cluster gives it the same name. Raises `ConfigurationError` for a secret that can be guessed.
    """

    __slots__ = ("_by_id", "current_id", "of_process")

    def __init__(self, value: SecretValue) -> None:
        if not isinstance(value, Mapping | Sequence) or isinstance(value, str | bytes):
            value = [value]
        by_id: dict[str, bytes] = {}
        if isinstance(value, Mapping):
            for kid, secret in value.items():
                if not _KEY_ID.fullmatch(kid):
                    raise ConfigurationError(
                        f"The key id {kid!r} is not 1 to 64 letters, digits, dots, dashes or underscores."
                    )
                by_id[kid] = _checked(secret)
        else:
            for secret in value:
                checked = _checked(secret)
                by_id[key_id(checked)] = checked
        if not by_id:
            raise ConfigurationError(f"There is no secret to sign with. {_CURE}")
        self._by_id = by_id
        self.current_id = next(iter(by_id))
        self.of_process = False
        """Made for this process, which nobody else knows."""

    @classmethod
    def random(cls) -> "Secrets":
        """One that ends with the process."""
        made = cls(random.token_bytes(48))
        made.of_process = True
        return made

    @property
    def current(self) -> bytes:
        return self._by_id[self.current_id]

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Key ids and secrets, the current one first."""
        return iter(self._by_id.items())

    def __repr__(self) -> str:
        return f"<Secrets {', '.join(self._by_id)}>"

    def derive(self, purpose: str) -> list[bytes]:
        """32-byte keys for another purpose than tokens, the current one first."""
        return [hmac.digest(secret, b"poto " + purpose.encode(), "sha256") for secret in self._by_id.values()]


def given_secrets(value: SecretValue | None, *, required: bool) -> Secrets:
    """What the application says; without a word of it one for the process, with a warning, unless one is `required`."""
    if value is not None:
        return Secrets(value)
    if required:
        raise ConfigurationError(
            f"Poto() has no secret, and tokens must outlive this process. {_CURE} and set it as POTO_SECRET or "
            "Poto(secret)."
        )
    log.warning(
        "Poto() has no secret: one was made for this process, and all tokens end with it. "
        "Set POTO_SECRET or Poto(secret) to keep them."
    )
    return Secrets.random()


def key_id(secret: bytes) -> str:
    """The name of a secret that was given none."""
    digest = hashlib.sha256(b"poto key id\0" + secret).digest()
    return base64.urlsafe_b64encode(digest[:9]).decode()


def _checked(secret: str | bytes) -> bytes:
    if not isinstance(secret, str | bytes):
        raise ConfigurationError(f"A secret is a string or bytes, not {type(secret).__name__}. {_CURE}")
    try:
        raw = secret.encode() if isinstance(secret, str) else bytes(secret)
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"The secret is not valid text. {_CURE}") from error
    stripped = raw.strip()
    if stripped.startswith(_ASYMMETRIC) or b"-----BEGIN" in raw or _is_der(raw, secret):
        raise ConfigurationError(
            f"The secret is a key or certificate (PEM, DER or SSH), whose public half others may know. {_CURE}"
        )
    if len(raw) < MIN_BYTES:
        raise ConfigurationError(f"The secret has {len(raw)} bytes; HS256 needs at least {MIN_BYTES}. {_CURE}")
    if is_guessable(raw):
        raise ConfigurationError(f"The secret was published, is a placeholder or is easily guessed. {_CURE}")
    return raw


def _is_der(raw: bytes, secret: str | bytes) -> bool:
    candidates = [raw]
    if isinstance(secret, str):
        with suppress(UnicodeEncodeError):
            candidates.append(secret.encode("latin-1"))
    with suppress(ValueError):
        candidates.append(base64.b64decode(b"".join(raw.split()), validate=True))
    return any(_is_key(candidate) for candidate in candidates)


def _is_key(der: bytes) -> bool:
    """Whether these bytes are a key or a certificate. Only what can be read as one is: a random secret is none."""
    if not der.startswith(b"\x30"):  # the tag of a SEQUENCE, which all of them are
        return False
    # Slow to import, and hardly ever needed.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
    from cryptography.x509 import load_der_x509_certificate

    for load in (load_der_public_key, lambda found: load_der_private_key(found, None), load_der_x509_certificate):
        try:
            load(der)
        except (TypeError, UnsupportedAlgorithm):  # encrypted, or of a kind that is not supported
            return True
        except ValueError:
            continue
        return True
    return False
