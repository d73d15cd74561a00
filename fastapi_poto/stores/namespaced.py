"""One application's part of a store: applications that share a store do not meet in it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Unpack
from urllib.parse import quote

from .base import Page, Store, Terms, Wanted
from .log import Appended, Batch, Entry, EventLog, OnWake, Watch


class Namespaced:
    """A store whose records and logs all have a namespace before their names, which nobody sees here."""

    def __init__(self, store: Store, namespace: str) -> None:
        self.inner = store
        self.namespace = namespace
        self._prefix = f"{quote(namespace, safe='')}:"
        self.log: EventLog = _NamespacedLog(store.log, self._prefix)

    def within(self, wanted: Wanted) -> Wanted:
        """What `inner` has to be asked for: names of what is read on every call are put together once."""
        record, fields = wanted
        return self._prefix + record, fields

    # None of these is a coroutine function of its own: what the store gives is awaited, and nothing in between.

    def read(self, record: str, fields: Sequence[str] | None = None) -> Any:
        return self.inner.read(self._prefix + record, fields)

    def read_many(self, wanted: Sequence[Wanted]) -> Any:
        return self.inner.read_many([(self._prefix + record, fields) for record, fields in wanted])

    def write(self, record: str, changes: Mapping[str, bytes | None], **terms: Unpack[Terms]) -> Any:
        return self.inner.write(self._prefix + record, changes, **terms)

    def add(self, record: str, field: str, by: int, **terms: Unpack[Terms]) -> Any:
        return self.inner.add(self._prefix + record, field, by, **terms)

    def swap(self, record: str, field: str, old: bytes | None, new: bytes | None, **terms: Unpack[Terms]) -> Any:
        return self.inner.swap(self._prefix + record, field, old, new, **terms)

    def delete(self, record: str, *, bar_for: float = 0.0) -> Any:
        return self.inner.delete(self._prefix + record, bar_for=bar_for)

    async def names(self, prefix: str, *, cursor: str | None = None, limit: int = 1000) -> Page:
        page = await self.inner.names(self._prefix + prefix, cursor=cursor, limit=limit)
        return Page([name[len(self._prefix) :] for name in page.names], page.cursor)

    def life(self, record: str) -> Any:
        return self.inner.life(self._prefix + record)

    def purge(self, *, limit: int = 500) -> Any:
        """Of the whole store: what has expired is nobody's."""
        return self.inner.purge(limit=limit)

    def ping(self) -> Any:
        return self.inner.ping()

    def open(self) -> Any:
        return self.inner.open()

    def close(self) -> Any:
        return self.inner.close()


def in_namespace(store: Store, namespace: str) -> Namespaced:
    """The store as one application sees it; as it is, if it has a namespace already."""
    return store if isinstance(store, Namespaced) else Namespaced(store, namespace)


class _NamespacedLog:
    def __init__(self, log: EventLog, prefix: str) -> None:
        self._log = log
        self._prefix = prefix

    async def append(self, entries: Sequence[Entry]) -> list[Appended | None]:
        return await self._log.append([entry._replace(key=self._prefix + entry.key) for entry in entries])

    async def read(self, after: Mapping[str, int], *, limit: int = 256, begin: bool = True) -> dict[str, Batch]:
        wanted = {self._prefix + key: position for key, position in after.items()}
        return self._own(await self._log.read(wanted, limit=limit, begin=begin))

    async def watch(self, on_wake: OnWake) -> Watch:
        watch = await self._log.watch(lambda news: on_wake(None if news is None else self._own(news)))
        return _NamespacedWatch(watch, self._prefix)

    async def purge(self, *, limit: int = 500) -> int:
        return await self._log.purge(limit=limit)

    def _own(self, found: Mapping[str, Any]) -> dict[str, Any]:
        return {key[len(self._prefix) :]: value for key, value in found.items()}


class _NamespacedWatch:
    def __init__(self, watch: Watch, prefix: str) -> None:
        self._watch = watch
        self._prefix = prefix

    def follow(self, keys: Collection[str]) -> None:
        self._watch.follow([self._prefix + key for key in keys])

    def unfollow(self, keys: Collection[str]) -> None:
        self._watch.unfollow([self._prefix + key for key in keys])

    async def close(self) -> None:
        await self._watch.close()
