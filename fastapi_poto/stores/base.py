"""The protocol that every store implements: records of named fields, each field atomic on its own."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Protocol, runtime_checkable

from ..errors import BadRequest
from .log import EventLog


@runtime_checkable
class Store(Protocol):
    """Records of named fields that expire as a whole.

    A record is a session, a user, a token family, a counter: whatever has a few fields, each
    changed on its own. `record` is `"<kind>:<id>"`, fields are non-empty strings, values are bytes.
    Every operation is atomic, alone and against all others of any process on the same store, and
    what it acknowledged is what the next one sees. An expired record does not exist.

    `expires_in` is in seconds from now: given, it becomes the record's life; None leaves the life
    of an existing record as it is and gives a new one no end. A write without `create` never
    brings a record into being, so a slow writer cannot undo a delete.

    A name of more than 1,024 bytes, with a NUL or a lone surrogate raises `BadRequest`: a user name that a client
    sent may be part of it. A store object serves any number of event loops and threads of its process.

    Beside its records a store keeps event logs: `log`.

    A store that cannot be reached raises `Unavailable` within a second; every operation may.
    """

    log: EventLog

    async def read(self, record: str, fields: Sequence[str] | None = None) -> dict[str, bytes] | None:
        """The record's fields, all or those of `fields` that are there; None if there is no such record."""
        ...

    async def write(
        self,
        record: str,
        changes: Mapping[str, bytes | None],
        *,
        create: bool = False,
        expires_in: float | None = None,
        max_fields: int | None = None,
    ) -> bool:
        """Set fields, or remove those whose value is None, all or none; False if there is no such record.

        Raises `TooLarge` and changes nothing if the record would have more than `max_fields`.
        """
        ...

    async def add(
        self,
        record: str,
        field: str,
        by: int,
        *,
        create: bool = False,
        expires_in: float | None = None,
        max_fields: int | None = None,
    ) -> int | None:
        """Add to an integer field (absent: 0; kept as ASCII digits) and give the sum; None if no such record.

        `expires_in` here holds for a record that this call creates, so that a counter's window is
        not prolonged by counting. Raises `ValueError` if the field is not an integer of 64 bits.
        """
        ...

    async def swap(
        self,
        record: str,
        field: str,
        old: bytes | None,
        new: bytes | None,
        *,
        create: bool = False,
        expires_in: float | None = None,
        max_fields: int | None = None,
    ) -> bool | None:
        """Compare and set: `new` if the field is `old` (None: absent); False if it is not; None if no such record.

        With `create` a record that is not there counts as one without fields: None is never given.
        """
        ...

    async def delete(self, record: str) -> bool:
        """Remove the record with all its fields; False if there was none."""
        ...

    async def rename(self, record: str, new: str) -> bool:
        """Move the record with its life to another name; False if there is no such record, or the name is taken."""
        ...

    async def scan(self, prefix: str, *, limit: int = 1000) -> list[str]:
        """Names of live records that start with `prefix`, in no order; for administration, never for a call."""
        ...

    async def purge(self, *, limit: int = 500) -> int:
        """Remove up to `limit` expired records and give their number; blocks other callers for one batch at most."""
        ...

    async def ping(self) -> None:
        """Return if the store answers, else raise `Unavailable`."""

    async def open(self) -> None:
        """Connect, create what is missing. Called again after `close`, and safe to call twice.

        The first operation does the same where nobody did.
        """

    async def close(self) -> None:
        """Let go of connections and tasks. Safe to call twice."""


INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1


def parse_integer(value: bytes) -> int:
    """A field's 64-bit integer as `add` keeps it. Raises `ValueError` for anything else."""
    digits = value[1:] if value.startswith(b"-") else value
    if not digits.isdigit() or len(digits) > 19:
        raise ValueError("the field does not hold an integer of 64 bits")
    return check_integer(int(value))


def check_integer(number: int) -> int:
    """`number` if it has 64 bits, else `ValueError`."""
    if not INTEGER_MIN <= number <= INTEGER_MAX:
        raise ValueError("the field does not hold an integer of 64 bits")
    return number


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


def take_number(options: dict[str, str], name: str, default: float) -> float:
    """Take a number out of the URL's options. Raises `ValueError` unless it is more than 0."""
    number = float(options.pop(name, default))
    if not 0 < number < inf:
        raise ValueError(f"{name} is to be more than 0")
    return number
