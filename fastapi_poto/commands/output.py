"""What commands print: lines for people, JSON for programs, progress and questions for whoever sits there."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ..errors import ConfigurationError

_EVERY = 1_000


class Output:
    """Results go to stdout; progress, questions and errors to stderr."""

    def __init__(self, *, as_json: bool, yes: bool) -> None:
        self._as_json = as_json
        self._yes = yes
        self._count = 0
        self._has_rows = False

    def row(self, values: Mapping[str, Any]) -> None:
        """One of many: its values in a line, below one of their names, or a line of JSON."""
        if not self._has_rows and not self._as_json:
            self._write("  ".join(values))
        self._has_rows = True
        shown = (_date(one) if name.endswith("_at") and one else _shown(one) for name, one in values.items())
        self._write(json.dumps(values, default=_plain) if self._as_json else "  ".join(shown))

    def result(self, values: Mapping[str, Any], said: str) -> None:
        """What was done: a sentence, or JSON."""
        self._write(json.dumps(values, default=_plain) if self._as_json else said)

    def document(self, value: Any) -> None:
        """All that there is to know: JSON in any case."""
        text = json.dumps(value, default=_plain, indent=None if self._as_json else 2, ensure_ascii=False)
        # What users keep may have signs that a terminal obeys.
        self._write("".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text))

    def progress(self, noun: str, by: int = 1) -> None:
        """Count something that takes long."""
        before, self._count = self._count // _EVERY, self._count + by
        if self._count // _EVERY > before:
            sys.stderr.write(f"{self._count:,} {noun} …\n")

    def confirm(self, what: str) -> None:
        """Go on only if that is wanted: `--yes`, or an answer at the terminal. Raises `ConfigurationError`."""
        if self._yes:
            return
        if sys.stdin.isatty():
            sys.stderr.write(f"{what}? [y/N] ")
            sys.stderr.flush()
            if sys.stdin.readline().strip().lower() in ("y", "yes"):
                return
            raise ConfigurationError("Nothing was done.")
        raise ConfigurationError(f"{what}? Add --yes if that is what you want. Nothing was done.")

    def _write(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _shown(value: Any) -> str:
    if isinstance(value, Sequence | frozenset) and not isinstance(value, str):
        return ",".join(sorted(map(str, value))) or "-"
    return "-" if value is None or value is False else "yes" if value is True else str(value)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset | set) else str(value)
