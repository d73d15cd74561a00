"""The rules of the house that no single room can keep."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastapi_poto
from tests.live import ROOT

PACKAGE = ROOT / "fastapi_poto"
FILES = sorted(PACKAGE.rglob("*.py"))

PUBLIC = [
    "AuthSettings",
    "BigInt",
    "CallContext",
    "ConfigurationError",
    "CurrentSession",
    "CurrentUser",
    "Event",
    "NoContextError",
    "Poto",
    "PotoError",
    "PotoModule",
    "PotoRouter",
    "Session",
    "Settings",
    "Store",
    "User",
    "UserProvider",
    "current_context",
    "current_session",
    "current_user",
    "describe_download",
    "poto_router",
    "public",
    "roles",
    "rpc",
]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_public_names() -> None:
    """The list is what users rely on: a change to it is a decision, and a line in the changelog."""
    assert sorted(fastapi_poto.__all__) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_say_what_they_are(name: str) -> None:
    """Each has a docstring of its own, unless it is an alias of a type."""
    thing = getattr(fastapi_poto, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert (thing.__doc__ or "").strip()


@pytest.mark.timeout(120)
def test_imports_point_one_way() -> None:
    """import-linter's contract in pyproject.toml holds, and names every room."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_ruff() -> None:
    """The package, the example and the tests are clean and formatted."""
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([ruff, *command, "."], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_extras_are_extra() -> None:
    """Importing the package, and serving from memory, imports none of the packages of its extras.

    (uvicorn is left out: sse-starlette looks for it, and does without.)
    """
    code = (
        "import sys, fastapi, fastapi_poto\n"
        "class M(fastapi_poto.PotoModule):\n    async def a(self) -> int: return 1\n"
        "fastapi.FastAPI().include_router(fastapi_poto.poto_router(M, poto=fastapi_poto.Poto('x' * 24 + 'yz' * 8)))\n"
        "print({'redis', 'asyncpg', 'httpx', 'fastapi_offline'} & set(sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "None", done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_rooms(path: Path) -> None:
    """At most 400 lines, and a docstring that says what the room is for."""
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert text.startswith('"""') or not text.strip()


def test_nothing_unpickles() -> None:
    """No pickle, marshal, shelve, eval or exec anywhere in the package."""
    forbidden = re.compile(
        r"^\s*(?:import|from)\s+(?:pickle|marshal|shelve|dill)\b|(?<![\w.])(?:eval|exec)\(", re.MULTILINE
    )
    assert [name_of(path) for path in FILES if forbidden.search(path.read_text())] == []


def test_the_package_is_typed() -> None:
    """PEP 561's marker is there, and is packaged with the modules."""
    assert (PACKAGE / "py.typed").exists()
    assert 'packages = ["fastapi_poto"]' in (ROOT / "pyproject.toml").read_text()
