"""Sessions in an encrypted cookie: nothing on the server but who has signed out.

What the cookie holds, before base64url:

    1 byte    version
    4 bytes   key id
    8 bytes   expiry, seconds since the epoch
    12 bytes  nonce
    the rest  AES-256-GCM of: began, issued (8 bytes each), epoch (8), then the fields, each a length of 1 byte and
              the key, a length of 2 bytes and the value

The bytes before the nonce, the purpose and the user's id are the associated data: a cookie of another user, another
purpose or with another expiry does not open.
"""

import base64
import binascii
import hashlib
import logging
import secrets
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from ..errors import ConfigurationError, SessionEnded, SessionUnsupported, TooLarge
from ..settings import DAY, wall_clock
from ..stores import records
from ..stores.base import Store
from .sent_cookies import sent_cookies
from .session import Caller, Session, SessionStats

logger = logging.getLogger("fastapi_poto.sessions")

COOKIE = "__Host-poto-session"
COOKIE_BYTES = 4096
"""Of the whole Set-Cookie value, attributes included: what every browser keeps (RFC 6265, 6.1)."""

_VERSION = 1
_HEAD = struct.Struct(">B4sQ")
_BODY = struct.Struct(">QQ8s")
_NONCE_BYTES = 12
_NO_EPOCH = bytes(8)


class _Refused(Exception):
    """The cookie does not count. `forged`: nobody honest sends such a one."""

    def __init__(self, reason: str, *, forged: bool = True) -> None:
        super().__init__(reason)
        self.forged = forged


