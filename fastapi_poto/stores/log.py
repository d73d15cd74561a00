"""The event log beside the records: bounded, expiring, append-only, one for each key."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

DAY = 86_400.0
MICROSECONDS = 1_000_000


class Entry(NamedTuple):
    """What is appended to one log, all of it or nothing. Times are in seconds."""

    key: str
    events: Sequence[bytes] = ()
    end: bytes | None = None
    """The last thing that is said in the log. The first end wins: no append is taken after it."""
    head: bytes | None = None
    """What the log is about; the first one is kept for as long as the log is."""
    keep: int = 1_000
    """So many events are kept when these are appended: the newest."""
    keep_bytes: int = 1 << 20
    """And no more than so many bytes of them, but always the newest event."""
    life: float = DAY
    """So long an event is kept."""
    remember: float = DAY
    """So long after this append the log is known at all: what its last id was, and how it ended."""


class Appended(NamedTuple):
    """Where an entry's events went: their ids are consecutive, and the last of them (or the end's) is `last`."""

    start: int
    """The log's last id before: nothing is between it and the first of these events."""
    last: int


class Batch(NamedTuple):
    """The events of one log that follow a position; at most as many as were asked for."""

    start: int
    """All events after this id are here, up to the last one given: it is that of the event before them. Not the
    position that was asked for where events after that were dropped (greater) or the store lost it (less)."""
    last: int
    """The newest id of the log: an event's, or the end's."""
    events: Sequence[tuple[int, bytes]] = ()
    end: bytes | None = None
    """How the log ended, where these are all events up to its end."""
    head: bytes | None = None


News: TypeAlias = Mapping[str, "int | Batch"]
OnWake: TypeAlias = Callable[[News | None], None]
"""Told, on the loop that watches, which logs have gone on: to which id, or with what. None: any of them may have."""


class Watch(Protocol):
    """A process's ear: one connection or socket, however many keys are followed."""

    def follow(self, keys: Collection[str]) -> None:
        """Hear of these logs too, from now on or a moment later: then comes a wake of None."""

    def unfollow(self, keys: Collection[str]) -> None:
        """Hear of these logs no more."""

    async def close(self) -> None:
        """Let go of the connection."""


class KeyedWatch:
    """The keys of a watch to which the news of all logs come."""

    def __init__(self, on_wake: OnWake) -> None:
        self._on_wake = on_wake
        self._keys: set[str] = set()

    def follow(self, keys: Collection[str]) -> None:
        self._keys.update(keys)

    def unfollow(self, keys: Collection[str]) -> None:
        self._keys.difference_update(keys)

    def _own(self, news: Mapping[str, T]) -> dict[str, T]:
        return {key: last for key, last in news.items() if key in self._keys}

    def _wake_all(self) -> None:
        if self._keys:
            self._on_wake(None)


class EventLog(Protocol):
    """The logs of one store, for any number of processes.

    An event's id is the greater of the last id plus 1 and the store's clock in microseconds: ids rise in the order in
    which events become visible to readers, are never given twice, even by a store that was restored from an older
    copy, and have 16 digits. An end has an id as well. An append is atomic. Every operation may raise `Unavailable`;
    an append that did may have been made.
    """

    async def append(self, entries: Sequence[Entry]) -> list[Appended | None]:
        """Append each entry, at most one to a log; None for one whose log has ended."""
        ...

    async def read(self, after: Mapping[str, int], *, limit: int = 256, begin: bool = True) -> dict[str, Batch]:
        """What follows these positions: one snapshot of each log that is not at just that position.

        A log that is not there yet begins here, at the present time: whoever asked knows all that comes. Without
        `begin` it is left out.
        """
        ...

    async def watch(self, on_wake: OnWake) -> Watch:
        """Be told that a log has gone on, after that is visible. A wake may be lost or doubled: `read` is the truth."""
        ...

    async def purge(self, *, limit: int = 500) -> int:
        """Remove up to `limit` logs that are no longer remembered, and give their number."""
        ...
