"""What records and fields may be called; a name that a client sent may be part of it."""

from ..errors import BadRequest

NAME_BYTES = 1024


def is_name(text: str, most_bytes: int) -> bool:
    """Whether every store can keep this name: no NUL, no lone surrogate, not too long."""
    if "\0" in text:
        return False
    if text.isascii():
        return len(text) <= most_bytes
    try:
        return len(text.encode()) <= most_bytes
    except UnicodeEncodeError:
        return False


def check_name(record: str) -> None:
    """Raise `BadRequest` for a name that not every store can keep."""
    if not is_name(record, NAME_BYTES):
        raise BadRequest("A name is too long or not text")
