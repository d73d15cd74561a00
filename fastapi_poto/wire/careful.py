"""A schema that gives up early, for inputs so large that a list of their errors would cost more than they do.

Pydantic makes an error for each wrong item, and a copy of the whole object for each member that it misses: half a
MiB of `[1,1,…]` where texts belong took 8 seconds to refuse.
"""

from typing import Any

from .rules import OPAQUE, Schema, before

_COLLECTIONS = {"list", "tuple", "set", "frozenset", "deque", "dict", "frozendict", "ordered-dict", "counter"}
_SCALARS = {"none", "bool", "int", "float", "decimal", "str", "bytes", "date", "time", "datetime", "timedelta", "uuid"}
_AROUND = {
    "nullable": "schema", "function-after": "schema", "custom-error": "schema", "default": "schema",
    "lax-or-strict": "lax_schema", "json-or-python": "json_schema",
}  # fmt: skip
_FIELDS = {"model-field", "typed-dict-field", "dataclass-field"}
_TAKE_ANYTHING = {
    "any", "callable", "definition-ref", "function-before", "function-plain", "function-wrap", "is-instance",
    "is-subclass", "tagged-union",
}  # fmt: skip


class Missing:
    """What stands for a member that is not there: nothing takes it for a value, and its error costs no copy."""

    __slots__ = ("alias", "name")

    def __init__(self, name: str, alias: Any) -> None:
        self.name = name
        self.alias = alias if isinstance(alias, str) else name

    def __repr__(self) -> str:
        return "nothing"


def careful(node: Any) -> Any:
    """A copy of a core schema that takes the same, and of what it refuses finds few errors at little cost."""
    if isinstance(node, list):
        return [careful(item) for item in node]
    if isinstance(node, tuple):
        return tuple(careful(item) for item in node)
    if not isinstance(node, dict):
        return node
    if not isinstance(node.get("type"), str):  # fields by name
        return {name: _field(name, one) if one.get("type") in _FIELDS else careful(one) for name, one in node.items()}
    copy = {key: value if key in OPAQUE or key == "config" else careful(value) for key, value in node.items()}
    if node["type"] == "dataclass-field":
        return _field(node["name"], node)
    if node["type"] in _COLLECTIONS:
        copy["fail_fast"] = True
    if _copies_often(copy) and not _is_strict(copy):
        # As objects of Python, to which errors refer. Only strict types would tell them from JSON.
        return before(lambda value: value, copy)
    return copy


def _copies_often(schema: Schema) -> bool:
    """Whether one large value could be copied into several errors."""
    if schema["type"] == "union":
        return sum(one["type"] not in _SCALARS for one in map(_choice, schema["choices"])) > 1
    fields = schema.get("fields", ())
    of_anything = [one for one in (fields.values() if isinstance(fields, dict) else fields) if _is_copied(one)]
    return schema["type"] in ("typed-dict", "model-fields", "dataclass-args") and len(of_anything) > 1


def _is_copied(field: Schema) -> bool:
    return bool(field.get("required", True)) and field["schema"]["type"] != "default"


def _is_strict(node: Any) -> bool:
    if isinstance(node, dict):
        return bool(node.get("strict")) or any(_is_strict(one) for key, one in node.items() if key not in OPAQUE)
    return isinstance(node, list | tuple) and any(map(_is_strict, node))


def _choice(choice: Any) -> Schema:
    schema: Schema = choice[0] if isinstance(choice, tuple) else choice
    return schema


def _field(name: str, field: Schema) -> Schema:
    schema = careful(field["schema"])
    if field.get("required", True) and schema["type"] != "default" and not _takes_anything(schema):
        missing = Missing(name, field.get("validation_alias"))
        schema = {"type": "default", "schema": schema, "default": missing, "validate_default": True}
        schema["copy_default"] = False
        if field["type"] == "typed-dict-field":
            field = {**field, "required": False}
    return {**field, "schema": schema}


def _takes_anything(schema: Schema) -> bool:
    """Whether a `Missing` could pass for a value, or reach a function of the application's."""
    kind = schema["type"]
    if kind == "union":
        return any(map(_takes_anything, map(_choice, schema["choices"])))
    if kind == "chain":
        return _takes_anything(schema["steps"][0])
    if kind in _AROUND:
        return _takes_anything(schema[_AROUND[kind]])
    return kind in _TAKE_ANYTHING
