"""README.md and docs/ do what they say."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import INERT, RUN, read_blocks

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_blocks_run(page: Path, tmp_path: Path) -> None:
    """Every code block of the page runs, in order, warnings being errors."""
    done = run_page(page, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.conformance
@pytest.mark.parametrize("page", [page for page in PAGES if any(block.needs for block in read_blocks(page))], ids=name_of)
def test_the_blocks_that_need_npm_run(page: Path, tmp_path: Path) -> None:
    """So do those that install something from npm."""
    done = run_page(page, tmp_path, DOCS_HAVE="npm")
    assert done.returncode == 0, done.stdout + done.stderr


def run_page(page: Path, folder: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POTO_")}
    environment |= {name: secrets.token_urlsafe(48) for name in ("POTO_SECRET", "POTO_PREVIOUS_SECRETS")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.docs.runner", str(page)],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_lead_somewhere(page: Path) -> None:
    """Relative links name files that are there, and their anchors name headings."""
    text = re.sub(r"^(`{3,}).*?^\1`*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{name_of(page)} links to {target}"
        if anchor and there.suffix == ".md":
            assert anchor in anchors_of(there), f"{name_of(page)} links to {target}: no such heading"


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+\s+(.+?)\s*$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_languages_are_known(page: Path) -> None:
    """No block is left out because nobody knows what it is."""
    assert {block.language for block in read_blocks(page)} <= RUN | INERT


# The runner itself: that it would notice.


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\nassert 1 == 2\n```", "AssertionError"),
        ("```python\nx = 1\n```\n\n```python\nawait asyncio.sleep(0)\nimport asyncio\n```", "NameError"),
        ("```python\nimport warnings\nwarnings.warn('old')\n```", "UserWarning"),
        ("```console\n$ echo one\ntwo\n```", "expected 'two'"),
        ("```console\n$ false\n```", "bash ended with 1"),
        ("```js\nthrow new Error('no')\n```", "node ended with 1"),
        ("<!-- run: skip -->\n```python\n```", "say why"),
        ("<!-- run: fails with ZeroDivision -->\n```python\n1\n```", "was to fail"),
        ("<!-- run: server -->\n\nText.\n", "no code block"),
        ("```cobol\n```", "nobody runs"),
        ("```python\n", "not closed"),
    ],
    ids=lambda value: value[:40],
)
def test_the_runner_notices(tmp_path: Path, text: str, complaint: str) -> None:
    """A block that does not do what it says fails the page."""
    page = tmp_path / "page.md"
    page.write_text(text)
    done = run_page(page, tmp_path)
    assert done.returncode == 1
    assert complaint in done.stderr


def test_the_runner_serves(tmp_path: Path) -> None:
    """A served app is what the blocks after it call, in Python, in bash, whose variables last, and in Node."""
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- run: server -->\n```python\nfrom fastapi import FastAPI\napp = FastAPI(title='T')\n```\n"
        "```python\nimport httpx\nasync with httpx.AsyncClient() as client:\n"
        "    answer = await client.get('http://localhost:8000/openapi.json')\n"
        "assert answer.json()['info']['title'] == 'T'\n```\n"
        '```console\n$ TITLE=$(curl -s http://localhost:8000/openapi.json | \\\n> grep -o \'"title":"T"\')\n```\n'
        '```console\n$ echo $TITLE\n"title"…\n```\n'
        "```ts\nconst answer: Response = await fetch('http://localhost:8000/openapi.json')\n"
        "if ((await answer.json()).info.title !== 'T') throw new Error('no')\n```\n"
    )
    done = run_page(page, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
