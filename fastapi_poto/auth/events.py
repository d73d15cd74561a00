"""What happened at the door: structured log records without secrets, and a hook for the application."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger("fastapi_poto.audit")

WARNINGS = frozenset({"sign_in_refused", "throttled", "refresh_reused", "cross_site_refused"})


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened. `fields` never hold a token, a password or a name that was typed."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)


class Audit:
    """Sends each event to the logger `fastapi_poto.audit` and to `hook`.

    A log record has `event` and the event's fields as attributes (`extra`). A hook is called on the event
    loop and should be quick; what it raises is logged and changes nothing.
    """

    def __init__(self, hook: Callable[[AuditEvent], object] | None = None) -> None:
        self.hook = hook

    def __call__(self, name: str, /, **fields: Any) -> None:
        fields = {key: value for key, value in fields.items() if value is not None}
        level = logging.WARNING if name in WARNINGS else logging.INFO
        if logger.isEnabledFor(level):
            detail = " ".join(f"{key}={value}" for key, value in fields.items())
            logger.log(level, "%s %s", name, detail, extra={"event": name, **fields})
        if self.hook is not None:
            try:
                self.hook(AuditEvent(name, fields))
            except Exception:
                logger.exception("The audit hook failed on %s", name)
