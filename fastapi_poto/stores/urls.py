"""One URL says where everything is kept."""

from collections.abc import Callable

from ..errors import ConfigurationError
from ..settings import wall_clock
from .base import Store
from .memory import MemoryStore

_POSTGRES = {"postgresql", "postgres", "postgresql+asyncpg"}
_REDIS = {"redis", "rediss", "unix", "redis+unix", "valkey", "valkeys", "sentinel", "sentinels"}
_FORMS = "memory://, sqlite:///file.db, postgresql://…, redis://…, rediss://…, sentinel://… or redis+unix:///path"


def store_from_url(url: str, *, clock: Callable[[], float] = wall_clock) -> Store:
    """The store that `url` names, not connected yet: `await store.open()` does that, or its first use.

    Records expire by `clock`, in Redis by its own. Raises `ConfigurationError`, which names the cure, for a URL of no
    known form and for a driver that is missing.
    """
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ConfigurationError(f"This is not a store's URL: {url.rpartition('@')[2]!r}. Write {_FORMS}.")
    if scheme == "memory":
        return MemoryStore(clock=clock)
    if scheme in ("sqlite", "sqlite+aiosqlite"):
        from .sqlite import SqliteStore

        return SqliteStore(url, clock=clock)
    if scheme in _POSTGRES:
        try:
            from .postgres import PostgresStore
        except ImportError as missing:
            raise _missing(scheme, "asyncpg>=0.32", missing) from missing
        return PostgresStore(url, clock=clock)
    if scheme in _REDIS:
        try:
            from .redis import RedisStore
        except ImportError as missing:
            raise _missing(scheme, "redis>=8.1", missing) from missing
        return RedisStore(url)
    raise ConfigurationError(f"No store knows the scheme {scheme!r}. Write {_FORMS}.")


def _missing(scheme: str, package: str, missing: ImportError) -> ConfigurationError:
    return ConfigurationError(
        f'{scheme}:// needs a package that is not installed ({missing}). Run: pip install "{package}"'
    )
