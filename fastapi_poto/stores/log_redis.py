"""Event logs in Redis: a hash for what is known of a log, a list for its events, a channel for who follows it."""

import asyncio
import logging
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, Final

from redis.exceptions import RedisError

from .base import check_name
from .log import DAY, MICROSECONDS, Appended, Batch, Entry, OnWake
from .redis_scripts import known

log = logging.getLogger("fastapi_poto")

_BEAT_SECONDS: Final = 2.0
_BEATS_A_LOOK: Final = 15
"""After so many beats everything is looked at, though the connection never broke."""

# An event in the list is its id, 16 digits, and its bytes: numbers of 16 digits are exact in Lua, and sort as text.
_COMMON = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function digits(id) return string.format('%016.0f', id) end
local known = redis.call('HMGET', KEYS[1], 'last', 'floor', 'bytes', 'end', 'head', 'life', 'tip')
local last, floor, bytes = tonumber(known[1]), tonumber(known[2]), tonumber(known[3])
local ended, head = known[4], known[5]
local function drop()
  local event = redis.call('LPOP', KEYS[2])
  floor = tonumber(string.sub(event, 1, 16))
  bytes = bytes - #event + 16
end
"""
# ARGV: how many events; '1' and the end, or '0' and ''; '1' and the head, or '0' and ''; keep; bytes; life and
# memory in microseconds; the events. Gives the ids before and after, as text; nothing if the log has ended.
# What is published: the numbers and sizes in one line, then the bytes.
_APPEND = known(
    _COMMON
    + """
if ended then return false end
local count, first_event = tonumber(ARGV[1]), 10
if not last then last, floor, bytes = now - 1, now - 1, 0 end
local start, id, tip = last, math.max(last + 1, now), last
local sizes, sent = {}, {}
for i = first_event, first_event + count - 1 do
  redis.call('RPUSH', KEYS[2], digits(id) .. ARGV[i])
  bytes = bytes + #ARGV[i]
  sizes[#sizes + 1] = #ARGV[i]
  sent[#sent + 1] = ARGV[i]
  last, tip = id, id
  id = id + 1
end
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], 'end', ARGV[3])
  last = id
end
if ARGV[4] == '1' and not head then redis.call('HSET', KEYS[1], 'head', ARGV[5]) end
local length = redis.call('LLEN', KEYS[2])
while count > 0 and (length > tonumber(ARGV[6]) or (bytes > tonumber(ARGV[7]) and length > 1)) do
  drop()
  length = length - 1
end
redis.call('HSET', KEYS[1], 'last', digits(last), 'tip', digits(tip), 'floor', digits(floor), 'bytes', bytes,
  'life', ARGV[8])
local remember = math.ceil(ARGV[9] / 1000)
redis.call('PEXPIRE', KEYS[1], remember)
redis.call('PEXPIRE', KEYS[2], remember)
local line = digits(start) .. ' ' .. digits(last) .. ' ' .. ARGV[2] .. ' ' .. table.concat(sizes, ' ') .. '\\n'
redis.call('PUBLISH', KEYS[1], line .. table.concat(sent) .. ARGV[3])
return {digits(start), digits(last)}
"""
)
# ARGV: a position; the most events; how long a log that begins here is remembered, in ms; whether it does (0, 1).
# Nothing if there is no news.
_READ = known(
    _COMMON
    + """
local tip = known[7]
if not last then
  if ARGV[4] == '0' then return false end
  last, floor, bytes, tip = now - 1, now - 1, 0, digits(now - 1)
  redis.call('HSET', KEYS[1], 'last', tip, 'tip', tip, 'floor', tip, 'bytes', 0)
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
local after = tonumber(ARGV[1])
if last == after then return false end
local length, before = redis.call('LLEN', KEYS[2]), floor
while length > 0 and tonumber(string.sub(redis.call('LINDEX', KEYS[2], 0), 1, 16)) <= now - tonumber(known[6]) do
  drop()
  length = length - 1
end
if floor ~= before then redis.call('HSET', KEYS[1], 'floor', digits(floor), 'bytes', bytes) end
local low, high = 0, length
while low < high do
  local middle = math.floor((low + high) / 2)
  if tonumber(string.sub(redis.call('LINDEX', KEYS[2], middle), 1, 16)) > after then high = middle
  else low = middle + 1 end
