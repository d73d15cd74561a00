"""One log record when a store begins to fail, with the cause, and one when it is back."""

import logging
import time

from ..errors import Unavailable

logger = logging.getLogger("fastapi_poto.stores")

_QUIET_SECONDS = 10.0


class Outage:
    """What a store knows of its own failures. `store` names it as logs may: without credentials."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._began: float | None = None
        self._told_at = -_QUIET_SECONDS
        self._told = False

    def failed(self, cause: BaseException) -> Unavailable:
        """Note it, and give what the caller is told."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        if not self._told and now - self._told_at >= _QUIET_SECONDS:
            self._told, self._told_at = True, now
            reason = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
            logger.error("%s fails, calls that need it are refused: %s", self._store, reason)
        error = Unavailable("The store cannot be reached")
        error.__cause__ = cause
        return error

    def answered(self) -> None:
        """Note that it works."""
        if self._began is None:
            return
        if self._told:
            logger.warning("%s is back after %.1f s", self._store, time.monotonic() - self._began)
        self._began, self._told = None, False
