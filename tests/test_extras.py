"""What is said of a package that is not installed."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import fastapi_poto

PACKAGE = Path(fastapi_poto.__file__).parent


def test_commands_name_what_the_extras_name() -> None:
    """They work wherever the package itself came from, and with the versions that it was run against."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    known = set(chain(*project["optional-dependencies"].values()))
    said = {
        requirement
        for path in PACKAGE.rglob("*.py")
        for command in re.findall(r'Run: pip install ("[^\n]*")', path.read_text())
        for requirement in re.findall(r'"([^"{]+)"', command)
    }
    assert said
    assert said <= known
    urls = (PACKAGE / "stores" / "urls.py").read_text()
    assert {"asyncpg>=0.32", "redis>=8.1"} <= known & set(re.findall(r'"([a-z]+>=[0-9.]+)"', urls))
