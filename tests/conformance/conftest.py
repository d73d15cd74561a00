"""A live server with every kind of method, its document, and the tools."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.live import serve_in_thread

from . import abilities
from .app import make_app
from .toolchain import Npm


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with serve_in_thread(make_app()) as live:
        yield live.url


@pytest.fixture(scope="session")
def document(server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/openapi.json as the server gives it."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(json.dumps(httpx.get(f"{server}/openapi.json").raise_for_status().json(), indent=1))
    return path


@pytest.fixture(scope="session")
def npm() -> Npm:
    return Npm()


def pytest_sessionfinish() -> None:
    abilities.write_table()
