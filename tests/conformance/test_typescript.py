"""TypeScript clients: generated, compiled strictly, and used."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .abilities import NARROWING, check
from .toolchain import HERE, NODE, Npm, Venv, run

STRICT: dict[str, str | None] = {"strict": None}
"""What a test that got as far as the calls has seen."""


# Each writes `generated/` in a workspace, and gives the version that did.


def openapi_typescript(npm: Npm, document: Path, folder: Path) -> str:
    run(NODE, npm.tool("openapi-typescript"), document, "--output", "generated/schema.ts", cwd=folder)
    return f"{npm.version('openapi-typescript')} with openapi-fetch {npm.version('openapi-fetch')}"


def hey_api(npm: Npm, document: Path, folder: Path) -> str:
    run(NODE, npm.tool("openapi-ts"), "-i", document, "-o", "generated", "--silent", cwd=folder)
    return npm.version("@hey-api/openapi-ts")


def orval(npm: Npm, document: Path, folder: Path) -> str:
    output = {"target": "./generated/api.ts", "mode": "single", "client": "fetch"}
    config = {"api": {"input": str(document), "output": output}}
    (folder / "orval.config.mjs").write_text(f"export default {json.dumps(config)}\n")
    run(NODE, npm.tool("orval"), "--config", "orval.config.mjs", cwd=folder)
    return npm.version("orval")


def openapi_generator(npm: Npm, document: Path, folder: Path) -> str:
    generator = Venv("openapi-generator-cli")
    arguments = ("generate", "-g", "typescript-fetch", "-i", document, "-o", "generated")
    run(generator.tool("openapi-generator-cli"), *arguments, cwd=folder)
    return generator.version("openapi-generator-cli")


def kubb(npm: Npm, document: Path, folder: Path) -> str:
    (folder / "kubb.config.mjs").write_text(
        f"""import {{ defineConfig }} from '@kubb/core'
import {{ pluginOas }} from '@kubb/plugin-oas'
import {{ pluginTs }} from '@kubb/plugin-ts'
export default defineConfig({{
  root: '.',
  input: {{ path: {json.dumps(str(document))} }},
  output: {{ path: './generated', format: false, extension: {{ '.ts': '' }} }},
  plugins: [pluginOas({{ generators: [] }}), pluginTs({{ output: {{ path: 'types.ts' }} }})],
}})
"""
    )
    run(NODE, npm.tool("kubb"), "generate", "--config", "kubb.config.mjs", cwd=folder)
    return npm.version("@kubb/cli")


def swagger_typescript_api(npm: Npm, document: Path, folder: Path) -> str:
    arguments = ("generate", "-p", document, "-o", "generated", "-n", "api.ts", "--disable-throw-on-error")
    run(NODE, npm.tool("swagger-typescript-api"), *arguments, cwd=folder)
    return npm.version("swagger-typescript-api")


def typed_openapi(npm: Npm, document: Path, folder: Path) -> str:
    run(NODE, npm.tool("typed-openapi"), document, "-o", "generated/api.ts", cwd=folder)
    return npm.version("typed-openapi")


Generate = Callable[[Npm, Path, Path], str]


def used(npm: Npm, document: Path, server: str, name: str, generate: Generate) -> tuple[str, dict[str, str | None]]:
    """The version of a tool, and what its driver `name` has seen of its client, which `tsc --strict` has checked."""
    folder = npm.workspace(name.replace("/", "-"))
    (folder / "driver.ts").write_text((HERE / "drivers" / f"{name}.ts").read_text())
    version = generate(npm, document, folder)
    npm.compile(folder, "driver.ts")
    return version, npm.call(folder, "driver.ts", server)


def test_openapi_fetch(npm: Npm, document: Path, server: str) -> None:
    """openapi-typescript's types, with openapi-fetch, know every call, argument, result and error."""
    version, found = used(npm, document, server, "openapi-fetch", openapi_typescript)
    check("openapi-typescript", version, STRICT | found)


def test_hey_api(npm: Npm, document: Path, server: str) -> None:
    """@hey-api/openapi-ts makes functions of the calls, and typed async iterators of the streams, which resume."""
    version, found = used(npm, document, server, "hey-api", hey_api)
    check("@hey-api/openapi-ts", version, STRICT | found)


@pytest.mark.conformance
def test_orval(npm: Npm, document: Path, server: str) -> None:
    """orval's functions over fetch know the type of each status's body."""
    version, found = used(npm, document, server, "orval", orval)
    check("orval", version, STRICT | found)


@pytest.mark.conformance
def test_openapi_generator(npm: Npm, document: Path, server: str) -> None:
    """openapi-generator's typescript-fetch: classes of methods."""
    version, found = used(npm, document, server, "typescript-fetch", openapi_generator)
    check("openapi-generator typescript-fetch", version, STRICT | found)


@pytest.mark.conformance
@pytest.mark.parametrize(
    ("tool", "name", "generate"),
    [
        ("@hey-api/openapi-ts", "hey-api", hey_api),
        ("openapi-typescript", "openapi-fetch", openapi_typescript),
        ("orval", "orval", orval),
        ("kubb", "kubb", kubb),
        ("openapi-generator typescript-fetch", "typescript-fetch", openapi_generator),
        ("swagger-typescript-api", "swagger-typescript-api", swagger_typescript_api),
        ("typed-openapi", "typed-openapi", typed_openapi),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_narrow(npm: Npm, document: Path, server: str, tool: str, name: str, generate: Generate) -> None:
    """Declared errors are told apart by `code` alone, in answers and in streams; no driver has a cast in it."""
    code = (HERE / "drivers" / "narrowing" / f"{name}.ts").read_text()
    assert " as " not in code.replace(" as api", "").replace(" as sdk", "").replace(" as const", "")
    version, found = used(npm, document, server, f"narrowing/{name}", generate)
    NARROWING.check(tool, version, found)


@pytest.mark.conformance
def test_swagger_client(npm: Npm, server: str) -> None:
    """swagger-client, which Swagger UI is made of, makes every call of the document without code."""
    folder = npm.workspace("swagger-client")
    for name in ("swagger-client.mjs", "everything.json"):
        shutil.copy(HERE / "drivers" / name, folder)
    found = npm.call(folder, "swagger-client.mjs", server)
    check("swagger-client", npm.version("swagger-client"), found)
