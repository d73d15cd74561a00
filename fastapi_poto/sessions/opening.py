"""One URL says where everything is kept."""

from ..errors import ConfigurationError
from .memory import MemoryStore
from .store import SessionStore

_SQL = {"sqlite", "sqlite+aiosqlite", "postgresql", "postgres", "postgresql+asyncpg"}
_REDIS = {"redis", "rediss", "unix", "redis+unix"}
_FORMS = "memory://, sqlite:///file.db, postgresql://…, redis://…, rediss://… or redis+unix:///path"


def open_store(url: str) -> SessionStore:
    """The store that `url` names, not connected yet: `await store.open()` does that.

    Raises `ConfigurationError`, which names the cure, for a URL of no known form and for a driver that is missing.
    """
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ConfigurationError(f"{url!r} is not a store's URL. Write {_FORMS}.")
    if scheme == "memory":
        return MemoryStore()
    if scheme in _SQL:
        extra = "sqlite" if scheme.startswith("sqlite") else "postgres"
        try:
            from .sql import SqlStore
        except ImportError as missing:
            raise _missing(url, extra, missing) from missing
        return SqlStore(url)
    if scheme in _REDIS:
        try:
            from .redis import RedisStore
        except ImportError as missing:
            raise _missing(url, "redis", missing) from missing
        return RedisStore(url)
    raise ConfigurationError(f"No store knows the scheme {scheme!r}. Write {_FORMS}.")


def _missing(url: str, extra: str, missing: ImportError) -> ConfigurationError:
    scheme = url.partition("://")[0]
    return ConfigurationError(
        f'{scheme}:// needs a package that is not installed ({missing}). pip install "fastapi_poto[{extra}]"'
    )
