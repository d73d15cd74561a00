"""Keeps secrets that a client put into a URL, where they do not belong, out of the server's access log."""

import logging
import re

_SECRET = re.compile(
    r"(?<![A-Za-z0-9_-])(?:poto-rt\.[A-Za-z0-9_.-]+|[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{20,})"
    r"|(?<=[?&])(access_token|refresh_token|token|id_token|password|client_secret|authorization|jwt)=[^&#\s]*",
    re.IGNORECASE,
)


def _replacement(match: "re.Match[str]") -> str:
    return f"{match[1]}=[redacted]" if match[1] else "[redacted]"


def redact(text: str) -> str:
    """The text without what looks like a token, or is the value of a parameter with such a name."""
    return _SECRET.sub(_replacement, text)


class RedactTokens(logging.Filter):
    """Rewrites the arguments of an access log's record. Lets every record through."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


def install() -> None:
    """Filter uvicorn's access log, once. Its own configuration of logging leaves filters where they are."""
    access = logging.getLogger("uvicorn.access")
    if not any(isinstance(one, RedactTokens) for one in access.filters):
        access.addFilter(RedactTokens())
