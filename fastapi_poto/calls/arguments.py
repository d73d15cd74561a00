"""From a request's bytes to a method's arguments."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from pydantic_core import ValidationError, from_json
from starlette.datastructures import FormData, UploadFile

from ..context import CallContext
from ..errors import ConfigurationError
from ..operations import Operation, Parameter, Source, alias_of, carried
from ..sessions.session import check_shape
from ..wire import wire_errors

Values = dict[str, Any]
_NOTHING: frozenset[str] = frozenset()

_LINES: Final = 10_000
"""In a body of more lines, where it is no JSON is told by the column alone."""


class _InvalidBody(RequestValidationError):
    """`body` is what was sent, for an application's own handler: parsed when it asks, for that may take long."""

    def __init__(self, errors: list[dict[str, Any]], sent: bytes) -> None:
        self._sent = sent
        super().__init__(errors)

    @property
    def body(self) -> Any:
        try:
            return from_json(self._sent or b"{}")
        except ValueError:
            return self._sent.decode(errors="replace")

    @body.setter
    def body(self, body: Any) -> None: ...


class Binder:
    """Binds the body, the query or the form of one method. What a caller leaves out gets the method's own default."""

    def __init__(self, operation: Operation) -> None:
        self._decoder: Any = operation.decoder
        self.reads_query = operation.carried_in == "query"
        self.reads_form = operation.carried_in == "form"
        self.reads_body = operation.decoder is not None and not self.reads_query and not self.reads_form
        wire = operation.wire_parameters
        optional = [parameter for parameter in wire if not parameter.required]
        self._defaults = {one.name: one.default for one in optional if one.default_factory is None}
        self._factories = [(one.name, one.default_factory) for one in optional if one.default_factory is not None]
        texts = [(parameter, carried(parameter.annotation)) for parameter in wire if not self.reads_body]
        repeated = {name for one, how in texts if how == "many" for name in _names(one)}
        repeated |= {path[0] for one, _ in texts for path in _paths(one) if len(path) > 1}
        self._repeated = repeated or _NOTHING
        self._json = {name for one, how in texts if how is None for name in _names(one)} or _NOTHING

    def body(self, body: bytes) -> Values:
        """Bind a JSON object; no body at all is an empty one. Raises `RequestValidationError`."""
        try:
            values: Values = self._defaults | self._decoder.decode(body or b"{}")
        except ValidationError as error:
            raise _InvalidBody(_body_errors(error, body, self._decoder.private), body) from None
        return self._fill(values) if self._factories else values

    def query(self, query: bytes) -> Values:
        """Bind a query string. Of a parameter that takes one value, the last counts."""
        sent = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        return self._take(self._gather(sent), len(query), "query")

    async def form(self, form: FormData) -> Values:
        """Bind a form. A field that is empty counts as left out, as in FastAPI."""
        sent = [(name, value) for name, value in form.multi_items() if value != "" or name in self._repeated]
        values = self._gather(sent)
        for name in self._json & values.keys():
            if isinstance(values[name], UploadFile):
                values[name] = await values[name].read()
        size = sum(len(value) for _, value in sent if isinstance(value, str))
        return self._take(values, size, "body")

    def _gather(self, sent: Iterable[tuple[str, Any]]) -> Values:
        values: Values = {}
        for name, value in sent:
            if name in self._repeated:
                values.setdefault(name, []).append(value)
            else:
                values[name] = value
        return values

    def _take(self, values: Values, size: int, source: str) -> Values:
        try:
            return self._fill(self._defaults | self._decoder.take(values, size))
        except ValidationError as error:
            raise RequestValidationError(wire_errors(error, source, self._decoder.private)) from None

    def _fill(self, values: Values) -> Values:
        for name, make in self._factories:
            if name not in values:
                values[name] = make()
        return values


def _names(parameter: Parameter) -> list[str]:
    """By which names a caller can send it."""
    return [path[0] for path in _paths(parameter)]


def _paths(parameter: Parameter) -> list[list[Any]]:
    """By which names, or names and places in what is sent by them."""
    alias: Any = alias_of(parameter.annotation) or parameter.name
    if isinstance(alias, str):
        return [[alias]]
    return alias if isinstance(alias[0], list) else [alias]


def _body_errors(error: ValidationError, body: bytes, private: frozenset[str]) -> list[dict[str, Any]]:
    errors = wire_errors(error, "body", private)
    if errors[0]["type"] != "json_invalid" or len(errors[0]["loc"]) > 1:
        return errors
    reason = str(errors[0]["ctx"]["error"])
    found = re.fullmatch(r"(.*) at line (\d+) column (\d+)", reason)
    position = 0
    if found is not None:
        reason, line, column = found[1], int(found[2]), int(found[3])
        before = body.split(b"\n", line - 1) if line < _LINES else [body]
        position = min(len(body) - len(before[-1]) + column - (not reason.startswith("EOF")), len(body))
    told = {"type": "json_invalid", "loc": ("body", position), "msg": "JSON decode error", "input": {}}
    return [{**told, "ctx": {"error": reason}}]


Inject = Callable[[CallContext, Parameter], Any]


def _session(context: CallContext, parameter: Parameter) -> Any:
    if context.user is None and not parameter.required:
        return None
    return context.session if parameter.shape is None else context.session.typed(parameter.shape)


INJECTED: dict[Source, Inject] = {
    Source.USER: lambda context, parameter: context.need_user() if parameter.required else context.user,
    Source.SESSION: _session,
    Source.CONTEXT: lambda context, parameter: context,
}


def check_shapes(operation: Operation) -> None:
    """Raise `ConfigurationError` for a `Session[…]` of the method or the constructor that is no shape."""
    for parameter in (*operation.parameters, *operation.constructor):
        if parameter.shape is not None:
            try:
                check_shape(parameter.shape)
            except ConfigurationError as error:
                raise ConfigurationError(f"{operation.where}: {parameter.name!r} is a {error}") from None
