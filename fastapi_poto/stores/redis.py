"""Records in Redis or Valkey: a hash for each, whose life is the key's own."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, Unpack

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)

from ..errors import TooLarge
from . import redis_scripts as scripts
from .base import Life, Page, Terms, Wanted, check_integer, check_name, life_left, life_of
from .batches import Batches
from .deadline import within
from .log import EventLog
from .log_redis import RedisLog
from .outage import Outage
from .per_loop import PerLoop
from .redis_client import RedisUrl, disconnect, look_at

T = TypeVar("T")

_Command = tuple[Any, ...]

_PREFIX = "poto:"
_BATCHES_AT_ONCE = 2

# What a server answers that cannot serve now: all others say that a command is wrong.
_REFUSALS = (AskError, ClusterDownError, OutOfMemoryError, ReadOnlyError, TryAgainError)
# redis-py has no classes for these.
_REFUSAL_CODES = ("MISCONF", "NOREPLICAS", "BUSY", "UNBLOCKED")


class RedisStore:
    """Records in a Redis or Valkey server, a cluster, or what sentinels watch. Keeps every promise of `Store`.

    What was acknowledged is what Redis has: it survives a crash of Redis with `appendonly yes` and
    `appendfsync always`; with the snapshots of a plain installation the last minutes may be lost, and what a replica
    has not seen yet is lost in a failover. Records expire by Redis's clock. Use an instance that does not evict
    (`maxmemory-policy noeviction`). An operation ends when Redis has not answered for `timeout` seconds; what callers
    ask meanwhile goes out together.
    """

    def __init__(self, url: str) -> None:
        """`url` is `RedisUrl`'s."""
        self._url = RedisUrl(url)
        self._outage = Outage(f"The Redis store at {self._url.shown}")
        self._cluster: bool | None = None
        self._connected = PerLoop(self._connect)
        self.log: EventLog = RedisLog(self._ask, self._make_connection, _PREFIX)

    async def read(self, record: str, fields: Sequence[str] | None = None) -> dict[str, bytes] | None:
        key = self._key(record)
        if fields is None:
            found: dict[bytes, bytes] = await self._ask("HGETALL", key)
            if found.pop(b"\0", scripts.BARRED) == scripts.BARRED:
                return None
            return {field.decode(): value for field, value in found.items()}
        return _record(fields, await self._ask("HMGET", key, scripts.ALIVE, *fields))

    async def read_many(self, wanted: Sequence[Wanted]) -> list[dict[str, bytes] | None]:
        commands = [("HMGET", self._key(record), scripts.ALIVE, *fields) for record, fields in wanted]
        answers = await (await self._connection()).batches.ask_many(commands)
        return [_record(fields, answer) for (_, fields), answer in zip(wanted, answers, strict=True)]

    async def write(self, record: str, changes: Mapping[str, bytes | None], **terms: Unpack[Terms]) -> bool:
        pairs = [item for field, value in changes.items() if value is not None for item in (field, value)]
        removed = [field for field, value in changes.items() if value is None]
        return bool(await self._run(scripts.WRITE, record, terms, len(pairs) // 2, *pairs, *removed) == 1)

    async def add(self, record: str, field: str, by: int, **terms: Unpack[Terms]) -> int | None:
        result = await self._run(scripts.ADD, record, terms, field, check_integer(by))
        if result == scripts.NO_INTEGER:
            raise ValueError("the field does not hold an integer of 64 bits")
        return None if result == scripts.NO_RECORD else int(result)

    async def swap(
        self, record: str, field: str, old: bytes | None, new: bytes | None, **terms: Unpack[Terms]
    ) -> bool | None:
        values = [item for value in (old, new) for item in ((b"0", b"") if value is None else (b"1", value))]
        result = await self._run(scripts.SWAP, record, terms, field, *values)
        return None if result == scripts.NO_RECORD else bool(result)

    async def delete(self, record: str, *, bar_for: float = 0.0) -> bool:
        return bool(await self._ask("EVALSHA", scripts.DELETE, 1, self._key(record), _ms(bar_for or None)))

    async def names(self, prefix: str, *, cursor: str | None = None, limit: int = 1000) -> Page:
        client = (await self._obtain()).client
        nodes: list[Any] = [None]
        if self._cluster:
            nodes = sorted(client.get_primaries(), key=lambda node: node.name)
        number, position = map(int, (cursor or "0:0").split(":"))
        if number >= len(nodes):  # the cluster has lost one since
            return Page([], None)
        options = {"match": self._pattern(prefix), "count": limit, "_type": "HASH"}
        if self._cluster:
            options["target_nodes"] = nodes[number]
        position, keys = await self._use(self._in_time(client.scan(position, **options)))
        if isinstance(position, dict):
            (position,) = position.values()
        marks = await asyncio.gather(*(self._ask("HGET", key, scripts.ALIVE) for key in keys))
        found = [key for key, mark in zip(keys, marks, strict=True) if mark is not None and mark != scripts.BARRED]
        names = [bytes(key).decode()[len(_PREFIX) :] for key in found]
        if not position:
            number += 1
        return Page(names, f"{number}:{position}" if number < len(nodes) else None)

    async def life(self, record: str) -> Life | None:
        key = self._key(record)
        alive, left, seconds, microseconds = await self._ask("EVALSHA", scripts.LIFE, 1, key)
        if alive is None or alive == scripts.BARRED:
            return None
        now = int(seconds) + int(microseconds) / 1e6
        expires_at = None if left < 0 else now + left / 1000
        return life_left(now, expires_at, float(alive) / 1000 if alive else None)

    async def purge(self, *, limit: int = 500) -> int:
        return 0  # Redis does

    async def ping(self) -> None:
        await self.write("probe", {"at": b"1"}, create=True, expires_in=60)

    async def open(self) -> None:
        await self._obtain()

    async def close(self) -> None:
        connected = self._connected.pop()
        if connected is not None:
            await disconnect(connected.client)

    # Commands

    def _key(self, record: str) -> str:
        check_name(record)
        return _PREFIX + record

    def _pattern(self, prefix: str) -> str:
        text = _PREFIX + prefix
        return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in text) + "*"

    async def _run(self, script: str, record: str, terms: Terms, *arguments: Any) -> Any:
        create, expires_in, most = terms.get("create", False), terms.get("expires_in"), terms.get("max_fields")
        lives = map(_ms, (expires_in, *life_of(create, expires_in)))
        key = self._key(record)
        result = await self._ask(
            "EVALSHA", script, 1, key, "1" if create else "0", *lives, -1 if most is None else most, *arguments
        )
        if result == scripts.TOO_MANY:
            raise TooLarge(f"More than {most} fields")
        return result

    async def _ask(self, *command: Any) -> Any:
        return await (await self._connection()).batches.ask(command)

    async def _connection(self) -> "_Connected":
        return self._connected.get() if self._cluster is not None else await self._obtain()

    # Connections

    async def _obtain(self) -> "_Connected":
        """What is connected to a server that has been looked at: is it a cluster, does it keep what it gets?"""
        connected = self._connected.get()
        async with connected.looking:
            if self._cluster is None:
                look = self._in_time(look_at(connected.client, self._url.shown))
                # In an empty context: a connection keeps the one that it was made in.
                looking = asyncio.get_running_loop().create_task(look, context=Context())
                info = await self._use(looking, AuthenticationError, ResponseError)
                self._cluster = bool(info.get("cluster_enabled"))
                if self._cluster:
                    self._connected.pop()
                    await connected.client.aclose()
        return self._connected.get()

    async def _make_connection(self) -> Any:
        """One that belongs to no pool, to a server that is there now."""
        client = (await self._obtain()).client
        if not self._cluster:
            return client.connection_pool.make_connection()
        await client.initialize()
        node = client.get_random_node()  # what is published at one is heard at all
        return node.connection_class(**node.connection_kwargs)

    def _connect(self) -> "_Connected":
        client = self._url.connect(cluster=bool(self._cluster))
        answers = partial(self._answers, client)
        batches = Batches(answers, self._outage, at_once=_BATCHES_AT_ONCE, patience=self._url.timeout)
        return _Connected(client, batches, asyncio.Lock())

    async def _answers(self, client: Any, commands: list[_Command]) -> Sequence[Any]:
        results = await self._use(_together(client, commands))
        unknown = [number for number, result in enumerate(results) if isinstance(result, NoScriptError)]
        if unknown:
            texts = [("EVAL", scripts.SCRIPTS[commands[number][1]], *commands[number][2:]) for number in unknown]
            for number, result in zip(unknown, await self._use(_together(client, texts)), strict=True):
                results[number] = result
        if not self._cluster and any(isinstance(result, ReadOnlyError) for result in results):
            # It was demoted: new connections may reach the one that took over.
            await client.connection_pool.disconnect(inuse_connections=False)
        return [self._outage.failed(result) if _is_outage(result) else result for result in results]

    async def _use(self, answer: Awaitable[T], *but: type[Exception]) -> T:
        """The server's answer. What it raises is an outage, but for these classes."""
        try:
            result = await answer
        except (RedisError, OSError, RedisClusterException) as error:
            if isinstance(error, but) and not _is_outage(error):
                raise
            raise self._outage.failed(error) from error
        if not (isinstance(result, list) and any(map(_is_outage, result))):
            self._outage.answered()
        return result

    async def _in_time(self, answer: Awaitable[T]) -> T:
        """For what is not asked in a batch."""
        async with within(self._url.timeout):
            return await answer


@dataclass(frozen=True, slots=True)
class _Connected:
    """A client, for one event loop, and what is asked of it."""

    client: Any
    batches: Batches[_Command]
    looking: asyncio.Lock


def _record(fields: Sequence[str], values: Sequence[bytes | None]) -> dict[str, bytes] | None:
    if values[0] is None or values[0] == scripts.BARRED:
        return None
    return {field: value for field, value in zip(fields, values[1:], strict=True) if value is not None}


async def _together(client: Any, commands: Sequence[_Command]) -> list[Any]:
    """The answers to commands that go out in one write, errors among them."""
    if len(commands) == 1:  # half of a pipeline's cost
        try:
            return [await client.execute_command(*commands[0])]
        except ResponseError as error:
            return [error]
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    answers: list[Any] = await pipeline.execute(raise_on_error=False)
    return answers


def _is_outage(result: Any) -> bool:
    """Whether the server cannot serve now; other errors say that a command is wrong."""
    return isinstance(result, _REFUSALS) or (
        isinstance(result, ResponseError) and str(result).startswith(_REFUSAL_CODES)
    )


def _ms(seconds: float | None) -> int | str:
    return "" if seconds is None else max(1, int(seconds * 1000))
