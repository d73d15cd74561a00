"""What happened at sign-in: structured log records without secrets, and a callback of the application."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from ..errors import TooManyRequests
from ..telemetry import auth_event
from ..wire import is_private

logger = logging.getLogger("fastapi_poto.audit")

WARNINGS = frozenset({"sign_in_refused", "throttled", "refresh_reused", "cross_site_refused", "key_refused"})


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened. `fields` never hold a token, a password or a name that was typed."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)


class Audit:
    """Sends each event to the logger `fastapi_poto.audit` and to `on_event`.

    A log record has `event` and the event's fields as attributes (`extra`). `on_event` is called on the event
    loop and should be quick; what it raises is logged and changes nothing.
    """

    def __init__(self, on_event: Callable[[AuditEvent], object] | None = None) -> None:
        self._on_event = on_event

    def __call__(self, name: str, /, **fields: Any) -> None:
        auth_event(name)
        fields = {key: value for key, value in fields.items() if value is not None}
        level = logging.WARNING if name in WARNINGS else logging.INFO
        if logger.isEnabledFor(level):
            detail = " ".join(f"{key}={value}" for key, value in fields.items())
            logger.log(level, "%s %s", name, detail, extra={"event": name, **fields})
        if self._on_event is not None:
            try:
                self._on_event(AuditEvent(name, fields))
            except Exception:
                logger.exception("Poto(on_event=…) failed on %s", name)

    @contextmanager
    def throttling(self, address: str, what: str, account: str | None = None) -> Iterator[None]:
        """Tell of a `TooManyRequests` that the block raises."""
        try:
            yield
        except TooManyRequests:
            self("throttled", address=address, account=account, what=what)
            raise


_SECRET = re.compile(
    r"(?<![A-Za-z0-9_-])(?:poto-rt\.[A-Za-z0-9_.-]+|[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{20,})"
    r"|(?<=poto_[0-9a-f]{16}_)[A-Za-z0-9_-]+",  # an API key's secret; its id may stay
    re.IGNORECASE,
)
_PARAMETER = re.compile(r"(?<=[?&;])([^=&;#?\s]+)=([^&;#\s]+)")


def redact(text: str) -> str:
    """The text without what looks like a token, or is the value of a parameter named like one, however encoded."""
    return _SECRET.sub("[redacted]", _PARAMETER.sub(_redacted, text))


def _redacted(parameter: re.Match[str]) -> str:
    name, value = parameter.groups()
    return f"{name}=[redacted]" if is_private(unquote(name)) or _SECRET.search(unquote(value)) else parameter[0]


class RedactTokens(logging.Filter):
    """Rewrites the arguments of an access log's record. Lets every record through."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


def redact_access_log() -> None:
    """Filter uvicorn's access log, once. Its own configuration of logging leaves filters where they are."""
    access = logging.getLogger("uvicorn.access")
    if not any(isinstance(one, RedactTokens) for one in access.filters):
        access.addFilter(RedactTokens())
