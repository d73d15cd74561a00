"""The protocol that every store implements: records of named fields, each field atomic on its own."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from math import inf
from typing import NamedTuple, Protocol, TypedDict, Unpack, runtime_checkable

from ..errors import BadRequest, TooLarge
from .log import EventLog


class Life(NamedTuple):
    """How long a record lives that an operation makes, in seconds. `ends_in` is a limit that nothing prolongs."""

    expires_in: float
    ends_in: float = inf


Wanted = tuple[str, Sequence[str]]
"""A record, and the fields of it that somebody wants to read."""


class Page(NamedTuple):
    """Names of records, and the cursor of the next page; None at the end."""

    names: list[str]
    cursor: str | None


class Terms(TypedDict, total=False):
    """What an operation may say of the record that it changes: see `Store`."""

    create: bool | Life
    expires_in: float | None
    max_fields: int | None
    """`TooLarge` is raised, and nothing has changed, if the record would have more of them."""


@runtime_checkable
class Store(Protocol):
    """Records of named fields that expire as a whole.

    A record is a session, a user, a token family, a counter: whatever has a few fields, each
    changed on its own. `record` is a name of `records`, fields are strings without NUL, values are bytes.
    Every operation is atomic, alone and against all others of any process on the same store, and
    what it acknowledged is what the next one sees. An expired record does not exist.

    A write without `create` never brings a record into being, so a slow writer cannot undo a delete; nor does one
    with `create` where a `delete` has barred the name. `create` may be the `Life` of a record that is made.
    `expires_in` is in seconds from now: given, it becomes the record's life, up to the end that its `Life` set; None
    leaves the life of an existing record as it is, and gives a new one that of `create`, or no end.

    A name of more than 1,024 bytes, with a NUL or a lone surrogate raises `BadRequest`: a user name that a client
    sent may be part of it. A store object serves any number of event loops and threads of its process.

    Beside its records a store keeps event logs: `log`. For a store of one process, `MemoryStore().log` will do.

    A store that cannot be reached raises `Unavailable` within a second; every operation may.
    """

    log: EventLog

    async def read(self, record: str, fields: Sequence[str] | None = None) -> dict[str, bytes] | None:
        """The record's fields, all or those of `fields` that are there; None if there is no such record."""
        ...

    async def read_many(self, wanted: Sequence[Wanted]) -> list[dict[str, bytes] | None]:
        """What `read` gives for each, asked in one round trip. They may be of different moments."""
        ...

    async def write(self, record: str, changes: Mapping[str, bytes | None], **terms: Unpack[Terms]) -> bool:
        """Set fields, or remove those whose value is None, all or none; False if there is no such record."""
        ...

    async def add(self, record: str, field: str, by: int, **terms: Unpack[Terms]) -> int | None:
        """Add to an integer field (absent: 0; kept as ASCII digits) and give the sum; None if no such record.

        Raises `ValueError` if the field is not an integer of 64 bits. `create=Life(…)` gives a counter a window that
        counting does not prolong.
        """
        ...

    async def swap(
        self, record: str, field: str, old: bytes | None, new: bytes | None, **terms: Unpack[Terms]
    ) -> bool | None:
        """Compare and set: `new` if the field is `old` (None: absent); False if it is not; None if no such record.

        With `create` a record that is not there counts as one without fields: None means that it is barred.
        """
        ...

    async def delete(self, record: str, *, bar_for: float = 0.0) -> bool:
        """Remove the record with all its fields; False if there was none.

        For `bar_for` seconds nobody can make it again.
        """
        ...

    async def names(self, prefix: str, *, cursor: str | None = None, limit: int = 1000) -> Page:
        """Names of live records that start with `prefix`, in no order, about `limit` at a time.

        For administration, never for a call. A record that is there all the time is on one page or, rarely, on two.
        """
        ...

    async def life(self, record: str) -> Life | None:
        """How long the record still lives, `inf` without an end; None if there is no such record.

        For administration: a copy lives as long as the original.
        """
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


async def all_names(store: Store, prefix: str) -> AsyncIterator[str]:
    """What `names` gives, page by page to the end."""
    cursor: str | None = None
    while True:
        page = await store.names(prefix, cursor=cursor)
        for name in page.names:
            yield name
        cursor = page.cursor
        if cursor is None:
            return


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


def life_left(now: float, expires_at: float | None, ends_at: float | None) -> Life:
    """The life of a record that has these times, in seconds."""
    return Life(*(inf if at is None else max(0.001, at - now) for at in (expires_at, ends_at)))


def check_room(before: Collection[str], changes: Mapping[str, bytes | None], most: int) -> None:
    """Raise `TooLarge` if a record with these fields would have more than `most`, unless it becomes smaller."""
    after = {field for field in before if changes.get(field, b"") is not None}
    after |= {field for field, value in changes.items() if value is not None}
    if len(after) > most and len(after) > len(before):
        raise TooLarge(f"More than {most} fields")


def life_of(create: bool | Life, expires_in: float | None) -> tuple[float | None, float | None]:
    """Of a record that an operation makes: in how many seconds it expires, and the limit of that."""
    if not isinstance(create, Life):
        return expires_in, None
    end = None if create.ends_in == inf else create.ends_in
    return min(create.expires_in if expires_in is None else expires_in, create.ends_in), end


def range_of(prefix: str, cursor: str | None) -> tuple[str, str]:
    """The names that `names` is to give, in the order of their bytes: from the first on, and before the last."""
    # No name has a NUL, so the next one after the cursor that is possible has the letter 1 more.
    return prefix if cursor is None else cursor + "\x01", prefix + "\U0010ffff"
