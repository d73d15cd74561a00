"""From a URL to a client of redis-py: one server, a cluster, or what sentinels watch."""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError

from ..errors import ConfigurationError
from .base import take_number
from .server_url import split_url

logger = logging.getLogger("fastapi_poto.stores")

_SCHEMES = {"valkey": "redis", "valkeys": "rediss", "redis+unix": "unix"}
_SENTINELS = {"sentinel": "redis", "sentinels": "rediss"}


class RedisUrl:
    """A store's URL: redis-py's own, with `timeout` (seconds), or `sentinel://host,host/service/0`."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self._sentinels: list[tuple[str, int]] = []
        parts = split_url(f"{_SCHEMES.get(scheme, scheme)}://{rest}")
        query = dict(parse_qsl(parts.query))
        try:
            self.timeout = take_number(query, "timeout", 0.5)
        except ValueError as error:
            raise ConfigurationError(f"{scheme}://…?{parts.query}: {error}") from None
        path, netloc = parts.path, parts.netloc
        self.shown = f"{scheme}://{netloc.rpartition('@')[2]}{path}"
        try:
            if scheme in _SENTINELS:
                user, at, hosts = netloc.rpartition("@")
                for host in hosts.split(","):
                    name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "26379")
                    self._sentinels.append((name.strip("[]"), int(port)))
                self._service, _, database = path.strip("/").partition("/")
                if not self._service:
                    raise ValueError("name the service: sentinel://host:26379/mymaster")
                netloc, path, scheme = f"{user}{at}{self._service}", f"/{database}", _SENTINELS[scheme]
            else:
                scheme = parts.scheme
            self._url = f"{scheme}://{netloc}{path}" + (f"?{urlencode(query)}" if query else "")
            self._options: dict[str, Any] = redis.ConnectionPool.from_url(self._url).connection_kwargs
            redis.ConnectionPool.from_url(self._url, **self._common()).make_connection()  # type: ignore[no-untyped-call] # connects nothing
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"This is not a Redis URL: {error}") from error

    def _common(self) -> dict[str, Any]:
        # No time-out of the socket's own: whoever asks has one, for all that goes out together.
        # Protocol 2: with 3 redis-py does not look whether an idle connection was closed before it uses it.
        return {
            "socket_timeout": None,
            "socket_connect_timeout": self.timeout,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }

    def connect(self, *, cluster: bool) -> Any:
        """A client, which connects when it is used."""
        if cluster:
            return redis.RedisCluster.from_url(self._url, **self._common())
        if not self._sentinels:
            pool = redis.ConnectionPool.from_url(self._url, **self._common())
            return redis.Redis.from_pool(pool)
        options = {name: value for name, value in self._options.items() if name in ("username", "password", "db")}
        ssl = {"ssl": True} if self._url.startswith("rediss") else {}
        ssl |= {name: value for name, value in self._options.items() if name.startswith("ssl_")}
        watched = {"socket_timeout": self.timeout, "socket_connect_timeout": self.timeout} | ssl
        sentinel: Any = Sentinel(self._sentinels, sentinel_kwargs=watched, **self._common(), **options, **ssl)  # type: ignore[no-untyped-call]
        return sentinel.master_for(self._service)


async def disconnect(client: Any) -> None:
    """Let go of its connections, and of those to the sentinels."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for one in (client, *(manager.sentinels if manager is not None else ())):
        await one.aclose()


async def look_at(client: Any, shown: str) -> Mapping[str, Any]:
    """What the server says of itself, and a warning if it is one that forgets."""
    try:
        info: Mapping[str, Any] = await client.info()
    except NoPermissionError:
        return {}
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory") and policy != "noeviction":
        logger.warning(
            "%s evicts records when its memory is full (maxmemory-policy %s): users, sign-ins and sessions would"
            " vanish. Set maxmemory-policy noeviction, or take an instance of its own.",
            shown,
            policy,
        )
    return info
