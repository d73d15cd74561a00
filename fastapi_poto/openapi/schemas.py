"""JSON Schemas as FastAPI makes them, and the ways to walk and to change them."""

import copy
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .._compat.fastapi import DEFAULT_MARK, FLOAT_MARK
from ..wire import BIG_INTEGER, is_big

Schema = dict[str, Any]

PREFIX = "#/components/schemas/"

_OF_MANY = ("properties", "patternProperties", "$defs", "dependentSchemas")
_OF_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_OF_ONE = (
    "items", "additionalProperties", "contentSchema", "contains", "propertyNames", "not", "if", "then", "else",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_NO_ESSENCE = ("title", "default", "description", "examples", DEFAULT_MARK, FLOAT_MARK)
NULL: Schema = {"type": "null"}
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def ref(name: str) -> Schema:
    return {"$ref": PREFIX + name}


def named(schema: Any) -> str | None:
    """The component that a schema is a reference to."""
    target = schema.get("$ref") if isinstance(schema, dict) else None
    return target.removeprefix(PREFIX) if isinstance(target, str) and target.startswith(PREFIX) else None


def _places(schema: Schema) -> Iterator[tuple[Any, Any, str]]:
    """The places directly inside a schema that have another: what holds it, where, and under which keyword.

    A property that is called like a keyword is no keyword.
    """
    for keyword in (*_OF_MANY, *_OF_LISTS):
        holder = schema.get(keyword) or {}
        for at, one in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if isinstance(one, dict):
                yield holder, at, keyword
    for keyword in _OF_ONE:
        if isinstance(schema.get(keyword), dict):
            yield schema, keyword, keyword


def children(schema: Schema) -> Iterator[Schema]:
    """The schemas directly inside a schema."""
    return (holder[at] for holder, at, _ in _places(schema))


def walk(schema: Schema) -> Iterator[Schema]:
    """A schema and all inside it."""
    yield schema
    for child in children(schema):
        yield from walk(child)


def references(node: Any) -> Iterator[str]:
    """The components that any part of a document names, discriminators included."""
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, str):
                if (key == "$ref" or value.startswith(PREFIX)) and (name := value.removeprefix(PREFIX)) != value:
                    yield name
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def reachable(nodes: Iterable[Any], schemas: Mapping[str, Schema]) -> set[str]:
    """The components that these parts of a document need."""
    found: set[str] = set()
    waiting = [name for node in nodes for name in references(node)]
    while waiting:
        name = waiting.pop()
        if name in schemas and name not in found:
            found.add(name)
            waiting += references(schemas[name])
    return found


def renamed(node: Any, names: Mapping[str, str]) -> Any:
    """A copy of a part of a document in which references go to the new names."""
    if isinstance(node, dict):
        return {key: renamed(value, names) for key, value in node.items()}
    if isinstance(node, list):
        return [renamed(item, names) for item in node]
    if isinstance(node, str) and node.startswith(PREFIX):
        name = node.removeprefix(PREFIX)
        return PREFIX + names.get(name, name)
    return node


def camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name) if part)


def without_null(schema: Schema) -> Schema:
    """The schema of an optional value where null cannot be sent: in a query, in a form, as a whole body."""
    members = [one for one in schema.get("anyOf", ()) if one != NULL]
    if not members or len(members) == len(schema["anyOf"]):
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**rest, **members[0]} if len(members) == 1 else {**rest, "anyOf": members}


# The rules for a single schema. Each changes it in place.


def drop_titles(schema: Schema) -> None:
    """Pydantic's titles are the names once more; generators make types of them."""
    for one in walk(schema):
        if isinstance(one.get("title"), str):
            del one["title"]


def mark_binary(schema: Schema, *, is_form: bool) -> None:
    """Bytes: base64 inside JSON, as they are in a form."""
    own = {id(one) for one in _parts(schema)} if is_form else set()
    for one in walk(schema):
        if one.get("type") != "string":
            continue
        is_octets = one.get("contentMediaType") == "application/octet-stream"
        if id(one) in own:
            if is_octets:
                del one["contentMediaType"]
                one.pop("contentEncoding", None)
                one["format"] = "binary"
        elif is_octets or one.get("format") in ("base64", "base64url", "binary"):
            one.pop("contentMediaType", None)
            encoding = "base64url" if one.get("format") == "base64url" else "base64"
            one.update({"format": "byte", "contentEncoding": encoding})


def _parts(schema: Schema) -> Iterator[Schema]:
    """The parts of a form, and the items of those that are lists."""
    for part in (schema.get("properties") or {}).values():
        for one in (part, *part.get("anyOf", ())):
            yield one
            if isinstance(one.get("items"), dict):
                yield one["items"]


def integers_as_strings(schema: Schema) -> None:
    """An integer whose bounds pass 2^53 is a string on the wire."""
    for one in walk(schema):
        if one.get("type") == "integer" and is_big(map(one.get, _BOUNDS)):
            for key in (*_BOUNDS, "multipleOf"):
                one.pop(key, None)
            one.update(BIG_INTEGER)
        if one.get("pattern") == BIG_INTEGER["pattern"]:
            for key in ("default", "const"):
                if isinstance(one.get(key), int):
                    one[key] = str(one[key])
            if "examples" in one:
                one["examples"] = [str(example) for example in one["examples"]]


