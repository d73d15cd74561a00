"""A live server with every kind of method, its document, and the tools."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fastapi_poto.testing import serve

from . import abilities
from .app import make_app
from .toolchain import HERE, Npm


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with serve(make_app()) as live:
        yield live.url


@pytest.fixture(scope="session")
def document(server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/openapi.json as the server gives it."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(json.dumps(httpx.get(f"{server}/openapi.json").raise_for_status().json(), indent=1))
    return path


@pytest.fixture(scope="session")
def npm() -> Iterator[Npm]:
    npm = Npm()
    yield npm
    npm.clean()


INSTALLING_SECONDS = 300


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make conformance` runs the fast part too, since its table is of all tools. The first test installs."""
    for item in items:
        if item.path.parent == HERE and {"npm", "document"} & set(getattr(item, "fixturenames", ())):
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(INSTALLING_SECONDS))
            if "not conformance" not in config.getoption("markexpr"):
                item.add_marker(pytest.mark.conformance)


def pytest_sessionfinish(exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK:
        abilities.CALLS.write()
        abilities.NARROWING.write()
