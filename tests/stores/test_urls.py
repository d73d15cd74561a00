"""One URL says where everything is kept; a wrong one says what to write instead."""

import builtins
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import pytest

from fastapi_poto.errors import ConfigurationError
from fastapi_poto.stores import MemoryStore, store_from_url
from fastapi_poto.stores.postgres import PostgresStore
from fastapi_poto.stores.redis import RedisStore
from fastapi_poto.stores.sqlite import SqliteStore

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory://", MemoryStore),
        ("sqlite:///some.db", SqliteStore),
        ("sqlite:////tmp/some.db?synchronous=full&busy_timeout=2", SqliteStore),
        ("postgresql://user:pass@host/db?pool_size=3", PostgresStore),
        ("postgres://host/db", PostgresStore),
        ("redis://localhost:6379/0", RedisStore),
        ("rediss://localhost:6379/0", RedisStore),
        ("redis://:pass@localhost:6379/0?timeout=2&health_check_interval=30", RedisStore),
        ("redis+unix:///run/redis.sock", RedisStore),
        ("unix:///run/redis.sock", RedisStore),
    ],
)
def test_urls(url: str, kind: type) -> None:
    """Each form makes its store, and connects to nothing yet."""
    assert isinstance(store_from_url(url), kind)


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("poto.db", "sqlite:///file.db"),
        ("mysql://host/db", "postgresql://"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite://file.db", "three slashes"),
        ("sqlite:///a.db?synchronous=maybe", "full, normal"),
        ("sqlite:///a.db?busy_timeout=long", "long"),
        ("sqlite:///a.db?busy_timeout=-1", "more than 0"),
        ("sqlite:///a.db?sychronous=full", "busy_timeout and synchronous"),
        ("postgresql://host/db?timeout=0", "more than 0"),
        ("redis://host/0?timeout=-1", "more than 0"),
        ("redis://host/0?colour=red", "colour"),
        ("postgresql://host/db?pool_size=many", "many"),
        ("redis://host:port/0", "port"),
        ("postgresql://host:port/db", "port"),
        ("redis://host/0?timeout=soon", "soon"),
    ],
)
def test_urls_that_name_no_store(url: str, cure: str) -> None:
    """The error at start-up says what to write."""
    with pytest.raises(ConfigurationError, match=cure):
        store_from_url(url)


def test_errors_do_not_show_passwords() -> None:
    """A URL's password stays out of the error's text."""
    for url in (
        "postgresql://u:hunter2@h/db?pool_size=x",
        "redis://u:hunter2@host:port/0",
        "mysql://u:hunter2@h/d",
        "u:hunter2@h/d",
    ):
        with pytest.raises(ConfigurationError) as raised:
            store_from_url(url)
        assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(("url", "package"), [("postgresql://h/d", "asyncpg"), ("redis://h/0", "redis")])
def test_a_missing_driver(monkeypatch: pytest.MonkeyPatch, url: str, package: str) -> None:
    """It is named, with the command that installs it; the other stores do not need it."""
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("postgres", "postgres_pool", "postgres_schema", "redis", "redis_client"):
        monkeypatch.delitem(sys.modules, f"fastapi_poto.stores.{name}", raising=False)
    real = builtins.__import__

    def refuse(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if name.split(".")[0] == package and level == 0:
            raise ImportError(f"No module named {package!r}")
        return real(name, globals, locals, fromlist or (), level)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigurationError, match=r'pip install "(asyncpg|redis)>='):
        store_from_url(url)
    store_from_url("memory://")
    store_from_url("sqlite:///some.db")
