"""The code blocks of a Markdown file, and the directives that stand before them.

<!-- run: server -->               also serve the block's `app`; http://localhost:8000 in later blocks is that server
<!-- run: skip because REASON -->  do not run it
<!-- run: fails with TEXT -->      it must fail, and say TEXT
<!-- needs: npm -->                run it only where npm's registry may be asked: in `make conformance`
<!-- file: NAME -->                also write the block into a file of that name, for the blocks after it
"""

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
_DIRECTIVE = re.compile(r"^\s*<!--\s*(?P<name>run|file|needs):\s*(?P<value>.*?)\s*-->\s*$")

# Languages that are not run: data and drawings.
INERT = {"", "text", "json", "http", "toml", "ini", "yaml", "nginx", "dockerfile", "css", "html", "mermaid", "diff"}
RUN = {"python", "py", "console", "sh", "bash", "js", "javascript", "ts", "typescript"}


@dataclass(frozen=True)
class Block:
    path: Path
    line: int
    """Of the block's first line of code, from 1."""
    language: str
    code: str
    run: str = ""
    file: str | None = None
    needs: str | None = None

    @property
    def where(self) -> str:
        return f"{self.path.name}:{self.line}"


def read_blocks(path: Path) -> list[Block]:
    """Raises `ValueError` for a fence that is not closed and for a directive before no block."""
    blocks: list[Block] = []
    directives: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if found := _DIRECTIVE.match(line):
            directives[found["name"]] = found["value"]
        elif found := _FENCE.match(line):
            start, closing = position, re.compile(rf"^ *{re.escape(found['fence'])}{found['fence'][0]}*\s*$")
            while position < len(lines) and not closing.match(lines[position]):
                position += 1
            if position == len(lines):
                raise ValueError(f"{path}:{start}: this block is not closed")
            indent = len(found["indent"])
            code = "\n".join(one[indent:] if not one[:indent].strip() else one for one in lines[start:position])
            language = found["info"].strip().partition(" ")[0].lower()
            run, file, needs = directives.pop("run", ""), directives.pop("file", None), directives.pop("needs", None)
            blocks.append(Block(path, start + 1, language, code + "\n", run, file, needs))
            position += 1
        elif line.strip() and directives:
            raise ValueError(f"{path}:{position}: a directive stands before something that is no code block")
    return blocks
