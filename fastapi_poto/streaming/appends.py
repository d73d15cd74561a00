"""What is appended to logs at the same time goes to the store together."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final

from ..stores.log import Appended, Batch, Entry, EventLog, News

_GROUP_BYTES: Final = 1 << 20


class Appends:
    """One append in flight for all of an event loop; what comes meanwhile makes the next one."""

    def __init__(self, events: EventLog, on_news: Callable[[News], None]) -> None:
        """`on_news` is told what has been appended, before those who wait for it."""
        self._log = events
        self._on_news = on_news
        self._waiting: list[tuple[Entry, asyncio.Future[Appended | None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    async def append(self, entry: Entry) -> Appended | None:
        """Append to a log; None if it has ended. Cancelled where nothing is appended any more."""
        loop = asyncio.get_running_loop()
        if self._is_closed:
            raise asyncio.CancelledError
        done: asyncio.Future[Appended | None] = loop.create_future()
        self._waiting.append((entry, done))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run(), context=Context())
        return await done

    async def _run(self) -> None:
        while self._waiting:
            parts, count = self._next_group()
            group, self._waiting = self._waiting[:count], self._waiting[count:]
            entries = [_join(own) for own in parts.values()]
            try:
                done = await self._log.append(entries)
            except Exception as error:
                for _, waiting in group:
                    if not waiting.done():
                        waiting.set_exception(error)
                continue
            shares: dict[str, list[Appended | None]] = {}
            for entry, own, one in zip(entries, parts.values(), done, strict=True):
                shares[entry.key] = _shares(own, one)
                if one is not None:
                    events = list(enumerate(entry.events, one.last - _ids(entry) + 1))
                    self._on_news({entry.key: Batch(one.start, one.last, events, entry.end, entry.head)})
            for entry, waiting in group:
                share = shares[entry.key].pop(0)
                if not waiting.done():
                    waiting.set_result(share)

    def _next_group(self) -> tuple[dict[str, list[Entry]], int]:
        """The entries of each log that go next, and how many these are."""
        parts: dict[str, list[Entry]] = {}
        size = count = 0
        for entry, _ in self._waiting:
            own = parts.setdefault(entry.key, [])
            if size > _GROUP_BYTES or (own and not _may_follow(own[-1], entry)):
                break
            own.append(entry)
            size += sum(map(len, entry.events))
            count += 1
        return {key: own for key, own in parts.items() if own}, count

    async def close(self) -> None:
        """Append no more: whoever waits is cancelled."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        for _, waiting in self._waiting:
            waiting.cancel()


def _may_follow(one: Entry, other: Entry) -> bool:
    """Whether two entries of a log are one, as far as the store is concerned."""
    kept = [(entry.keep, entry.keep_bytes, entry.life, entry.remember) for entry in (one, other)]
    return one.end is None and kept[0] == kept[1]


def _join(parts: list[Entry]) -> Entry:
    if len(parts) == 1:
        return parts[0]
    head = next((entry.head for entry in parts if entry.head is not None), None)
    return parts[-1]._replace(events=[event for entry in parts for event in entry.events], head=head)


def _ids(entry: Entry) -> int:
    return len(entry.events) + (entry.end is not None)


def _shares(parts: list[Entry], done: Appended | None) -> list[Appended | None]:
    """Of an append of several entries as one: where each of them went."""
    if done is None:
        return [None] * len(parts)
    shares: list[Appended | None] = []
    start, last = done.start, done.last - sum(map(_ids, parts))
    for entry in parts:
        if count := _ids(entry):
            last += count
            shares.append(Appended(start, last))
            start = last
        else:
            shares.append(Appended(start, start))
    return shares
