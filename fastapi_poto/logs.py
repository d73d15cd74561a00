"""Log records of this package: each says in which request it was made, also where nobody has set up logging."""

import logging
import sys
from collections.abc import Iterator

from .context import current_context
from .errors import NoContextError

_LOGGERS = ("fastapi_poto", *(f"fastapi_poto.{room}" for room in ("audit", "auth", "sessions", "stores")))
_FORMAT = "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"


def add_request_ids() -> None:
    """Have each record say its time, level and request; once a process, however often it is asked for."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_with_request_id)
    logger = logging.getLogger(_LOGGERS[0])
    if not any(isinstance(handler, _LastResort) for handler in logger.handlers):
        logger.addHandler(_LastResort(logging.WARNING))


def _with_request_id(record: logging.LogRecord) -> bool:
    try:
        record.request_id = current_context().request_id
    except NoContextError:
        record.request_id = "-"
    return True


class _LastResort(logging.Handler):
    """To stderr, what no handler of the application's takes. Python's own has neither time nor level."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.setFormatter(logging.Formatter(_FORMAT, defaults={"request_id": "-"}))

    def emit(self, record: logging.LogRecord) -> None:
        if all(handler is self for handler in _handlers_of(record.name)):
            try:
                sys.stderr.write(f"{self.format(record)}\n")
            except Exception:
                self.handleError(record)


def _handlers_of(name: str) -> Iterator[logging.Handler]:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None
