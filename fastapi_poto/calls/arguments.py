"""From a request's bytes to a method's arguments."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from pydantic_core import ValidationError, from_json

from ..context import CallContext
from ..errors import ConfigurationError
from ..operations import Operation, Parameter, Source, is_sequence
from ..sessions.session import check_shape
from ..wire import wire_errors

Values = dict[str, Any]


class Binder:
    """Binds the body or the query of one method. What a caller leaves out gets the method's own default."""

    def __init__(self, operation: Operation) -> None:
        self.reads_body = operation.body_type is not None
        self.reads_query = operation.query_type is not None
        self._decoder = operation.decoder
        self._optional = [parameter for parameter in operation.wire_parameters if not parameter.required]
        self._repeated = {
            parameter.name for parameter in operation.wire_parameters if is_sequence(parameter.annotation)
        }

    def body(self, body: bytes) -> Values:
        """Bind a JSON object; no body at all is an empty one. Raises `RequestValidationError`."""
        try:
            values = self._decoder.validate_json(body or b"{}")
        except ValidationError as error:
            raise _body_error(error, body) from None
        return self.fill(values)

    def query(self, query: bytes) -> Values:
        """Bind a query string. Of a parameter that takes one value, the last counts."""
        sent: dict[str, Any] = {}
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            if name in self._repeated:
                sent.setdefault(name, []).append(value)
            else:
                sent[name] = value
        try:
            values = self._decoder.validate(sent)
        except ValidationError as error:
            raise RequestValidationError(wire_errors(error, "query")) from None
        return self.fill(values)

    def fill(self, values: Values) -> Values:
        """Give what the caller left out the method's own default."""
        for parameter in self._optional:
            if parameter.name not in values:
                factory = parameter.default_factory
                values[parameter.name] = parameter.default if factory is None else factory()
        return values


def _body_error(error: ValidationError, body: bytes) -> RequestValidationError:
    errors = wire_errors(error, "body")
    if errors[0]["type"] != "json_invalid":
        return RequestValidationError(errors, body=from_json(body or b"{}"))
    reason, position = str(errors[0]["ctx"]["error"]), 0
    try:
        json.loads(body)
    except json.JSONDecodeError as decode_error:
        reason, position = decode_error.msg, decode_error.pos
    except (UnicodeDecodeError, RecursionError, ValueError):
        pass
    return RequestValidationError(
        [
            {
                "type": "json_invalid",
                "loc": ("body", position),
                "msg": "JSON decode error",
                "input": {},
                "ctx": {"error": reason},
            }
        ],
        body=body.decode(errors="replace"),
    )


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
