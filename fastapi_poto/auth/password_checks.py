"""Whether somebody knows an account's password: throttled, in turn, and telling nothing else."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from weakref import WeakValueDictionary

from ..errors import Unavailable
from ..stores.per_loop import PerLoop
from ..users import Account
from .events import Audit
from .hashing_queue import HashingQueue
from .passwords import WAITING, Passwords, cores, verify_random
from .throttle import Throttle
from .users import VISITOR_PREFIX


class PasswordChecks:
    """Checks the passwords of one account one after the other, and those of many accounts in fair turns.

    So the honest who sign in at once do not use up each other's free tries, and nobody who repeats a password, their
    own even, keeps others from signing in.
    """

    def __init__(self, passwords: Passwords, throttle: Throttle, audit: Audit) -> None:
        self._passwords = passwords
        self._throttle = throttle
        self._audit = audit
        self._begun: Counter[str] = Counter()
        self._locks: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()
        self._queues = PerLoop(lambda: HashingQueue(cores(), WAITING))

    async def check(self, username: str, account: Account | None, password: str, *, address: str, what: str) -> bool:
        """Whether `account`, found under `username`, is signed in with this password; what did not hold is logged.

        Raises `TooManyRequests` and `Unavailable`, both before the password is looked at.
        """
        key = self._throttle.key(username, account)
        async with self._in_turn(key):
            if username.startswith(VISITOR_PREFIX):
                reason = await self._try(key, username, account, password, address, what)
            else:
                async with self.turn(address):
                    reason = await self._try(key, username, account, password, address, what)
        if reason is not None:
            user_id = account.user.id if account is not None else None
            self._audit("sign_in_refused", user_id=user_id, address=address, account=key, reason=reason)
        return reason is None

    def turn(self, address: str) -> AbstractAsyncContextManager[None]:
        """A turn to hash, fair to all addresses. Raises `Unavailable`."""
        return self._queues.get().turn(address)

    async def _try(
        self, key: str, username: str, account: Account | None, password: str, address: str, what: str
    ) -> str | None:
        """Why nobody is signed in; None if all is well."""
        with self._audit.throttling(address, what, key):
            attempt = await self._throttle.begin(key, address)
        password_hash = account.password_hash if account is not None else None
        if username.startswith(VISITOR_PREFIX):
            good = verify_random(password_hash, password) and password_hash is not None
        else:
            try:
                good = await self._passwords.verify(password_hash, password)
            except Unavailable:
                await self._throttle.withdraw(attempt)
                raise
        if account is None or not good or account.disabled:
            return "unknown" if account is None else "disabled" if good else "password"
        return None if await self._throttle.succeeded(attempt) else "overtaken"

    @asynccontextmanager
    async def _in_turn(self, key: str) -> AsyncIterator[None]:
        if self._begun[key] > WAITING:
            raise Unavailable("Too many sign-ins at once")
        self._begun[key] += 1
        lock = self._locks.setdefault((id(asyncio.get_running_loop()), key), asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            self._begun[key] -= 1
            if not self._begun[key]:
                del self._begun[key]