def describe_defaults(schema: Schema) -> None:
    """A default goes from its keyword, which makes members required for some generators, into the description."""
    for one in walk(schema):
        for member in (one.get("properties") or {}).values():
            if isinstance(member, dict) and "default" in member:
                say_default(member, member.pop("default"))
        for child in children(one):
            child.pop("default", None)


def require_defaults(schema: Schema) -> None:
    """What only comes out has all its members: those with a default too."""
    for one in walk(schema):
        for name, member in (one.get("properties") or {}).items():
            if isinstance(member, dict) and ("default" in member or DEFAULT_MARK in member):
                member.pop("default", None)
                if name not in one.setdefault("required", []):
                    one["required"].append(name)


def numbers_as_they_are(schema: Schema, *, comes_out: bool) -> None:
    """What may be NaN or infinite is a text then, since JSON has no such numbers. Nobody has to send one."""
    for one in walk(schema):
        one.pop(DEFAULT_MARK, None)
        if one.pop(FLOAT_MARK, False) and comes_out:
            number = {key: one.pop(key) for key in ("type", *_BOUNDS, "multipleOf") if key in one}
            one["anyOf"] = [number, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]


def say_default(member: Schema, default: Any) -> None:
    """Tell people of a member's default: in its description, and as what Swagger UI fills in."""
    if not isinstance(default, str | int | float | bool) or "$ref" in member:
        return
    if isinstance(default, float) and not math.isfinite(default):
        return
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    if 0 < len(shown) <= 60 and "\n" not in shown and "`" not in shown:
        said = member.get("description", "")
        addition = f"Default: `{shown}`."
        if addition not in said:
            member["description"] = f"{said} {addition}".strip()
        is_text = member.get("type") == "string"
        member.setdefault("examples", [shown if is_text else default])


def require_discriminators(schemas: Mapping[str, Schema], roots: Iterable[Schema]) -> None:
    """The property that tells the members of a union apart is required in each of them, and has no default."""
    for root in roots:
        for one in walk(root):
            discriminator = one.get("discriminator")
            if not isinstance(discriminator, dict):
                continue
            property_name = discriminator.get("propertyName")
            targets = {target.removeprefix(PREFIX) for target in (discriminator.get("mapping") or {}).values()}
            targets |= {name for member in one.get("oneOf", ()) if (name := named(member))}
            for target in targets:
                _require(schemas, target, property_name)


def _require(schemas: Mapping[str, Schema], name: str, property_name: Any) -> None:
    schema = schemas.get(name)
    if schema is None:
        return
    for member in schema.get("oneOf", ()):  # a union inside the union
        if (inner := named(member)) is not None:
            _require(schemas, inner, property_name)
    member = (schema.get("properties") or {}).get(property_name)
    if member is not None:
        member.pop("default", None)
        if property_name not in schema.setdefault("required", []):
            schema["required"].append(property_name)


def is_union(schema: Schema) -> bool:
    """Whether a generator needs a name for it: more than one type besides null, not all of them plain values."""
    members = [one for one in schema.get("anyOf") or schema.get("oneOf") or () if one != NULL]
    plain = ("string", "integer", "number", "boolean")
    return len(members) > 1 and not all(one.get("type") in plain for one in members)


Add = Callable[..., str]
"""`add(schema, name, …)` adds a component under the first name that is free, and gives the name."""


def hoist_unions(schema: Schema, name: str, add: Add) -> None:
    """Give each union inside a component a name of its own: the component's and the member's."""
    for holder, at, keyword in _places(schema):
        if keyword in _OF_MANY:
            inner = name + camel(at)
        elif keyword in _OF_LISTS:
            inner = name if sum(one != NULL for one in holder) == 1 else f"{name}{at + 1}"
        else:
            inner = name + ("Item" if keyword == "items" else "Value")
        holder[at] = _hoisted(holder[at], inner, add)


def union_names(schema: Schema) -> list[str]:
    """`CatOrDog`: one name wherever the same few components are a union. Empty if it has other members, or many."""
    names = [named(one) for one in schema.get("anyOf") or schema.get("oneOf") or () if one != NULL]
    if not 2 <= len(names) <= 3 or not all(names):
        return []
    return ["Or".join(str(name) for name in names)]


def _hoisted(schema: Schema, name: str, add: Add) -> Schema:
    hoist_unions(schema, name, add)
    if not is_union(schema):
        return schema
    key = "anyOf" if "anyOf" in schema else "oneOf"
    nullable = NULL in schema[key]
    kept: Schema = {one: schema[one] for one in ("description", "default", "examples", "deprecated") if one in schema}
    union = {one: value for one, value in schema.items() if one not in kept}
    union[key] = [one for one in schema[key] if one != NULL]
    target = ref(add(union, *union_names(union), name))
    return {"anyOf": [target, dict(NULL)], **kept} if nullable else {**target, **kept}


def same_for_clients(one: Schema, other: Schema) -> bool:
    """Whether two versions of a component differ in nothing but titles, defaults and words."""
    return _essence(one) == _essence(other)


def _essence(schema: Schema) -> Schema:
    essence = copy.deepcopy(schema)
    for one in walk(essence):
        for keyword in _NO_ESSENCE:
            one.pop(keyword, None)
        if "required" in one:
            one["required"] = sorted(one["required"])
    return essence
