"""From a method's arguments to a request: the server's binding the other way round."""

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, get_args
from urllib.parse import quote

from fastapi import params
from pydantic.fields import FieldInfo
from starlette.datastructures import UploadFile

from ..operations import Operation, Parameter, Source, is_upload, is_value
from ..wire import WireType, as_plain_text, with_secrets

Pairs = list[tuple[str, str | int | float | bool | None]]


@dataclass(slots=True)
class Outgoing:
    """One call as HTTP will have it. It may be sent more than once."""

    method: str
    path: str
    query: Pairs = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    fields: list[tuple[str, str]] = field(default_factory=list)
    """Headers that are arguments. One name may stand several times."""
    cookies: Pairs = field(default_factory=list)
    content: bytes | None = None
    form: dict[str, Any] = field(default_factory=dict)
    files: list[tuple[str, Any]] = field(default_factory=list)


class Arguments:
    """How one method is called. What can be known before a call has been worked out here."""

    def __init__(self, operation: Operation) -> None:
        self._spec = operation
        self.signature = inspect.signature(operation.function)
        self._places: dict[str, _Place] = {}
        for parameter in operation.parameters:
            place = _place(parameter, operation)
            if place is not None:
                self._places[parameter.name] = place
        self._defaults = {parameter.name: _default(parameter) for parameter in operation.parameters}
        self._to_json = WireType[Any](operation.body_type or operation.query_type or Any, rewire=with_secrets).to_json
        self._required = [
            parameter.name
            for parameter in operation.parameters
            if parameter.required and parameter.name in self._places
        ]

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outgoing:
        """Raises `TypeError` as Python does, and for what the server fills itself.

        Values are not checked: the server does that, by its version of the class.
        """
        operation = self._spec
        try:
            given = self.signature.bind_partial(None, *args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{operation.where}: {error}") from None
        given = dict(list(given.items())[1:])
        if missing := [name for name in self._required if name not in given]:
            raise TypeError(f"{operation.where} misses {', '.join(map(repr, missing))}")
        outgoing = Outgoing(operation.verb, operation.path)
        wire: dict[str, Any] = {}
        for name, value in given.items():
            place = self._places.get(name)
            if place is None:
                raise TypeError(f"{operation.where}: {name!r} is filled by the server; leave it out")
            place(outgoing, wire, value)
        if operation.query_type is not None:
            outgoing.query += self._query(wire)
        elif operation.body_type is not None:
            outgoing.content = self._json(wire)
            outgoing.headers["Content-Type"] = "application/json"
        return outgoing

    def _json(self, wire: dict[str, Any]) -> bytes:
        return self._to_json(wire, **_AS_SENT)

    def _query(self, wire: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for name, value in json.loads(self._json(wire)).items():
            texts = _texts(value)
            if not texts and wire[name] != self._defaults[name]:
                raise ValueError(_not_carried(self._spec, "query", name, wire[name]))
            yield from ((name, text) for text in texts)


# As the server reads it: by alias, without what the server computes; `Json` as the text that it is.
_AS_SENT: Final[dict[str, Any]] = {"by_alias": True, "round_trip": True, "warnings": False}

_Place = Callable[[Outgoing, dict[str, Any], Any], None]


def _place(parameter: Parameter, operation: Operation) -> _Place | None:
    """Where a parameter's value goes; None if the server fills it."""
    name = parameter.name
    if is_upload(parameter.annotation):
        return lambda outgoing, wire, value: outgoing.files.extend(_files(name, value))
    marks = (*getattr(parameter.annotation, "__metadata__", ()), parameter.default)
    mark = next((one for one in marks if isinstance(one, params.Param | params.Body)), None)
    in_path = f"{{{name}" in operation.path
    if parameter.source is Source.WIRE and not operation.form:

        def to_wire(outgoing: Outgoing, wire: dict[str, Any], value: Any) -> None:
            wire[name] = value

        return to_wire
    if parameter.source is not Source.WIRE and mark is None and not in_path:
        return None
    alias = getattr(mark, "alias", None) or name
    if isinstance(mark, params.File):
        return lambda outgoing, wire, value: outgoing.files.extend(_files(alias, value))
    annotation = _bare(parameter.annotation)
    as_json = mark is None and operation.form and not is_value(annotation)
    to_json = WireType[Any](annotation, rewire=with_secrets if as_json else as_plain_text).to_json
    default = _default(parameter)

    def plain(value: Any) -> Any:
        return json.loads(to_json(value, **_AS_SENT))

    def texts(value: Any, place: str) -> list[tuple[str, str]]:
        told = plain(value)
        if isinstance(told, dict):  # a model's members are parameters of their own
            return [(member, text) for member, one in told.items() for text in _texts(one)]
        found = [(alias, text) for text in _texts(told)]
        # To FastAPI a form's empty field is one that was left out.
        if (not found or (place == "form" and found == [(alias, "")])) and value != default:
            raise ValueError(_not_carried(operation, place, name, value))
        return found

    if isinstance(mark, params.Header):
        hyphens = mark.convert_underscores

        def to_header(outgoing: Outgoing, wire: dict[str, Any], value: Any) -> None:
            for field_, text in texts(value, "header"):
                own = field_ == mark.alias or not hyphens
                outgoing.fields.append((field_ if own else field_.replace("_", "-"), text))

        return to_header
    if isinstance(mark, params.Cookie):
        return lambda outgoing, wire, value: outgoing.cookies.extend(texts(value, "cookie"))
    if isinstance(mark, params.Query):
        return lambda outgoing, wire, value: outgoing.query.extend(texts(value, "query"))
    if isinstance(mark, params.Path) or in_path:

        def to_path(outgoing: Outgoing, wire: dict[str, Any], value: Any) -> None:
            (text,) = _texts(plain(value))
            for hole, safe in ((f"{{{name}}}", ""), (f"{{{name}:path}}", "/")):
                outgoing.path = outgoing.path.replace(hole, quote(text, safe=safe))

        return to_path

    def to_form(outgoing: Outgoing, wire: dict[str, Any], value: Any) -> None:
        if as_json:
            outgoing.form[alias] = json.dumps(plain(value))
        else:
            for field_, text in texts(value, "form"):
                outgoing.form.setdefault(field_, []).append(text)

    return to_form


def _default(parameter: Parameter) -> Any:
    """What the server takes if it is sent nothing; `...` if it must be sent something."""
    if parameter.required:
        return ...
    default = parameter.default if parameter.default_factory is None else parameter.default_factory()
    return default.get_default(call_default_factory=True) if isinstance(default, FieldInfo) else default


def _not_carried(operation: Operation, place: str, name: str, value: Any) -> str:
    return f"{operation.where}: a {place} cannot carry {value!r}, which is not {name!r}'s default"


def _bare(annotation: Any) -> Any:
    """The type without FastAPI's marks, which are no constraints of a value that is sent."""
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


def _texts(value: Any) -> list[str]:
    """A JSON value as the strings that a query, a header or a form has for it; none for None."""
    if value is None:
        return []
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value if isinstance(value, str) else json.dumps(value)]


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
