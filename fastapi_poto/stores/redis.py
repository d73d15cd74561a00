"""Records in Redis: a hash for each, whose life is the key's own."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from math import ceil
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis.asyncio as redis
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError
from redis.retry import Retry

from ..errors import ConfigurationError, TooLarge, Unavailable
from .base import check_integer, check_name, take_number
from .log import EventLog
from .log_redis import RedisLog
from .per_loop import PerLoop
from .wait_queue import WaitQueue

T = TypeVar("T")

# A hash cannot be empty, a record can: every hash has the field "", which no record can name.
_ALIVE = ""

_BEGIN = """
local key, create, life, max = KEYS[1], ARGV[1] == '1', ARGV[2], tonumber(ARGV[3])
local made = false
if redis.call('EXISTS', key) == 0 then
  if not create then return -1 end
  made = true
end
"""

# ARGV: create, life in ms or '', most fields or -1, then pairs of a field to set and its value, a line of '',
# and fields to remove. -1: no record; -2: too many; 1: done.
_WRITE = (
    _BEGIN
    + """
local sets, removes = tonumber(ARGV[4]), {}
if max >= 0 then
  local before = made and 0 or redis.call('HLEN', key) - 1
  local after = before
  for i = 5, 4 + 2 * sets, 2 do
    if redis.call('HEXISTS', key, ARGV[i]) == 0 then after = after + 1 end
  end
  for i = 5 + 2 * sets, #ARGV do
    if redis.call('HEXISTS', key, ARGV[i]) == 1 then after = after - 1 end
  end
  if after > max and after > before then return -2 end
end
redis.call('HSET', key, '', '')
for i = 5, 4 + 2 * sets, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
for i = 5 + 2 * sets, #ARGV do redis.call('HDEL', key, ARGV[i]) end
if life ~= '' then redis.call('PEXPIRE', key, life) end
return 1
"""
)

# ARGV: create, life, most fields, field, by. The sum comes back as text: a Lua number has only 53 bits.
_ADD = (
    _BEGIN
    + """
if max >= 0 and redis.call('HEXISTS', key, ARGV[4]) == 0 then
  if (made and 0 or redis.call('HLEN', key) - 1) >= max then return -2 end
end
redis.call('HINCRBY', key, ARGV[4], ARGV[5])
if made then
  redis.call('HSET', key, '', '')
  if life ~= '' then redis.call('PEXPIRE', key, life) end
end
return redis.call('HGET', key, ARGV[4])
"""
)

# ARGV: create, life, most fields, field, '1' and the old value or '0' and '', the same for the new one.
_SWAP = (
    _BEGIN
    + """
local value = redis.call('HGET', key, ARGV[4])
if ARGV[5] == '1' then
  if value ~= ARGV[6] then return 0 end
elseif value then return 0 end
if max >= 0 and ARGV[5] == '0' and ARGV[7] == '1' then
  if (made and 0 or redis.call('HLEN', key) - 1) >= max then return -2 end