class CookieSessions:
    """Sessions that travel with each request, encrypted: no store to run, and far weaker promises.

    - Two requests at once each answer with a whole session, and the browser keeps the last: `increment` and
      `update` raise `SessionUnsupported`, and concurrent writes to different keys can lose one.
    - 4,096 bytes in all, attributes included: a write past it raises `TooLarge` and changes nothing.
    - Nothing can be written from inside a stream, nor once the answer has begun: `SessionUnsupported`.
    - The session is the browser's, not the user's: another device has another one.

    `end` (at sign-out) makes every cookie of the user so far worthless, by a mark in `store` that lives as long as
    they could. `keys` are of 32 bytes, the current one first; cookies under the others still open. Times as in
    `Sessions`.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        store: Store,
        *,
        clock: Callable[[], float] = wall_clock,
        idle: float = 14 * DAY,
        absolute: float = 30 * DAY,
        touch: float = 60.0,
        max_keys: int = 256,
        is_active: Callable[[Any], Awaitable[bool]] | None = None,
        cookie_name: str = COOKIE,
    ) -> None:
        if not keys or any(len(key) != 32 for key in keys):
            raise ConfigurationError("CookieSessions needs one or more keys of 32 bytes: secrets.token_bytes(32)")
        self.store = store
        self.cookie_name = cookie_name
        self.is_active = is_active
        self.clock = clock
        self.idle = idle
        self.absolute = absolute
        self.touch = min(touch, idle / 4)
        self.max_keys = max_keys
        from cryptography.exceptions import InvalidTag  # slow to import, and for those alone who keep sessions here
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._invalid_tag = InvalidTag
        self._ciphers = {hashlib.sha256(b"poto cookie key id\0" + key).digest()[:4]: AESGCM(key) for key in keys}
        self._current = next(iter(self._ciphers))

    def handle(self, caller: Caller) -> Session[Any]:
        """The session of the call's user. Does no I/O."""
        if caller.user is None:
            raise SessionEnded("A session needs a signed-in caller")
        return Session(_CookieBackend(self, caller, caller.user.id))

    async def end(self, user_id: str) -> None:
        """Refuse all cookies that the user has had so far."""
        mark = {"epoch": secrets.token_bytes(8)}
        await self.store.write(records.cookie_sessions(user_id), mark, create=True, expires_in=self.absolute + 60)

    async def forget(self, user_id: str) -> None:
        """No cookie of theirs opens without its user."""
        await self.store.delete(records.cookie_sessions(user_id))

    async def stats(self, *, limit: int = 100_000) -> SessionStats:
        """The server cannot know how many cookies there are."""
        return SessionStats(live=0, complete=False, store=type(self).__name__)

    async def epoch(self, user_id: str) -> bytes | None:
        """What marks the cookies since the user's last sign-out; None if that was longer ago than a cookie lives."""
        found = await self.store.read(records.cookie_sessions(user_id), ("epoch",))
        return None if found is None else found.get("epoch")

    def seal(
        self, user_id: str, fields: Mapping[str, bytes], *, began: int, issued: int, expires: int, epoch: bytes
    ) -> str:
        """The cookie's value."""
        head = _HEAD.pack(_VERSION, self._current, expires)
        body = [_BODY.pack(began, issued, epoch)]
        for key, value in fields.items():
            name = key.encode()
            body.append(struct.pack(f">B{len(name)}sH{len(value)}s", len(name), name, len(value), value))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, b"".join(body), _bound(head, user_id))
        return base64.urlsafe_b64encode(head + nonce + sealed).rstrip(b"=").decode("ascii")

    def unseal(self, user_id: str, cookie: bytes) -> tuple[dict[str, bytes], int, int, bytes]:
        """Fields, began, issued, epoch. Raises `_Refused`."""
        if len(cookie) > COOKIE_BYTES:
            raise _Refused("oversized")
        try:
            raw = base64.urlsafe_b64decode(cookie + b"=" * (-len(cookie) % 4))
        except (binascii.Error, ValueError):
            raise _Refused("not base64url") from None
        if base64.urlsafe_b64encode(raw).rstrip(b"=") != cookie or len(raw) < _HEAD.size + _NONCE_BYTES:
            raise _Refused("cut short or not base64url")
        head, nonce, sealed = raw[: _HEAD.size], raw[_HEAD.size :][:_NONCE_BYTES], raw[_HEAD.size + _NONCE_BYTES :]
        version, key_id, expires = _HEAD.unpack(head)
        cipher = self._ciphers.get(key_id)
        if version != _VERSION or cipher is None:
            raise _Refused("an unknown version or key", forged=False)
        try:
            body = cipher.decrypt(nonce, sealed, _bound(head, user_id))
        except self._invalid_tag:
            raise _Refused("tampered with, another user's, or for another purpose") from None
        if expires <= self.clock():
            raise _Refused("expired", forged=False)
        began, issued, epoch = _BODY.unpack_from(body)
        return _fields(body[_BODY.size :]), began, issued, epoch


def _bound(head: bytes, user_id: str) -> bytes:
    return b"poto session cookie\0" + head + user_id.encode()


def _fields(body: bytes) -> dict[str, bytes]:
    fields: dict[str, bytes] = {}
    at = 0
    while at < len(body):
        key_end = at + 1 + body[at]
        (size,) = struct.unpack_from(">H", body, key_end)
        fields[body[at + 1 : key_end].decode()] = body[key_end + 2 : key_end + 2 + size]
        at = key_end + 2 + size
    return fields


