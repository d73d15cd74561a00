"""Topics: what is said to whoever listens, in every process."""

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta
from string import Formatter
from time import time
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, overload
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter, ValidationError

from ..errors import BadRequest, ConfigurationError, PastReplay, TooLarge
from ..stores import records
from ..stores.log import MICROSECONDS, Entry
from .frames import Event
from .tail import Step
from .tails import NOW, Reader, Tails

T = TypeVar("T")

After: TypeAlias = str | timedelta | None
"""Where a subscription begins: behind an event's id, so long ago, at the `"start"` of what is kept, or now (None)."""
Policy: TypeAlias = Literal["gap", "latest", "fail"]
"""What becomes of a subscriber for whom events were dropped, who is told in any case: it goes on with what there is
(`gap`) or with the newest (`latest`), or its stream ends with `past_replay`."""

EVENT_BYTES: Final = 64 * 1024
_ID: Final = re.compile(r"[0-9]{16}(_[0-9]{16})*")
_NAME_BYTES: Final = 500


class Topic(Generic[T]):
    """A kind of channel, `Topic("inbox:{user}", Notice)`: what its channels are called, and the type of their events.

    A union's topic says its type: `news: Topic[Opened | Closed] = Topic("news", Opened | Closed)`.
    A channel keeps its `keep` newest events, up to `keep_bytes` of them, for `life` seconds. Raises
    `ConfigurationError` for a name or a model that cannot be one.
    """

    @overload
    def __init__(
        self, name: str, model: type[T], *, keep: int = ..., keep_bytes: int = ..., life: float = ...
    ) -> None: ...
    @overload  # a union is no `type` to type checkers
    def __init__(self, name: str, model: Any, *, keep: int = ..., keep_bytes: int = ..., life: float = ...) -> None: ...
    def __init__(
        self, name: str, model: Any, *, keep: int = 1_000, keep_bytes: int = 1 << 20, life: float = 300.0
    ) -> None:
        self.name = name
        self.keep, self.keep_bytes, self.life = keep, keep_bytes, life
        try:
            self._parts = list(Formatter().parse(name))
            self._fields = [field for _, field, _, _ in self._parts if field is not None]
            self.codec: TypeAdapter[T] = TypeAdapter(model)
        except Exception as error:
            raise ConfigurationError(f"Topic({name!r}, {model!r}): {error}") from error
        if not name or not all(field.isidentifier() for field in self._fields):
            raise ConfigurationError(f'Topic({name!r}): write names in braces, as in Topic("inbox:{{user}}", Notice).')
        if keep < 1 or keep_bytes < 1 or not life > 0:
            raise ConfigurationError(f"Topic({name!r}): keep, keep_bytes and life are more than 0.")
        self._model = model if isinstance(model, type) and issubclass(model, BaseModel) else None

    def __call__(self, **names: str | int) -> "Channel[T]":
        """One channel: `inbox(user="ada")`. Raises `TypeError` for names that are not the topic's, `BadRequest` for a
        value that is empty or too long."""
        if names.keys() != set(self._fields):
            wanted, given = (", ".join(some) or "no names" for some in (self._fields, names))
            raise TypeError(f"{self!r} takes {wanted}, not {given}")
        key = ""
        for text, field, _, _ in self._parts:
            key += text
            if field is not None:
                # So that no value can be taken for another channel's name.
                value = str(names[field]).encode("utf-8", "surrogatepass")
                if not value or len(value) > _NAME_BYTES:
                    raise BadRequest(f"{field} is empty or too long for the name of a channel")
                key += quote(value, safe="")
        return Channel(self, key)

    def encode(self, data: T) -> bytes:
        """An event's JSON. Raises `TypeError` for what is not of the topic's type, `TooLarge` past 64 KiB."""
        if self._model is not None and not isinstance(data, self._model):  # Pydantic would take a dictionary, too
            raise TypeError(f"{self!r} takes a {self._model.__name__}, not {data!r}")
        try:
            encoded = self.codec.dump_json(self.codec.validate_python(data, strict=True), by_alias=True)
        except ValidationError as error:
            raise TypeError(f"{self!r} does not take {data!r}: {error}") from error
        if len(encoded) > EVENT_BYTES:
            raise TooLarge(f"An event has at most {EVENT_BYTES} bytes")
        return encoded

    def __repr__(self) -> str:
        return f"Topic({self.name!r})"