end
redis.call('HSET', key, '', '')
if ARGV[7] == '1' then redis.call('HSET', key, ARGV[4], ARGV[8]) else redis.call('HDEL', key, ARGV[4]) end
if life ~= '' then redis.call('PEXPIRE', key, life) end
return 1
"""
)

_RENAME = "if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end return redis.call('RENAMENX', KEYS[1], KEYS[2])"


class RedisStore:
    """Records in a Redis server. Keeps every promise of `SessionStore` over many processes and machines.

    What was acknowledged is what Redis has: it survives a crash of Redis with `appendonly yes` and
    `appendfsync always`; with the snapshots of a plain installation the last minutes may be lost.
    Records expire by Redis's clock. Use an instance that does not evict (`maxmemory-policy noeviction`); not Redis
    Cluster, whose nodes cannot rename between them. An operation ends when Redis has not answered for `timeout`
    seconds. At most `pool_size` connections for each process and event loop; who finds them busy waits in line.
    """

    def __init__(self, url: str, *, prefix: str = "poto:", timeout: float = 0.5, pool_size: int = 20) -> None:
        """`url` is redis-py's, whose `timeout` (seconds) and `pool_size` go before the arguments."""
        parts = urlsplit("unix://" + url.removeprefix("redis+unix://") if url.startswith("redis+unix://") else url)
        query = dict(parse_qsl(parts.query))
        try:
            timeout, pool_size = (
                take_number(query, "timeout", timeout),
                ceil(take_number(query, "pool_size", pool_size)),
            )
        except ValueError as error:
            raise ConfigurationError(f"{parts.scheme}://…?{parts.query}: {error}") from None
        self._url = f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{urlencode(query)}" if query else "")
        self._prefix = prefix
        self._timeout = timeout
        self._pool_size = pool_size
        self._connected = PerLoop(self._connect)
        self.log: EventLog = RedisLog(self._client, self._ask, self._make_connection, prefix)
        try:
            redis.ConnectionPool.from_url(self._url).make_connection()  # type: ignore[no-untyped-call] # connects nothing
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"This is not a Redis URL: {error}") from error

    async def read(self, record: str, fields: Sequence[str] | None = None) -> dict[str, bytes] | None:
        key = self._key(record)
        client = self._client()
        if fields is None:
            found = await self._ask(lambda: cast("Awaitable[dict[bytes, bytes]]", client.hgetall(key)))
            if not found:
                return None
            return {field.decode(): value for field, value in found.items() if field}
        values = await self._ask(lambda: cast("Awaitable[list[bytes | None]]", client.hmget(key, [_ALIVE, *fields])))
        if values[0] is None:
            return None
        return {field: value for field, value in zip(fields, values[1:], strict=True) if value is not None}

    async def write(
        self,
        record: str,
        changes: Mapping[str, bytes | None],
        *,
        create: bool = False,
        expires_in: float | None = None,
        max_fields: int | None = None,
    ) -> bool:
        pairs = [item for field, value in changes.items() if value is not None for item in (field, value)]
        removed = [field for field, value in changes.items() if value is None]
        result = await self._run(
            self._connection().write, record, create, expires_in, max_fields, len(pairs) // 2, *pairs, *removed
        )
        return bool(result == 1)

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
        check_integer(by)
        try:
            result = await self._run(self._connection().add, record, create, expires_in, max_fields, field, by)
        except ResponseError as error:
            if "not an integer" in str(error) or "overflow" in str(error):
                raise ValueError("the field does not hold an integer of 64 bits") from error
            raise
        return None if result == -1 else int(result)

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
        values = [item for value in (old, new) for item in ((b"0", b"") if value is None else (b"1", value))]
        result = await self._run(self._connection().swap, record, create, expires_in, max_fields, field, *values)
        return None if result == -1 else bool(result)

    async def delete(self, record: str) -> bool:
        key = self._key(record)
        return bool(await self._ask(lambda: self._client().delete(key)))

    async def rename(self, record: str, new: str) -> bool:
        keys = [self._key(record), self._key(new)]
        return bool(await self._ask(lambda: self._connection().rename(keys=keys)))

    async def scan(self, prefix: str, *, limit: int = 1000) -> list[str]:
        escaped = "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in self._prefix + prefix)
        found: set[str] = set()  # SCAN may give a key twice
        cursor = 0
        while len(found) < limit:
            scan = partial(self._client().scan, cursor, match=escaped + "*", count=500)
            cursor, keys = await self._ask(scan)
            found.update(bytes(key).decode()[len(self._prefix) :] for key in cast("list[bytes]", keys))
            if cursor == 0:
                break
        return list(found)[:limit]

    async def purge(self, *, limit: int = 500) -> int:
        return 0  # Redis does

    async def ping(self) -> None:
        await self._ask(lambda: self._client().ping())

    async def open(self) -> None:
        await self.ping()

    async def close(self) -> None:
        connected = self._connected.pop()
        if connected is not None:
            await connected.client.aclose()
            await connected.client.connection_pool.disconnect()

    def _key(self, record: str) -> str:
        check_name(record)
        return self._prefix + record

    def _connection(self) -> "_Connected":
        return self._connected.get()

    def _connect(self) -> "_Connected":
        pool = redis.ConnectionPool.from_url(
            self._url,
            max_connections=self._pool_size,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            retry=Retry(NoBackoff(), 0),
        )
        return _Connected(redis.Redis(connection_pool=pool), WaitQueue(self._pool_size, self._timeout))

    def _make_connection(self) -> Any:
        """One that belongs to no pool. In RESP3 what is published is not among the responses."""
        pool = redis.ConnectionPool.from_url(self._url, protocol=2, socket_connect_timeout=self._timeout)
        return pool.make_connection()  # type: ignore[no-untyped-call]

    def _client(self) -> "redis.Redis":
        return self._connection().client

    async def _run(
        self,
        script: AsyncScript,
        record: str,
        create: bool,
        expires_in: float | None,
        max_fields: int | None,
        *arguments: Any,
    ) -> Any:
        life = "" if expires_in is None else max(1, int(expires_in * 1000))
        most = -1 if max_fields is None else max_fields
        key = self._key(record)
        values = ["1" if create else "0", life, most, *arguments]
        result = await self._ask(lambda: script(keys=[key], args=values))
        if result == -2:
            raise TooLarge(f"More than {max_fields} fields")
        return result

    async def _ask(self, command: Callable[[], Awaitable[T]]) -> T:
        wait_queue = self._connection().wait_queue
        answered = False
        try:
            deadline = await wait_queue.take()
        except TimeoutError as error:
            raise Unavailable("The session store cannot be reached") from error
        try:
            async with asyncio.timeout_at(deadline):
                result = await command()
            answered = True
            return result
        except (AuthenticationError, AuthorizationError):
            raise
        except ResponseError as error:
            if str(error).startswith(("LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "OOM", "MISCONF", "BUSY")):
                raise Unavailable("The session store cannot be written") from error
            raise
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("The session store cannot be reached") from error
        finally:
            wait_queue.give_back(answered=answered)


class _Connected:
    """A client and its scripts, for one event loop."""

    __slots__ = ("add", "client", "rename", "swap", "wait_queue", "write")

    def __init__(self, client: "redis.Redis", wait_queue: WaitQueue) -> None:
        self.client = client
        self.wait_queue = wait_queue
        self.write = client.register_script(_WRITE)
        self.add = client.register_script(_ADD)
        self.swap = client.register_script(_SWAP)
        self.rename = client.register_script(_RENAME)
