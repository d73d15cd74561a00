"""What a method takes over the wire, as one type: of its JSON body, or of its query."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NotRequired, Self

from pydantic.json_schema import JsonSchemaMode
from typing_extensions import TypedDict

from ..errors import ConfigurationError
from ..streaming.frames import ERROR_MEMBER
from ..wire import ANYTHING, Rewire, WireType, of_texts
from .operation import Parameter, Source
from .parameters import is_form
from .texts import check_query


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    form: bool = False
    body_type: Any = None
    query_type: Any = None
    decoder: WireType[dict[str, Any]] = ANYTHING

    @classmethod
    def of(cls, module: type, name: str, verb: str, parameters: Iterable[Parameter]) -> Self:
        """Raises `ConfigurationError` for what `verb` cannot carry, and for what cannot go over the wire."""
        where = f"{module.__qualname__}.{name}"
        wire = [parameter for parameter in parameters if parameter.source is Source.WIRE]
        form = any(is_form(parameter) for parameter in parameters)
        camel = module.__name__ + "".join(part[:1].upper() + part[1:] for part in name.split("_"))
        if verb in ("GET", "DELETE"):
            if form:
                raise ConfigurationError(f"{where}: {verb} has no body, so it cannot take forms or uploads. Use POST.")
            check_query(wire, where, verb)
            query = _typed_dict(f"{camel}Query", wire, module.__module__, closed=False)
            return cls(query_type=query, decoder=_decoder(query, wire, where, of_texts))
        if form:
            return cls(form=True)
        body = _typed_dict(f"{camel}Request", wire, module.__module__, closed=True)
        return cls(body_type=body, decoder=_decoder(body, wire, where, None))


def item_codec(item: Any, where: str) -> WireType[Any]:
    """The codec of a stream's items. Raises `ConfigurationError` for items that could be taken for an error."""
    found = codec(item, "the result", where, "serialization")
    if ERROR_MEMBER in found.members:
        raise ConfigurationError(
            f"{where}: its items have a member {ERROR_MEMBER!r}, by which clients know that a stream failed. "
            "Give that member another name or alias."
        )
    return found


def codec(annotation: Any, of: str, where: str, documented_as: JsonSchemaMode) -> WireType[Any]:
    """The codec of a type. Raises `ConfigurationError` for one that cannot go over the wire; `of` says whose it is."""
    try:
        return WireType[Any](annotation, documented_as=documented_as)
    except TypeError as error:
        raise ConfigurationError(
            f"{where}: {of} has a type that cannot go over the wire: {error}. "
            "Use a Pydantic model, or a type that Pydantic knows."
        ) from error


def _decoder(members: Any, wire: Iterable[Parameter], where: str, rewire: Rewire | None) -> WireType[dict[str, Any]]:
    if members is None:
        return ANYTHING
    try:
        return WireType[dict[str, Any]](members, documented_as="validation", rewire=rewire)
    except TypeError:
        for parameter in wire:
            codec(parameter.annotation, repr(parameter.name), where, "validation")
        raise


def _typed_dict(name: str, parameters: Iterable[Parameter], where: str, *, closed: bool) -> Any:
    """A `TypedDict` with a member per parameter. A missing member leaves the method its own default."""
    fields = {
        parameter.name: parameter.annotation if parameter.required else NotRequired[parameter.annotation]
        for parameter in parameters
    }
    if not fields:
        return None
    make: Any = TypedDict  # a checker wants a literal class
    made: Any = make(name, fields, closed=closed)  # by configuration, the members' own types would inherit it
    made.__module__ = where  # the name under which a clash of two components is told apart
    return made
