"""How long the caller waits: `Poto-Timeout-Ms`, as gRPC has `grpc-timeout`."""

import time
from collections.abc import Iterable
from typing import Final

from .errors import BadRequest

DEADLINE_HEADER: Final = b"poto-timeout-ms"
_MOST_DIGITS: Final = 10  # 115 days


def parse_deadline(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """The `time.monotonic()` at which the caller stops waiting; None if it did not say.

    `Poto-Timeout-Ms` has the milliseconds from now, 1 to 10 digits and nothing else.
    Raises `BadRequest` for any other value, and for two of them.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == DEADLINE_HEADER:
            if found is not None:
                raise BadRequest("More than one Poto-Timeout-Ms header")
            found = value
    if found is None:
        return None
    digits = found.strip(b" \t")
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise BadRequest("Poto-Timeout-Ms takes a number of milliseconds")
    return time.monotonic() + int(digits) / 1000