class Channel(Generic[T]):
    """One channel of a topic: `inbox(user="ada")`."""

    __slots__ = ("key", "topic")

    def __init__(self, topic: Topic[T], key: str) -> None:
        self.topic = topic
        self.key = key
        """What nobody else's channel is called."""

    @property
    def log(self) -> str:
        return records.channel(self.key)

    def entry(self, data: T) -> Entry:
        topic = self.topic
        return Entry(
            key=self.log,
            events=[topic.encode(data)],
            keep=topic.keep,
            keep_bytes=topic.keep_bytes,
            life=topic.life,
        )

    def __repr__(self) -> str:
        return f"Channel({self.key!r})"


def checked(channel: Channel[T]) -> Channel[T]:
    """The channel. Raises `TypeError` for what is none, such as its topic."""
    if not isinstance(channel, Channel):
        raise TypeError(f"{channel!r} is no channel. Call its topic: inbox(user=…)")
    return channel


class Subscription:
    """An iterator of the events of some channels. `on_begin` is told the position, `on_gap` of what is missing."""

    def __init__(
        self,
        tails: Tails,
        channels: tuple[Channel[Any], ...],
        after: After,
        policy: Policy,
        *,
        on_begin: Callable[[str], None] | None = None,
        on_gap: Callable[[str], None] | None = None,
    ) -> None:
        if not channels:
            raise TypeError("subscribe() takes one channel or more: subscribe(inbox(user=…))")
        self._tails = tails
        self._channels = tuple(map(checked, channels))
        self._after = _positions(after, len(channels))
        self._is_exact = not isinstance(after, timedelta)
        self._policy = policy
        self._on_begin = on_begin
        self._on_gap = on_gap
        self._readers: list[Reader] = []
        self._steps: dict[asyncio.Future[Step], int] = {}
        self._positions = [0] * len(channels)
        self._ready: list[Event[Any]] = []

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Event[Any]:
        if not self._readers:
            await self._begin()
        while not self._ready:
            if len(self._readers) == 1:
                await self._take(0, await self._readers[0].step())
            else:
                await self._take_any()
        return self._ready.pop(0)

    async def _begin(self) -> None:
        self._readers = [self._tails.reader(channel.log) for channel in self._channels]
        for place, (reader, after) in enumerate(zip(self._readers, self._after, strict=True)):
            await reader.begin(after, is_exact=self._is_exact)
            self._positions[place] = reader.begun_at
        if self._on_begin is not None:
            self._on_begin(self._id())

    async def _take_any(self) -> None:
        waiting = set(self._steps.values())
        for place, reader in enumerate(self._readers):
            if place not in waiting:
                self._steps[asyncio.ensure_future(reader.step())] = place
        done, _ = await asyncio.wait(self._steps, return_when=asyncio.FIRST_COMPLETED)
        for step in done:
            await self._take(self._steps.pop(step), step.result())

    async def _take(self, place: int, step: Step) -> None:
        decode = self._channels[place].topic.codec.validate_json
        if step.lost:
            await self._lose(place)
            if self._policy == "latest":
                return
        for number, data in step.events:
            self._positions[place] = number
            self._ready.append(Event(decode(data), None, self._id()))

    async def _lose(self, place: int) -> None:
        if self._policy == "fail" or self._on_gap is None:
            raise PastReplay
        reader = self._readers[place]
        after = self._id()
        if self._policy == "latest":
            await reader.begin(NOW)
            self._positions[place] = reader.position
        self._on_gap(after)

    def _id(self) -> str:
        return "_".join(f"{position:016d}" for position in self._positions)

    async def aclose(self) -> None:
        """Hear no more."""
        for step in self._steps:
            step.cancel()
        if self._steps:
            await asyncio.wait(self._steps)
        for reader in self._readers:
            reader.close()
        self._readers = []


def _positions(after: After, count: int) -> list[int]:
    if after is None:
        return [NOW] * count
    if isinstance(after, timedelta):
        return [max(1, int((time() - after.total_seconds()) * MICROSECONDS))] * count
    if after == "start":
        return [0] * count
    if not _ID.fullmatch(after) or after.count("_") != count - 1:
        raise PastReplay
    return [int(part) for part in after.split("_")]
