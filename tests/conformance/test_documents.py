"""The documents themselves: valid, and nothing in them that a linter would complain about."""

import json
import re
import sys
from pathlib import Path

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, OpenAPIV32SpecValidator, validate

from example_app.app import make_app as make_example
from fastapi_poto.testing import serve, sign_in
from tests.secret import SECRET

from .toolchain import HERE, NODE, Npm, run


def test_the_validator(document: Path, server: str) -> None:
    """Both documents are valid OpenAPI of the version that they name."""
    old = json.loads(document.read_text())
    new = httpx.get(f"{server}/openapi-3.2.json").raise_for_status().json()
    assert (old["openapi"], new["openapi"]) == ("3.1.0", "3.2.0")
    validate(old, cls=OpenAPIV31SpecValidator)
    validate(new, cls=OpenAPIV32SpecValidator)


def test_the_linter(npm: Npm, document: Path, server: str) -> None:
    """Redocly's recommended rules find nothing, neither errors nor warnings, in either document."""
    new = document.with_name("openapi-3.2.json")
    new.write_text(httpx.get(f"{server}/openapi-3.2.json").raise_for_status().text)
    config = ("--config", HERE / "redocly.yaml", "--format", "json")
    for path in (document, new):
        done = run(NODE, npm.tool("redocly"), "lint", path, *config, cwd=npm.folder, check=False)
        problems = json.loads(done.stdout)["problems"]
        found = {f"{one['ruleId']} {one['location'][0]['pointer']}" for one in problems}
        # It takes nothing, so nothing of it can be its caller's fault.
        assert found <= {"operation-4xx-response #/paths/~1auth~1health/get/responses"}


@pytest.mark.conformance
@pytest.mark.timeout(330)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--phases=examples,coverage,fuzzing"], r"Tested: 28"),
        # Without /streams: a chain that can begin there begins nowhere else, and nobody has a stream.
        (["--phases=stateful", "--exclude-path-regex=^/streams"], r"API Links:\s+2 covered"),
    ],
    ids=["calls", "chains"],
)
def test_schemathesis(tmp_path: Path, options: list[str], expected: str) -> None:
    """Every check of schemathesis, made-up calls and chains of calls, finds nothing wrong with the example app.

    It reads the document of OpenAPI 3.2: only there it knows that a stream's schema is of its items.
    """
    app = make_example(SECRET)
    with serve(app) as live:

        @app.get("/token", include_in_schema=False)
        async def token() -> str:  # signing out is among the calls: the hooks come back for another
            return (await sign_in(app, roles=["admin"])).access_token

        done = run(
            Path(sys.executable).with_name("schemathesis"),
            *("--config-file", HERE / "schemathesis.toml", "run", f"{live.url}/openapi-3.2.json", *options),
            *("--max-examples=25", "--seed=1", "--request-timeout=20", "--no-color"),
            cwd=tmp_path,
            env={"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE / "drivers")},
            timeout=300,
        )
    assert "Authentication failed" not in done.stdout, done.stdout
    assert "failed" not in done.stdout, done.stdout
    assert re.search(expected, done.stdout), done.stdout
