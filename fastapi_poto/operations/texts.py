"""What texts can carry: the parameters of a query, the fields of a form."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ..errors import ConfigurationError
from ..wire import Schema, describe
from .operation import Parameter

Carried = Literal["one", "many"] | None

_INNER = {
    "nullable": "schema", "default": "schema", "function-after": "schema", "function-before": "schema",
    "function-wrap": "schema", "custom-error": "schema", "lax-or-strict": "lax_schema",
    "json-or-python": "json_schema", "definitions": "schema",
}  # fmt: skip
_COLLECTIONS = {"list", "set", "frozenset", "deque", "tuple", "named-tuple"}
_OBJECTS = {
    "model", "dataclass", "typed-dict", "dict", "frozendict", "ordered-dict", "counter", "tagged-union",
}  # fmt: skip


def carried(annotation: Any) -> Carried:
    """Whether a text is a value of a type, or several are; None if no texts are.

    Raises `TypeError` if Pydantic cannot say what the annotation means.
    """
    schema = describe(annotation).schema()
    definitions = {one["ref"]: one for one in schema.get("definitions", ())}
    return _carried(schema, definitions, ())


def _carried(schema: Schema, definitions: Mapping[str, Schema], outer: tuple[str, ...]) -> Carried:
    kind = schema["type"]
    if kind in _INNER:
        return _carried(schema[_INNER[kind]], definitions, outer)
    if kind == "definition-ref":
        ref = schema["schema_ref"]  # a type that is made of itself is as deep as the caller likes
        return None if ref in outer else _carried(definitions[ref], definitions, (*outer, ref))
    if kind == "union":
        found = [_carried(one[0] if isinstance(one, tuple) else one, definitions, outer) for one in schema["choices"]]
        return None if None in found else "many" if "many" in found else "one"
    if kind in _COLLECTIONS:
        each = [_carried(one, definitions, outer) for one in _items(schema)]
        return "many" if all(one == "one" for one in each) else None
    return None if kind in _OBJECTS else "one"


def _items(schema: Schema) -> list[Schema]:
    if schema["type"] == "named-tuple":
        return [field["schema"] for field in schema["fields"]]
    items = schema.get("items_schema", [])
    return items if isinstance(items, list) else [items]


def is_value(annotation: Any) -> bool:
    """Whether one or several texts can carry it, as in a form or a query."""
    return carried(annotation) is not None


def check_query(parameters: Iterable[Parameter], where: str, verb: str) -> None:
    """Raise `ConfigurationError` for a parameter that a query string cannot carry."""
    for parameter in parameters:
        if carried(parameter.annotation) is None:
            shown = getattr(parameter.annotation, "__name__", None) or str(parameter.annotation)
            raise ConfigurationError(
                f"{where}: {parameter.name!r} has the type {shown}, which cannot be a query parameter of {verb}. "
                'Give the method a name without the verb, or `@rpc(method="POST")`, so that it takes a body.'
            )
