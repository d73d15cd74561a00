"""What a record may be called; a user name that a client sent may be part of it."""

from ..errors import BadRequest

NAME_BYTES = 1024


def check_name(record: str) -> None:
    """Raise `BadRequest` for a name that not every store could keep: too long, with a NUL, or no Unicode text."""
    if len(record) > NAME_BYTES // 4 or not record.isascii():
        try:
            fits = len(record.encode()) <= NAME_BYTES
        except UnicodeEncodeError:
            fits = False
        if not fits:
            raise BadRequest("A name is too long or not text")
    if "\0" in record:
        raise BadRequest("A name is not text")
