"""What a client is told of an input that does not fit: as FastAPI lists it, bounded, and without secrets."""

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import ValidationError, to_json, to_jsonable_python

from .careful import Missing

_ERRORS = 50
_INPUT = 1024
"""Bytes of JSON of one input that are shown."""
_ALL = 60 * 1024
"""Bytes of JSON of all errors."""
_HIDDEN = "**********"
_PRIVATE = re.compile(
    r"passw|pass_?(phrase|code)|^pass$|pwd|secret|token|credential|api[_-]?key|private[_-]?key|authori[sz]ation"
    r"|^(pin|otp|cvv|cvc|jwt)$",
    re.IGNORECASE,
)
"""Names of members that nobody wants to read in a log."""


def wire_errors(error: ValidationError, source: str, private: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Pydantic's errors as FastAPI lists them, with their place in `source` (`body`, `query`).

    At most 50, and 64 KiB of them. What the client sent is echoed in forms that JSON has, cut to 1 KiB; not at all
    where it is the whole input, or a secret: one of the `private` members, or of a member named like a password.
    """
    if error.error_count() <= _ERRORS:
        found: Iterable[Any] = error.errors(include_url=False)
    else:  # making a list of all of them would take longer than finding them
        text = error.json(include_url=False, include_input=False, include_context=False)
        found = _first_of(text)
    return bounded(({**one, "loc": (source, *one["loc"])} for one in _told(found)), private)


def bounded(errors: Iterable[Mapping[str, Any]], private: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Errors as FastAPI lists them, within the same limits."""
    kept: list[dict[str, Any]] = []
    size = 0
    for error in errors:
        shown = _shown(error, private)
        size += len(to_json(shown))
        if len(kept) == _ERRORS or size > _ALL:
            break
        kept.append(shown)
    return kept


def _shown(error: Mapping[str, Any], private: frozenset[str]) -> dict[str, Any]:
    echo = _Echo(private)
    loc = tuple(one if isinstance(one, int) else str(one)[:128] for one in error["loc"])
    shown = {**error, "loc": loc, "msg": str(error["msg"])[:_INPUT]}
    if "input" in error:
        is_whole = len(loc) == 1 or error["type"] == "missing"
        is_hidden = any(isinstance(one, str) and echo.hides(one) for one in loc[1:]) or "" in private
        value = error["input"]
        if is_whole and not isinstance(value, str | int | float | bool | None):
            shown["input"] = None
        else:
            shown["input"] = _HIDDEN if is_hidden else echo.of(value)
    if "ctx" in error:
        shown["ctx"] = {key: _Echo(private).of(value) for key, value in error["ctx"].items()}
    return shown


def _first_of(text: str) -> Iterator[dict[str, Any]]:
    """The items of a JSON array, read one by one."""
    read, position = json.JSONDecoder().raw_decode, 1
    while position < len(text):
        item, position = read(text, position)
        yield item
        position += 1


def _told(errors: Iterable[Any]) -> Iterator[Any]:
    """The errors, with Pydantic's own for a member that is not there."""
    seen = None
    for error in errors:
        missing = error.get("input")
        if not isinstance(missing, Missing):
            yield error
        elif missing is not seen:  # a union has one for each of its types
            seen = missing
            place = len(error["loc"]) - error["loc"][::-1].index(missing.name)
            loc = (*error["loc"][: place - 1], missing.alias)
            yield {"type": "missing", "loc": loc, "msg": "Field required", "input": None}


def is_private(name: str) -> bool:
    """Whether a value of this name is one that nobody wants to read in a log."""
    return _PRIVATE.search(name) is not None


class _Echo:
    """A value as JSON has it, of which so much is shown."""

    def __init__(self, private: frozenset[str]) -> None:
        self._private = private
        self._left = _INPUT - 40  # for the signs that something was left out

    def hides(self, name: str) -> bool:
        return name in self._private or is_private(name)

    def of(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self._members(value)
        if isinstance(value, list | tuple | set | frozenset):
            return self._items(value)
        return self._leaf(value)

    def _members(self, value: dict[Any, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        self._left -= 2
        for key, one in value.items():
            if self._left <= 8:
                shown["…"] = "…"
                break
            name = self._text(str(key))
            shown[name] = _HIDDEN if self.hides(str(key)) else self.of(one)
            self._left -= 4  # a colon, a comma, and a space after each
        return shown

    def _items(self, value: Iterable[Any]) -> list[Any]:
        shown: list[Any] = []
        self._left -= 2
        for one in value:
            if self._left <= 8:
                shown.append("…")
                break
            shown.append(self.of(one))
            self._left -= 2
        return shown

    def _leaf(self, value: Any) -> Any:
        if value is None or isinstance(value, bool):
            self._left -= 5
            return value
        if isinstance(value, int | float):
            text = str(value)
            if len(text) < 64 and math.isfinite(value):  # no float is as large as a client's integer
                self._left -= len(text)
                return value
            return self._text(text)
        if isinstance(value, bytes):
            return self._text(base64.b64encode(value[:_INPUT]).decode("ascii"))
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Exception):
            return self._text(str(value))
        return self._text(str(to_jsonable_python(value, fallback=repr, serialize_unknown=True)))

    def _text(self, value: str) -> str:
        cut = value[: max(self._left, 0)]
        while len(json.dumps(cut)) > max(self._left, 8):
            cut = cut[: len(cut) * 3 // 4]
        self._left -= len(json.dumps(cut))
        return cut if len(cut) == len(value) else f"{cut}…"
