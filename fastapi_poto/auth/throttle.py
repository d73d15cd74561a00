"""How often somebody may guess: failures are counted for the account and for the address, in the store."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import TooManyRequests
from ..settings import DAY, HOUR, AuthSettings
from ..stores.base import Store
from .users import name_key


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in, as the counters stood at its start."""

    account: str
    address: str
    failures: int


class Throttle:
    """`begin` a try, and tell how it ended with `failed` or `succeeded`. All three raise `TooManyRequests`.

    Names that do not exist are counted like those that do. The record `throttle:account:<hash>` has the
    fields `failures` and `until`; that of an address and of its visitors is named after its time window.
    """

    def __init__(self, store: Store, settings: AuthSettings, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def begin(self, username: str, address: str) -> Attempt:
        """Raises while the account or the address has to wait, whatever the password."""
        account = account_key(username)
        failures, until = await self._state(account)
        now = self._clock()
        if until > now:
            raise TooManyRequests("Too many failed sign-ins", retry_after=until - now)
        await self.check_address(address)
        return Attempt(account, address, failures)

    async def failed(self, attempt: Attempt) -> None:
        """Count it. Raises if the account had no free try left when this one ended."""
        settings = self._settings
        record = f"throttle:account:{attempt.account}"
        failures = await self._store.add(record, "failures", 1, create=True, expires_in=DAY) or 0
        delay = 0.0
        if failures >= settings.free_failures:
            doublings = min(failures - settings.free_failures, 30)
            delay = min(settings.first_delay * 2**doublings, settings.longest_delay)
            until = self._clock() + delay
            await self._store.write(record, {"until": repr(until).encode()})
        await self.count_address(attempt.address)
        self._refuse_overtaken(attempt, failures - 1, delay)

    async def succeeded(self, attempt: Attempt) -> None:
        """Forget the account's failures. Raises if others failed meanwhile: guesses sent at once gain nothing."""
        failures, until = await self._state(attempt.account)
        self._refuse_overtaken(attempt, failures, max(1.0, until - self._clock()))
        if failures:
            await self._store.delete(f"throttle:account:{attempt.account}")

    async def check_address(self, address: str) -> None:
        """Raises if too much that came from this address has failed."""
        settings = self._settings
        if settings.failures_per_address:
            record, left = self._window("address", address, settings.address_window)
            fields = await self._store.read(record, ("failures",))
            if fields and _number(fields.get("failures")) >= settings.failures_per_address:
                raise TooManyRequests("Too many failed sign-ins", retry_after=left)

    async def count_address(self, address: str) -> None:
        """Note a failure from this address."""
        if self._settings.failures_per_address:
            record, left = self._window("address", address, self._settings.address_window)
            await self._store.add(record, "failures", 1, create=True, expires_in=left)

    async def visitor(self, address: str) -> None:
        """Count a new visitor from this address."""
        limit = self._settings.visitors_per_hour
        if limit:
            record, left = self._window("visitors", address, HOUR)
            if (await self._store.add(record, "visitors", 1, create=True, expires_in=left) or 0) > limit:
                raise TooManyRequests("Too many new visitors", retry_after=left)

    async def wrong_key(self, address: str) -> None:
        """Count a wrong API key from this address. Raises once there were too many."""
        limit = self._settings.failures_per_address
        if limit:
            record, left = self._window("keys", address, self._settings.address_window)
            if (await self._store.add(record, "failures", 1, create=True, expires_in=left) or 0) > limit:
                raise TooManyRequests("Too many wrong keys", retry_after=left)

    def _refuse_overtaken(self, attempt: Attempt, failures: int, delay: float) -> None:
        if failures >= self._settings.free_failures and failures != attempt.failures:
            raise TooManyRequests("Too many failed sign-ins", retry_after=delay)

    async def _state(self, account: str) -> tuple[int, float]:
        fields = await self._store.read(f"throttle:account:{account}", ("failures", "until"))
        if not fields:
            return 0, 0.0
        return int(_number(fields.get("failures"))), _number(fields.get("until"))

    def _window(self, kind: str, address: str, seconds: float) -> tuple[str, float]:
        """The record of the window that is now, and the seconds until it ends."""
        number, passed = divmod(self._clock(), seconds)
        return f"throttle:{kind}:{address}:{int(number)}", max(1.0, seconds - passed)


def account_key(username: str) -> str:
    """A name as it appears in the store and in logs, where a password typed into the wrong field must not."""
    return hashlib.sha256(name_key(username).encode(errors="surrogatepass")).hexdigest()[:32]


def _number(raw: bytes | None) -> float:
    """0 for what is absent, and for bytes that are no number."""
    try:
        return float(raw) if raw is not None else 0.0
    except ValueError:
        return 0.0
