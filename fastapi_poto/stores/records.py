"""The names of all records and logs that this package keeps, in one place.

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


def user(user_id: str) -> str:
    """An account: `login` (JSON), `roles` (JSON list), `disabled`."""
    return f"user:{user_id}"


def name(key: str) -> str:
    """Whose a name is: `id`."""
    return f"name:{key}"


def external(user_id: str) -> str:
    """What is said here of an issuer's user."""
    return f"external:{user_id}"


def key(key_id: str) -> str:
    """An API key: `key` (JSON), `hash`, `old` (a hash and until when), `used`."""
    return f"key:{key_id}"


def keys(user_id: str) -> str:
    """A field for each of a user's API keys: when it was made."""
    return f"keys:{user_id}"


def visitor(user_id: str) -> str:
    """The last `day` of a visitor."""
    return f"visitor:{user_id}"


def visitors(day: int, shard: object) -> str:
    """A field for each visitor of a day in one shard."""
    return f"visitors:{day}:{shard}"


def visitor_shards(day: int) -> str:
    """A field for each shard of a day that has visitors."""
    return f"visitor_shards:{day}"


def tries(account: str) -> str:
    """What is counted of an account."""
    return f"throttle:account:{account}"


def count(kind: str, address: str, window: int) -> str:
    """A `count` of what an address did in one window of time."""
    return f"throttle:{kind}:{address}:{window}"


def cookie_sessions(user_id: str) -> str:
    """What makes a user's older session cookies worthless."""
    return f"cookie:{user_id}"


def stream(stream_id: str) -> str:
    """The log of a stream: a frame for each item, whose it is, how it ended."""
    return f"stream:{stream_id}"


def seen(stream_id: str) -> str:
    """The log of up to which item of a stream a reader in another process has come."""
    return f"seen:{stream_id}"


def readers(stream_id: str) -> str:
    """A field for each reader of a stream in another process."""
    return f"readers:{stream_id}"


def running_stream(user_id: str, operation: str, key: str) -> str:
    """The `stream` that is found by a key."""
    return f"stream-key:{user_id}:{operation}:{key}"


def open_streams(kind: str, whose: str) -> str:
    """A field for each of a user's `streams` or `subscriptions` that are open, or for each `-at` an address."""
    return f"{kind}:{whose}"


def process(process_id: str) -> str:
    """The lease of a process: it lives for as long as this does."""
    return f"process:{process_id}"


def channel(key: str) -> str:
    """The log of a channel's events."""
    return f"topic:{key}"


def presence(key: str) -> str:
    """A field for each connection to a channel, and the log of who came and went."""
    return f"presence:{key}"
