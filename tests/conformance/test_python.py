"""Python clients and models: generated, checked by mypy, and used."""

import shutil
from pathlib import Path

import pytest

from .abilities import NARROWING, NARROWS, check
from .toolchain import HERE, Venv, run

pytestmark = pytest.mark.conformance


def errors_of_mypy(venv: Venv, folder: Path, *arguments: str) -> dict[str, list[str]]:
    """What mypy says, by file."""
    options = ("--python-executable", str(venv.python), "--no-error-summary", *arguments)
    done = run(venv.python, "-m", "mypy", *options, cwd=folder, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        found.setdefault(line.partition(":")[0], []).append(line)
    return found


def copy_driver(name: str, folder: Path) -> None:
    for one in (name, "steps.py", "everything.json"):
        shutil.copy(HERE / "drivers" / one, folder)


def test_openapi_python_client(document: Path, server: str, tmp_path: Path) -> None:
    """openapi-python-client: functions and attrs classes, clean under mypy --strict, errors told apart by class."""
    venv = Venv("openapi-python-client")
    arguments = ("generate", "--path", document, "--meta", "none", "--output-path", "poto_client")
    bin_first = {"PATH": f"{venv.tool('')}:/usr/bin:/bin"}  # it calls ruff
    said = run(venv.tool("openapi-python-client"), *arguments, cwd=tmp_path, env=bin_first)
    assert "Warning" not in said.stdout + said.stderr, said.stdout
    copy_driver("openapi_python_client.py", tmp_path)
    wrong = errors_of_mypy(venv, tmp_path, "--strict", "-p", "poto_client", "-m", "openapi_python_client")
    known = {"poto_client/client.py"}  # its `__exit__` hands httpx a tuple of objects
    assert wrong.keys() <= known, wrong
    strict = {"strict": str(wrong) if wrong else None}
    found = strict | venv.call("openapi_python_client.py", server, generated=tmp_path)
    version = venv.version("openapi-python-client")
    NARROWING.check("openapi-python-client", version, {name: found.pop(name) for name in NARROWS if name in found})
    check("openapi-python-client", version, found)


def test_openapi_generator(document: Path, server: str, tmp_path: Path) -> None:
    """openapi-generator's python: pydantic models, an exception per status with the typed body in it."""
    venv = Venv("openapi-generator-cli")
    arguments = ("generate", "-g", "python", "-i", document, "-o", tmp_path, "-p", "packageName=poto_client")
    run(venv.tool("openapi-generator-cli"), *arguments, cwd=tmp_path)
    wrong = errors_of_mypy(venv, tmp_path, "-p", "poto_client.models")
    # A union within a union: its template returns the members of the inner one. In the other file it imports
    # pydantic's ValidationError, and over it the document's.
    unknown = {file for file in wrong if not file.startswith(("poto_client/models/feed_", "poto_client/models/stream"))}
    assert not unknown, wrong
    strict = {"strict": str(wrong) if wrong else None}
    found = strict | venv.call("openapi_generator.py", server, generated=tmp_path)
    check("openapi-generator python", venv.version("openapi-generator-cli"), found)


def test_datamodel_code_generator(document: Path, server: str, tmp_path: Path) -> None:
    """datamodel-code-generator: models, clean under mypy --strict, that read and write what the server does."""
    venv = Venv("datamodel-code-generator")
    what = ("--input", document, "--input-file-type", "openapi", "--output", "poto_models.py")
    how = ("--output-model-type", "pydantic_v2.BaseModel", "--target-python-version", "3.11", "--use-annotated")
    run(venv.tool("datamodel-codegen"), *what, *how, "--formatters", "builtin", cwd=tmp_path)
    copy_driver("models.py", tmp_path)
    wrong = errors_of_mypy(venv, tmp_path, "--strict", "poto_models.py", "models.py")
    assert not wrong, wrong
    assert venv.call("models.py", server, generated=tmp_path) == dict.fromkeys(
        ("visitor", "types", "union", "declared_errors")
    )
