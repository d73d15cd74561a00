"""docs/clients.md: its four clients run as they stand there, and its table is of the locked versions."""

import json
import re
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from fastapi_poto.runtime import default_poto
from tests.docs.blocks import Block, read_blocks
from tests.docs.runner import Page

from .abilities import ABILITIES, LACKS, PAGE
from .toolchain import HERE, NODE, Npm, run


def test_the_four_clients(npm: Npm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """curl, httpx, fetch and the generated client make the same calls and see the same answers."""
    blocks = read_blocks(PAGE)
    app = blocks[0]
    (curl,) = [one for one in blocks if one.language == "console" and not one.run]
    (http,) = [one for one in blocks if "import httpx" in one.code]
    (fetch,) = [one for one in blocks if one.language == "js"]
    (generated,) = [one for one in blocks if one.language == "ts"]
    monkeypatch.chdir(tmp_path)
    default_poto.cache_clear()  # another test's may be on a store that has gone
    with ExitStack() as stack:
        page = Page(stack)
        for block in (app, curl, http):  # what they show is compared by the runner of the docs
            page.run(block)
        assert page.url
        said = (node(code_of(fetch, page.url), tmp_path), generated_client(npm, generated, page.url))
    assert [one.split() for one in said] == [["1", "tea-0", "tea-1"]] * 2


@pytest.mark.conformance
def test_the_streams_of_front_ends(npm: Npm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/frontends.md writes around the generated client of streams compiles, and ends after three items."""
    blocks = read_blocks(PAGE.with_name("frontends.md"))
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        page = Page(stack)
        page.run(next(block for block in blocks if block.run == "server"))
        assert page.url
        (generated,) = [block for block in blocks if block.language == "ts"]
        token = httpx.post(f"{page.url}/auth/visitor").json()["access_token"]
        tokens = f"export const accessToken = async (): Promise<string> => {json.dumps(token)}"
        said = generated_client(npm, generated, page.url, tokens=tokens)
    assert said.split() == ["0", "1", "2"]


def code_of(block: Block, url: str) -> str:
    return block.code.replace("http://localhost:8000", url)


def node(code: str, folder: Path) -> str:
    (folder / "block.mjs").write_text(code)
    return run(NODE, "block.mjs", cwd=folder, timeout=30).stdout


def generated_client(npm: Npm, block: Block, url: str, **files: str) -> str:
    folder = npm.workspace("page")
    for name, text in files.items():
        (folder / f"{name}.ts").write_text(text)
    (folder / "openapi.json").write_text(httpx.get(f"{url}/openapi.json").raise_for_status().text)
    (folder / "block.ts").write_text(code_of(block, url))
    run(NODE, npm.tool("openapi-ts"), "-i", "openapi.json", "-o", "client", "--silent", cwd=folder)
    npm.compile(folder, "block.ts")
    npm.bundle(folder, "block.ts", "block.mjs")
    return run(NODE, "block.mjs", cwd=folder, timeout=30).stdout


def test_the_table() -> None:
    """The page's table has every tool and ability, in the versions of the lock files."""
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("<!-- table: begin -->")[2].partition("<!-- table: end -->")[0]
    head, _, versions, *_ = table.strip().splitlines()
    assert head.count("|") == len(LACKS) + 2
    assert all(f"| {title} |" in table for title in ABILITIES.values())
    packages = json.loads((HERE / "package.json").read_text())["dependencies"]
    locked = {name: packages[name] for name in ("openapi-typescript", "@hey-api/openapi-ts", "orval", "swagger-client")}
    for file in (HERE / "requirements").glob("open*.txt"):
        locked |= re.findall(r"^(openapi-[\w-]+)==(\S+)$", file.read_text(), re.MULTILINE)
    missing = {name: version for name, version in locked.items() if version not in versions}
    assert not missing, "`make conformance` writes the table again"
