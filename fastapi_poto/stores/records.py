"""The names of all records that this package keeps, in one place.

A store may be shared with other applications: each has a namespace, which goes before all of its names (see
`Namespaced`).
"""

import hashlib
import re
import secrets

_GENERATION = re.compile(rb"[0-9a-f]{16}")


def session(user_id: str, generation: str) -> str:
    """A user's session; it has another `generation` each time that it was ended."""
    return f"session:{user_id}:{generation}" if generation else f"session:{user_id}"


def generation(field: bytes | None) -> str:
    """What the field `session` of a sign-in record says; of junk, something that nobody's session is called."""
    if not field:
        return ""
    return field.decode() if _GENERATION.fullmatch(field) else f"junk{hashlib.sha256(field).hexdigest()[:16]}"


def new_generation() -> bytes:
    return secrets.token_hex(8).encode()


def sign_ins(user_id: str) -> str:
    """A user's token families, and the generation of their session in the field `session`."""
    return f"auth:{user_id}"


def cookie_sessions(user_id: str) -> str:
    """What makes a user's older session cookies worthless."""
    return f"cookie:{user_id}"