class _CookieBackend:
    """One call's view of the cookie: opened at the first use, sent back after each write."""

    __slots__ = ("_began", "_caller", "_epoch", "_fields", "_sent", "_sessions", "_user_id", "value_bytes")

    def __init__(self, sessions: CookieSessions, caller: Caller, user_id: str) -> None:
        self.value_bytes = COOKIE_BYTES
        self._sessions = sessions
        self._caller = caller
        self._user_id = user_id
        self._fields: dict[str, bytes] | None = None
        self._began: int | None = None
        self._epoch = _NO_EPOCH
        self._sent: tuple[bytes, bytes] | None = None

    async def read(self, keys: Sequence[str] | None) -> dict[str, bytes]:
        fields = await self._open()
        return dict(fields) if keys is None else {key: fields[key] for key in keys if key in fields}

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        before = await self._open()
        self._check_not_started()
        after = {key: value for key, value in {**before, **changes}.items() if value is not None}
        if after == before:
            return
        if len(after) > self._sessions.max_keys and len(after) > len(before):
            raise TooLarge(f"A session has at most {self._sessions.max_keys} keys")
        if self._began is None:
            valid = self._sessions.is_active
            if valid is not None and not await valid(self._caller.identity):
                raise SessionEnded
        if after:
            self._send(after)
        else:
            self._clear()
        self._fields = after

    async def add(self, key: str, by: int) -> int:
        raise _unsupported("increment")

    async def swap(self, key: str, old: bytes | None, new: bytes) -> bool:
        raise _unsupported("update")

    async def clear(self) -> None:
        await self.write(dict.fromkeys(await self._open()))

    def key_lock(self, key: str) -> AbstractAsyncContextManager[Any]:
        raise _unsupported("update")

    async def _open(self) -> dict[str, bytes]:
        if self._fields is not None:
            return self._fields
        epoch = await self._sessions.epoch(self._user_id)
        return self._fields if self._fields is not None else self._read_cookie(epoch)

    def _read_cookie(self, epoch: bytes | None) -> dict[str, bytes]:
        sent = [one for one in sent_cookies(self._caller.scope, self._sessions.cookie_name) if one]
        fields: dict[str, bytes] = {}
        issued = 0
        try:
            if len(sent) > 1:
                raise _Refused("sent twice")
            if sent:
                fields, began, issued, marked = self._sessions.unseal(self._user_id, sent[0])
                if epoch is not None and epoch != marked:
                    raise _Refused("from before the user signed out", forged=False)
                self._began, self._epoch = began, marked
        except _Refused as refused:
            fields = {}
            level = logging.WARNING if refused.forged else logging.INFO
            logger.log(level, "A session cookie is treated as absent and cleared: %s", refused)
            if not self._started():
                self._clear()
        self._fields = fields
        if self._began is None:
            self._epoch = epoch or _NO_EPOCH
        elif self._sessions.clock() - issued >= self._sessions.touch and not self._started():
            self._send(fields)  # used: its idle time starts anew
        return fields

    def _started(self) -> bool:
        # A stream's headers go out while its generator runs: whether a write came before them would be a race.
        return self._caller.is_streaming or self._caller.has_begun

    def _check_not_started(self) -> None:
        if self._started():
            raise SessionUnsupported("A cookie session cannot be written from a stream, nor once the answer has begun")

    def _send(self, fields: Mapping[str, bytes]) -> None:
        sessions = self._sessions
        now = int(sessions.clock())
        began = now if self._began is None else self._began
        expires = int(min(now + sessions.idle, began + sessions.absolute))
        try:
            value = sessions.seal(self._user_id, fields, began=began, issued=now, expires=expires, epoch=self._epoch)
        except struct.error:
            raise _too_large() from None
        header = self._header(value, max(0, expires - now))
        if len(header) > COOKIE_BYTES:
            raise _too_large()
        self._began = began
        self._replace(header)

    def _header(self, value: str, seconds: int) -> bytes:
        name = self._sessions.cookie_name
        return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax".encode("ascii")

    def _clear(self) -> None:
        self._began = None
        self._replace(self._header("", 0))

    def _replace(self, header: bytes) -> None:
        headers = self._caller.response_headers
        if self._sent is not None and self._sent in headers:
            headers.remove(self._sent)
        self._sent = (b"set-cookie", header)
        headers.append(self._sent)


def _too_large() -> TooLarge:
    return TooLarge(f"The session would not fit into a cookie of {COOKIE_BYTES} bytes")


def _unsupported(operation: str) -> SessionUnsupported:
    return SessionUnsupported(
        f"A cookie session cannot {operation}(): requests at once would undo each other. Keep sessions in a store."
    )
