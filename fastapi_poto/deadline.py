"""How long the caller waits: `Poto-Timeout-Ms`, as gRPC has `grpc-timeout`."""

import time
from typing import Final

from .errors import BadRequest

DEADLINE_HEADER: Final = b"poto-timeout-ms"
_MOST_DIGITS: Final = 10  # 115 days


def parse_deadline(sent: bytes) -> float:
    """The `time.monotonic()` at which the caller stops waiting.

    `Poto-Timeout-Ms` has the milliseconds from now, 1 to 10 digits and nothing else.
    Raises `BadRequest` for any other value.
    """
    digits = sent.strip(b" \t")
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise BadRequest("Poto-Timeout-Ms takes a number of milliseconds")
    return time.monotonic() + int(digits) / 1000
