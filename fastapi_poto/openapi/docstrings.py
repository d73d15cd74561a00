"""What a docstring says: a summary, a description, and a line for each argument (Google's sections)."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_SECTION = re.compile(r"^(?P<name>Args|Arguments|Parameters|Params|Returns|Return|Yields|Yield):\s*$")
_ENTRY = re.compile(r"^\*{0,2}(?P<name>\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)$")
_TYPE = r"[\w.]+(?:\[[^:]*\])?"
_TYPED = re.compile(rf"^{_TYPE}(?:\s*\|\s*{_TYPE})*:\s+(?P<text>.+)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Docstring:
    """The parts of one docstring, each as Markdown."""

    summary: str = ""
    """The first line, without its full stop."""
    description: str = ""
    """The rest, without the sections that have a place of their own."""
    arguments: dict[str, str] = field(default_factory=dict)
    result: str = ""
    """What `Returns:` or `Yields:` says."""


def parse_docstring(text: str) -> Docstring:
    """The parts of a docstring. Sections that the document has no place for (`Raises:`) stay in the description."""
    first, _, rest = inspect.cleandoc(text).partition("\n")
    kept: list[str] = []
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in rest.splitlines():
        found = _SECTION.match(line)
        if found is not None:
            current = sections.setdefault(found["name"], [])
        elif current is not None and (not line.strip() or line[0].isspace()):
            current.append(line)
        else:
            current = None
            kept.append(line)
    arguments: dict[str, str] = {}
    results: list[str] = []
    for name, lines in sections.items():
        if name in ("Args", "Arguments", "Parameters", "Params"):
            arguments |= _entries(lines)
        else:
            results.append(_result(lines))
    return Docstring(
        first.strip().removesuffix("."), "\n".join(kept).strip(), arguments, " ".join(filter(None, results))
    )


def doc_of_class(cls: type, base: type) -> str:
    """The docstring of a class, or the one it inherits from what stands below `base`; a dataclass's own made-up
    one does not count."""
    for one in cls.__mro__:
        if one is base:
            break
        text = vars(one).get("__doc__")
        if text and not text.startswith(f"{one.__name__}("):
            return inspect.cleandoc(text)
    return ""


def _entries(lines: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc("\n".join(["", *lines])).splitlines():
        entry = None if line[:1].isspace() else _ENTRY.match(line)
        if entry is not None:
            name = entry["name"]
            found[name] = entry["text"].strip()
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def _result(lines: Iterable[str]) -> str:
    text = " ".join(line.strip() for line in lines).strip()
    typed = _TYPED.match(text)  # "int: How many lines there are."
    return typed["text"] if typed is not None else text
