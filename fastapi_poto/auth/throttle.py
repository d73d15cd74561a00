"""How often somebody may try: counted in the store before a password is looked at, for the account and the address."""

import hmac
import json
from collections.abc import Callable
from typing import NamedTuple

from ..errors import TooManyRequests, Unavailable
from ..settings import DAY, HOUR, AuthSettings
from ..stores import records
from ..stores.base import Store
from ..users import Account
from .secrets import Secrets
from .users import name_key

_ATTEMPTS = 50
_REFUSED = "Too many failed sign-ins"


class _Tries(NamedTuple):
    """What is counted of an account: the tries that have not succeeded, those still under way among them."""

    failures: int = 0
    until: float = 0.0
    """No try before."""
    signed_in: int = 0
    """Successful tries in `window`."""
    window: int = 0


class Attempt(NamedTuple):
    """One try to sign in that was counted. `number` is the account's count with it."""

    account: str
    address: str
    number: int


class Throttle:
    """`begin` counts a try, and `succeeded` takes it back: one that fails, or whose end nobody sees, stays counted.

    Names that do not exist are counted like those that do. `throttle:account:<key>` has one field, changed by
    compare-and-set; the records of an address are named after their time window. A limit of None is none.
    """

    def __init__(self, store: Store, settings: AuthSettings, secrets: Secrets, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._settings = settings
        self._key = secrets.derive("throttle")[0]
        self._clock = clock

    def key(self, username: str, account: Account | None = None) -> str:
        """What is counted, and logged: the account, however its name was spelled; else the name that was typed.

        Keyed, since people type passwords into the wrong field.
        """
        counted = f"name:{name_key(username)}" if account is None else f"id:{account.user.id}"
        return hmac.digest(self._key, counted.encode(errors="surrogatepass"), "sha256").hex()[:32]

    async def begin(self, account: str, address: str) -> Attempt:
        """Count a try. Raises `TooManyRequests` while the account or the address has to wait, whatever the password."""
        await self.count_address(address)
        try:
            return Attempt(account, address, await self._count(account))
        except TooManyRequests:
            await self.forgive_address(address)
            raise

    async def _count(self, account: str) -> int:
        settings = self._settings

        def count(tries: _Tries) -> _Tries:
            self._check(tries)
            failures = tries.failures + 1
            delay = 0.0
            if failures >= settings.free_failures:
                delay = settings.first_delay * 2 ** min(failures - settings.free_failures, 30)
            until = self._clock() + min(delay, settings.longest_delay)
            return tries._replace(failures=failures, until=until if delay else 0.0)

        return (await self._change(account, count)).failures

    async def succeeded(self, attempt: Attempt) -> bool:
        """Forget the account's failures; False if the free tries were used up meanwhile: then it is as a failure."""
        settings = self._settings

        def forgive(tries: _Tries) -> _Tries:
            if attempt.number < tries.failures and tries.failures >= settings.free_failures:
                raise _OvertakenError
            window = int(self._clock() // settings.address_window)
            signed_in = tries.signed_in if tries.window == window else 0
            # Those that began later are still under way.
            return _Tries(max(0, tries.failures - attempt.number), 0.0, signed_in + 1, window)

        try:
            await self._change(attempt.account, forgive)
        except _OvertakenError:
            return False
        await self.forgive_address(attempt.address)
        return True

    async def withdraw(self, attempt: Attempt) -> None:
        """Take back a try whose password nobody looked at."""

        def withdraw(tries: _Tries) -> _Tries:
            until = 0.0 if tries.failures == attempt.number else tries.until
            return tries._replace(failures=max(0, tries.failures - 1), until=until)

        await self._change(attempt.account, withdraw)
        await self.forgive_address(attempt.address)

    # Addresses

    async def count_address(self, address: str) -> None:
        """Count a try that may fail. Raises `TooManyRequests` past the limit."""
        limit, window = self._settings.failures_per_address, self._settings.address_window
        await self._count_in_window(limit, "address", address, window, _REFUSED)

    async def forgive_address(self, address: str) -> None:
        """Take back one that did not fail."""
        if self._settings.failures_per_address is not None:
            record, _ = self._window("address", address, self._settings.address_window)
            await self._store.add(record, "count", -1)

    async def visitor(self, address: str) -> None:
        """Count a new visitor. Raises `TooManyRequests` past the limit."""
        await self._count_in_window(
            self._settings.visitors_per_hour, "visitors", address, HOUR, "Too many new visitors"
        )

    async def wrong_key(self, address: str) -> None:
        """Count a wrong API key. Raises `TooManyRequests` past the limit."""
        limit, window = self._settings.failures_per_address, self._settings.address_window
        await self._count_in_window(limit, "keys", address, window, "Too many wrong keys")

    async def _count_in_window(self, limit: int | None, kind: str, address: str, seconds: float, refused: str) -> None:
        if limit is not None:
            record, left = self._window(kind, address, seconds)
            if (await self._store.add(record, "count", 1, create=True, expires_in=left) or 0) > limit:
                raise TooManyRequests(refused, retry_after=left)

    def _window(self, kind: str, address: str, seconds: float) -> tuple[str, float]:
        """The record of the window that is now, and the seconds until it ends."""
        number, passed = divmod(self._clock(), seconds)
        return records.count(kind, address, int(number)), max(1.0, seconds - passed)

    # Accounts

    def _check(self, tries: _Tries) -> None:
        now, settings = self._clock(), self._settings
        if tries.until > now:
            raise TooManyRequests(_REFUSED, retry_after=tries.until - now)
        window, passed = divmod(now, settings.address_window)
        most = settings.sign_ins_per_account
        if most is not None and tries.window == window and tries.signed_in >= most:
            raise TooManyRequests("Too many sign-ins", retry_after=settings.address_window - passed)

    async def _change(self, account: str, change: Callable[[_Tries], _Tries]) -> _Tries:
        record = records.tries(account)
        for _ in range(_ATTEMPTS):
            fields = await self._store.read(record, ("tries",))
            old = fields.get("tries") if fields else None
            new = change(_parse(old))
            if await self._store.swap(record, "tries", old, _dump(new), create=True, expires_in=DAY):
                return new
        raise Unavailable("Too many sign-ins at once")


class _OvertakenError(Exception):
    """Others used up the free tries while this one was under way."""


def _dump(tries: _Tries) -> bytes:
    return json.dumps(tries, separators=(",", ":")).encode()


def _parse(raw: bytes | None) -> _Tries:
    """Nothing was counted where there is nothing, and where the bytes are no counters."""
    try:
        failures, until, signed_in, window = json.loads(raw or b"[0,0,0,0]")
        return _Tries(int(failures), float(until), int(signed_in), int(window))
    except (ValueError, TypeError):
        return _Tries()
