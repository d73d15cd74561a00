"""The rules of the house that no single room can keep."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest
from fastapi import APIRouter

import fastapi_poto
from fastapi_poto import AuthSettings, Settings, errors
from fastapi_poto.options import PotoOptions, RouterOptions
from tests.processes import ROOT

PACKAGE = ROOT / "fastapi_poto"
FILES = sorted(PACKAGE.rglob("*.py"))

PUBLIC = {
    "fastapi_poto": """
        ApiKeys AuthSettings BigInt CallContext Channel ConfigurationError Credentials CurrentSession CurrentUser Event
        Identity NoContextError OIDC OwnSignIn Poto PotoError PotoModule PotoRouter Session Settings Store Topic User
        UserProvider current_context current_session current_user describe_download named poto_router public roles rpc
    """,
    "fastapi_poto.audit": "Finding Report Row audit",
    "fastapi_poto.auth": """
        Accounts ApiKey ApiKeys AuditEvent Authenticator Credentials CurrentSession CurrentUser ExternalUsers Keys
        ManagedCredentials OwnSignIn Passwords Secrets SignIn StoreUsers TokenPair VisitorTokens auth_router
        bearer_token current_session current_user
    """,
    "fastapi_poto.client": "InvalidArguments PotoClient StreamCut TokenPair UnexpectedResponse events remote stop",
    "fastapi_poto.openapi": "openapi_3_2 poto_docs refine_openapi",
    "fastapi_poto.sessions": "Session SessionManager SessionProvider SessionStats",
    "fastapi_poto.stores": "Appended Batch Entry EventLog Life MemoryStore Page Store store_from_url",
    "fastapi_poto.streaming": "Channel Event Member PresenceChange RunningStream Topic describe_download",
    "fastapi_poto.testing": "Clock LiveApp acting_as serve sign_in",
    "fastapi_poto.users": "Account Identity User UserProvider",
}
NAMES = [(module, name) for module, names in PUBLIC.items() for name in names.split()]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names(module: str) -> None:
    """The lists are what users rely on: a change to one is a decision, and a line in the changelog."""
    assert sorted(importlib.import_module(module).__all__) == PUBLIC[module].split()


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_public_names_say_what_they_are(module: str, name: str) -> None:
    """Each has a docstring of its own, unless it is an alias of a type."""
    thing = getattr(importlib.import_module(module), name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert (vars(thing).get("__doc__") or thing.__doc__ or "").strip()


def test_the_tree_of_errors_is_whole() -> None:
    """The tree drawn in errors.py names every error that a caller or an application can meet, in its place."""
    for module in pkgutil.walk_packages(fastapi_poto.__path__, "fastapi_poto."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    drawn: list[tuple[int, str]] = [
        (len(found[1]) // 4, found[2])
        for line in (errors.__doc__ or "").splitlines()
        if (found := re.match(r"((?:[│├└─ ]{4})*)([A-Z]\w+)  ", f"{line}  "))
    ]
    defined = {
        name: one for name, one in vars(errors).items() if isinstance(one, type) and one.__module__ == errors.__name__
    }
    assert sorted(name for _, name in drawn) == sorted(defined)
    above: list[type] = []
    for depth, name in drawn:
        del above[depth:]
        assert not above or issubclass(defined[name], above[-1]), name
        above.append(defined[name])
    met = set(subclasses(errors.PotoError)) | {
        one
        for module, name in NAMES
        if isinstance(one := getattr(sys.modules[module], name), type) and issubclass(one, BaseException)
    }
    assert {one.__name__ for one in met if one.__module__.startswith("fastapi_poto")} <= set(defined)


def subclasses(cls: type) -> Iterator[type]:
    for one in cls.__subclasses__():
        yield one
        yield from subclasses(one)


def test_options_are_typed() -> None:
    """Type checkers know every option of `Poto()`, with its type, and those of `APIRouter` that are its users'."""
    fields = {**get_type_hints(AuthSettings), **get_type_hints(Settings)}
    del fields["auth"]
    assert get_type_hints(PotoOptions) == fields
    internal = {"self", "routes", "dependency_overrides_provider", "on_startup", "on_shutdown"}
    internal |= {"route_class"}  # refused: methods have a class of routes of their own
    assert set(RouterOptions.__annotations__) >= set(inspect.signature(APIRouter).parameters) - internal


