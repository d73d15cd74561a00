"""What a method takes over the wire: the members of its JSON body, its query or its form, as one type."""

from collections.abc import Iterable
from typing import Annotated, Any, NotRequired, get_args, get_origin

from fastapi import params
from pydantic import AliasChoices, AliasPath
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaMode
from starlette.requests import HTTPConnection
from typing_extensions import TypedDict

from ..errors import ConfigurationError
from ..streaming.frames import ERROR_MEMBER
from ..wire import Decoder, Described, Rewire, Schema, WireType, describe, of_fields, of_texts, wire_type
from .hints import members
from .operation import CarriedIn, Operation, Parameter, Source
from .parameters import is_form
from .texts import carried, check_query

_NOTHING: frozenset[str] = frozenset()
Alias = str | list[str | int] | list[list[str | int]] | None


def read_payload(
    module: type, name: str, verb: str, parameters: Iterable[Parameter]
) -> tuple[CarriedIn, Decoder[dict[str, Any]] | None]:
    """Where a method's wire parameters are, and what reads them; None if the call reads nothing.

    Raises `ConfigurationError` for what `verb` cannot carry, and for what cannot go over the wire.
    """
    where = f"{module.__qualname__}.{name}"
    wire = [parameter for parameter in parameters if parameter.source is Source.WIRE]
    form = any(is_form(parameter) for parameter in parameters)
    title = f"{_camel(module, name)}Request"
    if verb in ("GET", "DELETE"):
        if form:
            raise ConfigurationError(f"{where}: {verb} has no body, so it cannot take forms or uploads. Use POST.")
        decoder = _decoder(title, wire, where, of_texts) if wire else None
        check_query(wire, where, verb)
        return "query" if wire else None, decoder
    if form:
        return "form", _decoder(title, wire, where, of_fields)
    is_read = bool(wire) or not any(map(_may_read_a_body, parameters))
    return "body" if wire else None, _decoder(title, wire, where, None) if is_read else None


def _camel(module: type, name: str) -> str:
    return module.__name__ + "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def item_codec(item: Any, where: str) -> WireType[Any]:
    """The codec of a stream's items. Raises `ConfigurationError` for items that could be taken for an error."""
    found = codec_of(item, "the result", where, "serialization")
    if ERROR_MEMBER in describe(item).member_names("serialization"):
        raise ConfigurationError(
            f"{where}: its items have a member {ERROR_MEMBER!r}, by which clients know that a stream failed. "
            "Give that member another name or alias."
        )
    return found


def codec_of(annotation: Any, of: str, where: str, documented_as: JsonSchemaMode) -> WireType[Any]:
    """The codec of a type. Raises `ConfigurationError` for one that cannot go over the wire; `of` says whose it is."""
    try:
        return wire_type(annotation, documented_as)
    except TypeError as error:
        raise _refusal(of, where, error) from error


def _refusal(of: str, where: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"{where}: {of} has a type that cannot go over the wire: {error}. "
        "Use a Pydantic model, or a type that Pydantic knows."
    )


def _decoder(name: str, wire: Iterable[Parameter], where: str, rewire: Rewire | None) -> Decoder[dict[str, Any]]:
    fields: dict[str, Schema] = {}
    private = _NOTHING
    for parameter in wire:
        try:
            described = describe(parameter.annotation)
            fields[parameter.name] = _member(parameter, described, rewire)
            described.document("validation")
            if names := described.private_names:
                private |= {name or parameter.name for name in names}
        except TypeError as error:
            raise _refusal(repr(parameter.name), where, error) from error
    try:
        return Decoder.of_members(name, fields, private, closed=rewire is None)
    except TypeError:
        for parameter in wire:
            codec_of(parameter.annotation, repr(parameter.name), where, "validation")
        raise


def _member(parameter: Parameter, described: Described, rewire: Rewire | None) -> Schema:
    is_json = rewire is of_fields and carried(parameter.annotation) is None
    schema = _json_text(described.schema()) if is_json else described.schema(rewire)
    field: Schema = {"type": "typed-dict-field", "schema": schema, "required": parameter.required}
    alias = alias_of(parameter.annotation)
    return field if alias is None else {**field, "validation_alias": alias}


def _json_text(schema: Schema) -> Schema:
    """A value that is JSON in a text of its own, as a part of a form."""
    decode = Decoder[Any](schema).decode
    return {"type": "function-plain", "function": {"type": "no-info", "function": lambda text: decode(_bytes(text))}}


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def alias_of(annotation: Any) -> Alias:
    """The name, or the path, or one of several, by which a caller sends a parameter, if it has another one."""
    found: Alias = None
    for mark in get_args(annotation)[1:] if get_origin(annotation) is Annotated else ():
        if isinstance(mark, FieldInfo) and mark.validation_alias is not None:
            given = mark.validation_alias
            found = given.convert_to_aliases() if isinstance(given, AliasChoices | AliasPath) else given
    return found


def _may_read_a_body(parameter: Parameter) -> bool:
    """Whether the body is not for the call to look at, for somebody else may want it."""
    if parameter.source is not Source.DEPENDENCY:
        return False
    marks = (*getattr(parameter.annotation, "__metadata__", ()), parameter.default)
    is_request = any(isinstance(one, type) and issubclass(one, HTTPConnection) for one in members(parameter.annotation))
    return is_request or any(isinstance(one, params.Depends) for one in marks)


def arguments_type(operation: Operation) -> Any:
    """A `TypedDict` with a member per wire parameter, as the document has the body."""
    make: Any = TypedDict  # a checker wants a literal class
    made: Any = make(
        f"{_camel(operation.cls, operation.name)}Request",
        {
            one.name: one.annotation if one.required else NotRequired[one.annotation]
            for one in operation.wire_parameters
        },
        closed=operation.carried_in == "body",  # by configuration, the members' own types would inherit it
    )
    made.__module__ = operation.cls.__module__  # the name under which a clash of two components is told apart
    return made
