"""Password hashes: argon2id for what people choose, SHA-256 for what we drew by lot."""

import asyncio
import concurrent.futures
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import Unavailable
from ..telemetry import hashing

if TYPE_CHECKING:
    import argon2

T = TypeVar("T")

MIN_BYTES = 8
MAX_BYTES = 1_024
WAITING = 20
_SHA256 = "sha256$"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Passwords:
    """Hashes and checks passwords in threads of its own, one a core, so that the event loop never waits for one.

    `waiting` callers may stand in line; the next gets `Unavailable`. The parameters are OWASP's for argon2id:
    19 MiB, two passes, one lane. A password is taken as it comes: never cut, never normalised.
    """

    def __init__(
        self,
        *,
        memory_kib: int = 19_456,
        passes: int = 2,
        lanes: int = 1,
        at_once: int | None = None,
        waiting: int = WAITING,
    ) -> None:
        self._parameters: dict[str, Any] = {"time_cost": passes, "memory_cost": memory_kib, "parallelism": lanes}
        self._at_once = at_once or cores()
        self._capacity = self._at_once + waiting
        self._busy = 0
        self._lock = Lock()  # a place is taken on the event loop and given back by a thread
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None
        self._process = os.getpid()
        self._dummy: str | None = None

    async def hash(self, password: str) -> str:
        """A hash to keep. Raises `Unavailable` when too many wait."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one that was hashed. With no hash it takes as long, and is False."""
        return await self._run(lambda: self._verify(password_hash, password))

    @cached_property
    def _hasher(self) -> "argon2.PasswordHasher":
        from argon2 import PasswordHasher, Type  # slow to import, and not needed before somebody signs in

        return PasswordHasher(**self._parameters, type=Type.ID)

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        from argon2.exceptions import InvalidHashError

        try:
            return self._hasher.check_needs_rehash(password_hash)
        except InvalidHashError:
            return False

    def close(self) -> None:
        """Let the threads end. The next use starts new ones."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False)

    def _verify(self, password_hash: str | None, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        known = password_hash is not None
        if password_hash is None:
            # Made in a thread, with today's parameters, so that an unknown name costs what a wrong password costs.
            if self._dummy is None:
                self._dummy = self._hasher.hash(secrets.token_urlsafe(32))
            password_hash = self._dummy
        try:
            self._hasher.verify(password_hash, password)
        except InvalidHashError:  # of another kind: it costs what any other costs
            self._verify(None, password)
            return False
        except VerificationError:
            return False
        return known

    async def _run(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._process != os.getpid():  # a fork has no threads of its parent's
                self._process, self._threads, self._busy = os.getpid(), None, 0
            if self._busy >= self._capacity:
                raise Unavailable("Too many sign-ins at once", retry_after=1)
            if self._threads is None:
                self._threads = concurrent.futures.ThreadPoolExecutor(self._at_once, thread_name_prefix="poto-password")
            job = self._threads.submit(work)
            self._busy += 1
        hashing(1)
        # When the thread is done with it: a caller who has gone still keeps a core busy.
        job.add_done_callback(self._release)
        return await asyncio.wrap_future(job)

    def _release(self, _: object) -> None:
        with self._lock:
            self._busy -= 1
        hashing(-1)


def random_password() -> str:
    """256 random bits, for a visitor: nobody can try them out, so they need no slow hash."""
    return secrets.token_urlsafe(32)


def hash_random(password: str) -> str:
    """The hash of a password that `random_password` made; for no other."""
    return _SHA256 + hashlib.sha256(password.encode()).hexdigest()


def verify_random(password_hash: str | None, password: str) -> bool:
    """Whether this is a visitor's password; takes as long for no hash."""
    digest = hashlib.sha256(password.encode(errors="surrogatepass")).hexdigest()
    return hmac.compare_digest((password_hash or _SHA256).removeprefix(_SHA256).encode(), digest.encode())