end
local start = digits(floor)
if low == length then start = tip
elseif low > 0 then start = string.sub(redis.call('LINDEX', KEYS[2], low - 1), 1, 16) end
return {start, digits(last), ended, head, redis.call('LRANGE', KEYS[2], low, low + ARGV[2] - 1)}
"""
)


class RedisLog:
    """Keeps every promise of `EventLog` over many machines; what an append wrote comes with the wake.

    What was acknowledged is as durable as Redis is set up to be; readers are told when it lost something they had
    seen. The two keys of a log have one hash tag.
    """

    def __init__(
        self, ask: Callable[..., Awaitable[Any]], make_connection: Callable[[], Awaitable[Any]], prefix: str
    ) -> None:
        """`ask` gives the answer to a command; `make_connection` a connection of its own, for a watch."""
        self._ask = ask
        self._make_connection = make_connection
        self._prefix = prefix

    def _keys(self, key: str) -> tuple[str, str]:
        check_name(key)
        name = f"{self._prefix}log:{{{key}}}"
        return name, name + ":events"

    async def append(self, entries: Sequence[Entry]) -> list[Appended | None]:
        calls = (
            (
                *self._keys(entry.key),
                len(entry.events),
                *_optional(entry.end),
                *_optional(entry.head),
                entry.keep,
                entry.keep_bytes,
                int(entry.life * MICROSECONDS),
                int(entry.remember * MICROSECONDS),
                *entry.events,
            )
            for entry in entries
        )
        found = await self._run(_APPEND, calls)
        return [None if one is None else Appended(int(one[0]), int(one[1])) for one in found]

    async def read(self, after: Mapping[str, int], *, limit: int = 256, begin: bool = True) -> dict[str, Batch]:
        calls = ((*self._keys(key), position, limit, int(1000 * DAY), int(begin)) for key, position in after.items())
        found = await self._run(_READ, calls)
        return {key: _batch(one, limit) for key, one in zip(after, found, strict=True) if one is not None}

    async def _run(self, script: str, calls: Iterable[Sequence[Any]]) -> list[Any]:
        """The script with two keys and arguments, for each call, in as few round trips as there can be."""
        return await asyncio.gather(*[self._ask("EVALSHA", script, 2, *call) for call in calls])

    async def watch(self, on_wake: OnWake) -> "_RedisWatch":
        await self._ask("PING")
        return _RedisWatch(self._make_connection, self._keys, on_wake)

    async def purge(self, *, limit: int = 500) -> int:
        return 0  # Redis does


def _batch(found: Sequence[Any], limit: int) -> Batch:
    start, last, end, head, events = found
    pairs = [(int(one[:16]), one[16:]) for one in events]
    return Batch(int(start), int(last), pairs, end if len(pairs) < limit else None, head)


def _optional(value: bytes | None) -> tuple[bytes, bytes]:
    return (b"0", b"") if value is None else (b"1", value)


class _RedisWatch:
    """One connection with a subscription for each key."""

    def __init__(
        self, make: Callable[[], Awaitable[Any]], keys: Callable[[str], tuple[str, str]], on_wake: OnWake
    ) -> None:
        self._make = make
        self._keys = keys
        self._on_wake = on_wake
        self._channels: dict[bytes, str] = {}
        self._commands: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._task = get_running_loop().create_task(self._run(), context=Context())

    def follow(self, keys: Collection[str]) -> None:
        channels = {self._keys(key)[0]: key for key in keys}
        self._channels |= {channel.encode(): key for channel, key in channels.items()}
        self._commands.put_nowait(("SUBSCRIBE", *channels))

    def unfollow(self, keys: Collection[str]) -> None:
        channels = [self._keys(key)[0] for key in keys]
        for channel in channels:
            self._channels.pop(channel.encode(), None)
        self._commands.put_nowait(("UNSUBSCRIBE", *channels))

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while True:
            connection: Any = None
            sender: asyncio.Task[None] | None = None
            try:
                connection = await self._make()
                await connection.connect()
                while not self._commands.empty():
                    self._commands.get_nowait()
                if self._channels:
                    await connection.send_command("SUBSCRIBE", *self._channels)
                sender = get_running_loop().create_task(self._send(connection), context=Context())
                await self._listen(connection)
            except Exception as error:  # whatever the driver says: it is tried again
                log.debug("The connection that listens was lost: %s", error)
            finally:
                if sender is not None:
                    sender.cancel()
                if connection is not None:
                    with suppress(RedisError, OSError):
                        await connection.disconnect(nowait=True)
            await asyncio.sleep(_BEAT_SECONDS / 4)

    async def _send(self, connection: Any) -> None:
        with suppress(RedisError, OSError, AttributeError):  # the last: redis-py, of a connection that was just closed
            while True:
                await connection.send_command(*await self._commands.get())

    async def _listen(self, connection: Any) -> None:
        beats = 0
        while True:
            message = await connection.read_response(disable_decoding=True, timeout=_BEAT_SECONDS)
            if message is None:
                beats += 1
                if beats % _BEATS_A_LOOK == 0:
                    self._on_wake(None)
                await connection.send_command("PING")
                message = await connection.read_response(disable_decoding=True, timeout=_BEAT_SECONDS)
                if message is None:
                    raise TimeoutError("Redis does not answer")
            match message:
                case [b"message", channel, data] if channel in self._channels:
                    self._on_wake({self._channels[channel]: _pushed(data)})
                case [b"subscribe", channel, *_] if channel in self._channels:
                    self._on_wake({self._channels[channel]: 1 << 62})
                case _:
                    pass


def _pushed(data: bytes) -> Batch:
    line, _, rest = data.partition(b"\n")
    start, last, has_end, *sizes = line.split()
    events = []
    first = int(last) - len(sizes) - int(has_end) + 1
    for place, size in enumerate(map(int, sizes)):
        events.append((first + place, rest[:size]))
        rest = rest[size:]
    return Batch(int(start), int(last), events, rest if has_end == b"1" else None)
