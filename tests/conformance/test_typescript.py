"""TypeScript clients: generated, compiled strictly, and used."""

import json
import shutil
from pathlib import Path

import pytest

from .abilities import check
from .toolchain import HERE, NODE, Npm, Venv, run

STRICT: dict[str, str | None] = {"strict": None}
"""What a test that got as far as the calls has seen."""


def prepared(npm: Npm, name: str) -> Path:
    folder = npm.workspace(name)
    (folder / "driver.ts").write_text((HERE / "drivers" / f"{name}.ts").read_text())
    return folder


def test_openapi_fetch(npm: Npm, document: Path, server: str) -> None:
    """openapi-typescript's types, with openapi-fetch, know every call, argument, result and error."""
    folder = prepared(npm, "openapi-fetch")
    run(NODE, npm.tool("openapi-typescript"), document, "--output", "generated/schema.ts", cwd=folder)
    npm.compile(folder, "driver.ts")
    versions = f"{npm.version('openapi-typescript')} with openapi-fetch {npm.version('openapi-fetch')}"
    check("openapi-typescript", versions, STRICT | npm.call(folder, "driver.ts", server))


def test_hey_api(npm: Npm, document: Path, server: str) -> None:
    """@hey-api/openapi-ts makes functions of the calls, and typed async iterators of the streams, which resume."""
    folder = prepared(npm, "hey-api")
    run(NODE, npm.tool("openapi-ts"), "-i", document, "-o", "generated", "--silent", cwd=folder)
    npm.compile(folder, "driver.ts")
    check("@hey-api/openapi-ts", npm.version("@hey-api/openapi-ts"), STRICT | npm.call(folder, "driver.ts", server))


@pytest.mark.conformance
def test_orval(npm: Npm, document: Path, server: str) -> None:
    """orval's functions over fetch know the type of each status's body."""
    folder = prepared(npm, "orval")
    output = {"target": "./generated/api.ts", "mode": "single", "client": "fetch"}
    config = {"api": {"input": str(document), "output": output}}
    (folder / "orval.config.mjs").write_text(f"export default {json.dumps(config)}\n")
    run(NODE, npm.tool("orval"), "--config", "orval.config.mjs", cwd=folder)
    npm.compile(folder, "driver.ts")
    check("orval", npm.version("orval"), STRICT | npm.call(folder, "driver.ts", server))


@pytest.mark.conformance
def test_openapi_generator(npm: Npm, document: Path, server: str) -> None:
    """openapi-generator's typescript-fetch: classes of methods."""
    folder, generator = prepared(npm, "typescript-fetch"), Venv("openapi-generator-cli")
    arguments = ("generate", "-g", "typescript-fetch", "-i", document, "-o", "generated")
    run(generator.tool("openapi-generator-cli"), *arguments, cwd=folder)
    npm.compile(folder, "driver.ts")
    found = STRICT | npm.call(folder, "driver.ts", server)
    check("openapi-generator typescript-fetch", generator.version("openapi-generator-cli"), found)


@pytest.mark.conformance
def test_swagger_client(npm: Npm, server: str) -> None:
    """swagger-client, which Swagger UI is made of, makes every call of the document without code."""
    folder = npm.workspace("swagger-client")
    for name in ("swagger-client.mjs", "everything.json"):
        shutil.copy(HERE / "drivers" / name, folder)
    found = npm.call(folder, "swagger-client.mjs", server)
    check("swagger-client", npm.version("swagger-client"), found)
