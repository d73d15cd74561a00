"""What every test may use, and which tests need no server."""

import sys
from functools import cache
from pathlib import Path

import pytest

from fastapi_poto import testing
from tests.stores.fixtures import postgres_server, redis_server, store, store_url  # noqa: F401

_TESTS = str(Path(__file__).parent)
_SLOW = {"browser", "conformance", "compat", "deployments"}


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio: the loop that FastAPI apps are served on."""
    return "asyncio"


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Mark `quick` what needs no server: neither its module nor those of its fixtures have any way to start one."""
    for item in items:
        fixtures = {one.func.__module__ for defs in item._fixtureinfo.name2fixturedefs.values() for one in defs}
        if not any(map(_starts_servers, {item.module.__name__, *fixtures})) and not _SLOW & {*item.keywords}:
            item.add_marker("quick")


@cache
def _starts_servers(module: str) -> bool:
    if module in ("tests.processes", "tests.servers", "tests.docs.test_docs"):
        return True
    if not (getattr(sys.modules[module], "__file__", None) or "").startswith(_TESTS) or module == __name__:
        return False
    values = list(vars(sys.modules[module]).values())
    modules = {getattr(value, "__module__", None) or getattr(value, "__name__", "") for value in values}
    return any(value is testing.serve for value in values) or any(
        _starts_servers(one) for one in modules - {module} if isinstance(one, str) and one in sys.modules
    )