def test_what_the_docs_import_is_public() -> None:
    """README, docs and the example tell nobody to import from a room that may be rebuilt."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "example_app").glob("*.py")]
    told = {
        (module, name.strip())
        for page in pages
        for module, names in re.findall(r"from (fastapi_poto[\w.]*) import ([\w, ]+)", page.read_text())
        for name in names.split(",")
    }
    public = {*NAMES, *(("fastapi_poto.errors", name) for name in vars(errors))}
    assert told - public == set()


def test_extras_are_extra() -> None:
    """Importing the package, and serving from memory, imports none of the packages of its extras.

    (uvicorn is left out: sse-starlette looks for it, and does without.)
    """
    code = (
        "import sys, fastapi, fastapi_poto\n"
        "class M(fastapi_poto.PotoModule):\n    async def a(self) -> int: return 1\n"
        "fastapi.FastAPI().include_router(fastapi_poto.poto_router(M, poto=fastapi_poto.Poto()))\n"
        "print({'redis', 'asyncpg', 'httpx', 'fastapi_offline'} & set(sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "None", done.stdout + done.stderr


def test_imports_wait() -> None:
    """What only a sign-in, an issuer, a document, a stream or a session in a cookie needs is not imported before."""
    late = [
        "argon2",
        "jose",
        "uvicorn",
        "sse_starlette",
        "difflib",
        "fastapi_poto.auth.oidc",
        "fastapi_poto.auth.key_routes",
    ]
    late += ["fastapi_poto.openapi.document", "fastapi_poto.sessions.cookie", "fastapi_poto.stores.sqlite"]
    code = f"import sys, fastapi_poto; print(*{set(late)} & set(sys.modules)); fastapi_poto.OIDC"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_rooms(path: Path) -> None:
    """At most 400 lines, and a docstring that says what the room is for."""
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert text.startswith('"""') or not text.strip()


def test_tests_are_rooms_too() -> None:
    """At most 400 lines each; what several of them use is in a helper: from one another they import tests alone."""
    imported = re.compile(r"^from (?:[\w.]*\.)?test_\w+ import \(?(?:\s*# .*)?\s*(?!test_)\w+", re.MULTILINE)
    for path in (ROOT / "tests").rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path
        assert not imported.search(text.replace("(  # noqa: F401 - run here", "(")), path


def test_the_page_of_the_architecture() -> None:
    """It has every room in the order of the import contract, and names no file that is not there."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page[page.index("| room | holds |") : page.index("## A call")]
    rows = [re.findall(r"`([\w/]+)(?:\.py)?`", line.split("|")[1]) for line in table.splitlines()[2:] if line]
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    layers = [set(layer.split(" : ")) for layer in contract if layer != "__main__"]
    assert [{room.rstrip("/").removesuffix(".py") for room in row} for row in rows] == layers
    for name in set(re.findall(r"`([a-z_/]+\.py)`", page)):
        assert any(path.match(name) for path in FILES), name


def test_nothing_unpickles() -> None:
    """No pickle, marshal, shelve, eval or exec anywhere in the package."""
    forbidden = re.compile(
        r"^\s*(?:import|from)\s+(?:pickle|marshal|shelve|dill)\b|(?<![\w.])(?:eval|exec)\(", re.MULTILINE
    )
    assert [name_of(path) for path in FILES if forbidden.search(path.read_text())] == []


@pytest.mark.timeout(120)
def test_the_wheel(tmp_path: Path) -> None:
    """What is published has every module and PEP 561's marker, and nothing else of the project."""
    command = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("fastapi_poto-*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {name_of(path) for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert packed == files
