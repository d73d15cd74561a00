"""How the value of one parameter travels: in the JSON body, the query, the path, a header, a cookie, a form, a file."""

import json
import re
from collections.abc import Callable
from typing import Any, Final, get_args
from urllib.parse import quote

from fastapi import params
from pydantic.fields import FieldInfo
from starlette.datastructures import UploadFile
from starlette.requests import cookie_parser

from ..operations import Operation, Parameter, Source, is_upload, is_value
from ..wire import WireType, as_plain_text, with_secrets
from .outgoing import Outgoing

Carrier = Callable[[Outgoing, Any], None]
"""Puts a value where it belongs. Raises `ValueError` for one that would arrive as something else."""

# As the server reads it: by alias, without what the server computes; `Json` as the text that it is.
AS_SENT: Final[dict[str, Any]] = {"by_alias": True, "round_trip": True, "warnings": False}


def carrier_of(parameter: Parameter, operation: Operation) -> Carrier | None:
    """None for a parameter that the server fills."""
    name = parameter.name
    if is_upload(parameter.annotation):
        return _in_files(name)
    if parameter.source is Source.WIRE and operation.carried_in != "form":
        return lambda outgoing, value: outgoing.members.update({name: value})
    marks = (*getattr(parameter.annotation, "__metadata__", ()), parameter.default)
    mark = next((one for one in marks if isinstance(one, params.Param | params.Body)), None)
    in_path = _hole(name).search(operation.path) is not None
    if parameter.source is not Source.WIRE and mark is None and not in_path:
        return None
    if isinstance(mark, params.File):
        return _in_files(mark.alias or name)
    if in_path or isinstance(mark, params.Path):
        return _Path(parameter, operation, mark)
    if mark is None and operation.carried_in == "form" and not is_value(_bare(parameter.annotation)):
        return _JsonField(parameter, operation, mark)
    carrier = next((one for kind, one in _BY_MARK if isinstance(mark, kind)), _FormField)
    return carrier(parameter, operation, mark)


class _AsText:
    """A value as one or more texts, by the name that the server knows it under."""

    place: str
    rewire = staticmethod(as_plain_text)

    def __init__(self, parameter: Parameter, operation: Operation, mark: Any) -> None:
        self.parameter = parameter
        self.operation = operation
        self.mark = mark
        self.name: str = getattr(mark, "alias", None) or parameter.name
        self._to_json = WireType[Any](_bare(parameter.annotation), rewire=self.rewire).to_json
        self._default = default_of(parameter)

    def plain(self, value: Any) -> Any:
        return json.loads(self._to_json(value, **AS_SENT))

    def pairs(self, value: Any) -> list[tuple[str, str]]:
        plain = self.plain(value)
        if isinstance(plain, dict):  # a model's members are parameters of their own
            return [(member, text) for member, one in plain.items() for text in texts(one)]
        found = [(self.name, text) for text in texts(plain)]
        if self.is_absent(found) and value != self._default:
            raise self.refusal(value, "which is not its default")
        return found

    def is_absent(self, found: list[tuple[str, str]]) -> bool:
        """Whether the server takes this for a parameter that was left out."""
        return not found

    def refusal(self, value: Any, why: str) -> ValueError:
        return not_carried(self.operation, self.place, self.parameter.name, value, why)


class _Header(_AsText):
    place = "header"

    def __call__(self, outgoing: Outgoing, value: Any) -> None:
        for name, text in self.pairs(value):
            if text.strip(" \t") != text or not text.isascii() or not text.replace("\t", " ").isprintable():
                raise self.refusal(text, "which would arrive as something else")
            is_own = name == self.mark.alias or not self.mark.convert_underscores
            outgoing.fields.append((name if is_own else name.replace("_", "-"), text))


class _Cookie(_AsText):
    place = "cookie"

    def __call__(self, outgoing: Outgoing, value: Any) -> None:
        for name, text in self.pairs(value):
            if not text.isascii() or not text.isprintable() or cookie_parser(f"{name}={text}") != {name: text}:
                raise self.refusal(text, "which would arrive as something else")
            outgoing.cookies.append((name, text))


class _Query(_AsText):
    place = "query"

    def __call__(self, outgoing: Outgoing, value: Any) -> None:
        outgoing.query.extend(self.pairs(value))


class _Path(_AsText):
    place = "path"

    def __call__(self, outgoing: Outgoing, value: Any) -> None:
        (text,) = texts(self.plain(value))

        def fill(hole: re.Match[str]) -> str:
            if hole[1] == "path":
                return quote(text)
            if not text or "/" in text:
                raise self.refusal(text, "for a segment is not empty and has no slash")
            return quote(text, safe="")

        outgoing.path = _hole(self.name).sub(fill, outgoing.path)
        # Whoever joins URLs takes such segments away, and the call would reach another method.
        if not {".", ".."}.isdisjoint(outgoing.path.split("/")):
            raise self.refusal(text, "for . and .. are no segments")


class _FormField(_AsText):
    place = "form"

    def __call__(self, outgoing: Outgoing, value: Any) -> None:
        for name, text in self.pairs(value):
            outgoing.form.setdefault(name, []).append(text)

    def is_absent(self, found: list[tuple[str, str]]) -> bool:
        # To FastAPI an empty field is one that was left out.
        return not found or found == [(self.name, "")]


class _JsonField(_AsText):
    """A form's field that is not plain text has JSON."""

    place = "form"
    rewire = staticmethod(with_secrets)

    def __call__(self, outgoing: Outgoing, value: Any) -> None:
        outgoing.form[self.name] = json.dumps(self.plain(value))


_BY_MARK: Final[list[tuple[type, type[Any]]]] = [
    (params.Header, _Header),
    (params.Cookie, _Cookie),
    (params.Query, _Query),
]


def _hole(name: str) -> re.Pattern[str]:
    """A parameter of a path: `{name}` or `{name:convertor}`."""
    return re.compile(rf"\{{{name}(?::(\w+))?\}}")


def _in_files(name: str) -> Carrier:
    return lambda outgoing, value: outgoing.files.extend(_files(name, value))


def _files(name: str, value: Any) -> list[tuple[str, Any]]:
    """One upload, several, or none: `UploadFile`, an open file, bytes, or httpx's own tuples."""
    if value is None:
        return []
    if isinstance(value, list | tuple | set | frozenset):
        is_httpx = isinstance(value, tuple) and bool(value) and isinstance(value[0], str)
        if not is_httpx:
            return [file for one in value for file in _files(name, one)]
    if isinstance(value, UploadFile):
        return [(name, (value.filename or name, value.file, value.content_type or "application/octet-stream"))]
    return [(name, (name, bytes(value)) if isinstance(value, bytes | bytearray | memoryview) else value)]


def texts(value: Any) -> list[str]:
    """A JSON value as the strings that a query, a header or a form has for it; none for None."""
    if value is None:
        return []
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value if isinstance(value, str) else json.dumps(value)]


def default_of(parameter: Parameter) -> Any:
    """What the server takes if it is sent nothing; `...` if it must be sent something."""
    if parameter.required:
        return ...
    default = parameter.default if parameter.default_factory is None else parameter.default_factory()
    return default.get_default(call_default_factory=True) if isinstance(default, FieldInfo) else default


def not_carried(operation: Operation, place: str, name: str, value: Any, why: str) -> ValueError:
    return ValueError(f"{operation.where}: a {place} cannot carry {value!r} as {name!r}, {why}")


def _bare(annotation: Any) -> Any:
    """The type without FastAPI's marks, which are no constraints of a value that is sent."""
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
