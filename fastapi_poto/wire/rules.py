"""What the wire makes of Pydantic's core schemas: the rules for all types, and those for a query, a form, a client."""

import base64
import json
from collections import deque
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel, EncodedBytes, Secret, SecretBytes, SecretStr, SerializationInfo, TypeAdapter
from pydantic_core import CoreConfig, SchemaSerializer

from .._compat.pydantic import serializer_of
from .integers import is_big

Schema = dict[str, Any]
Rewire = Callable[[Schema], Schema]
"""Makes another core schema of one, whose members it has done already."""

# Pydantic's own defaults lose something: bytes become UTF-8 text or an error, NaN and infinity become null.
CONFIG: Final[dict[str, Any]] = {
    "ser_json_bytes": "base64",
    "val_json_bytes": "base64",
    "ser_json_inf_nan": "strings",
}
_HAS_CONFIG = {"model", "dataclass", "typed-dict"}
OPAQUE: Final = {"cls", "default", "expected", "metadata", "serialization"}
"""What in a schema is no schema, whatever it looks like."""


def rewired(schema: Any, rewire: Rewire | None = None) -> Any:
    """A copy of a core schema in which every model follows the wire's rules, unless it has its own.

    Raises `TypeError` for what no JSON is, and for a function where a type should be: Pydantic would call it.
    """
    return _Rewiring(rewire).of(schema)


class _Rewiring:
    def __init__(self, rewire: Rewire | None) -> None:
        self._rewire = rewire
        self._own_bytes = False
        """Whether the model around says itself how it has its bytes."""

    def of(self, node: Any) -> Any:
        if isinstance(node, dict):
            if isinstance(node.get("type"), str):
                return self._schema(node)
            # A table of schemas by name: a model may have a field that is called `type`.
            return {name: self.of(value) for name, value in node.items()}
        if isinstance(node, list):
            return [self.of(item) for item in node]
        if isinstance(node, tuple):
            return tuple(self.of(item) for item in node)
        return node

    def _schema(self, schema: Schema) -> Schema:
        kind = schema["type"]
        if kind == "callable":
            raise TypeError("JSON has no functions")
        if kind == "call":
            raise TypeError(f"{getattr(schema['function'], '__name__', 'a function')} is a function and no type")
        outer, config = self._own_bytes, None
        if kind in _HAS_CONFIG:
            own = schema.get("config") or {}
            said = own.get("ser_json_bytes") or own.get("val_json_bytes")
            self._own_bytes = said in ("utf8", "hex")
            config = CONFIG | ({"ser_json_bytes": said, "val_json_bytes": said} if said else {}) | own
        copy = {key: value if key in OPAQUE else self.of(value) for key, value in schema.items()}
        if config is not None:
            copy["config"] = config
        if "serialization" not in schema:
            copy = _RULES.get(kind, _as_it_is)(copy, self._own_bytes)
        elif kind == "function-after":
            copy = _encoded_once(copy)
        self._own_bytes = outer
        return copy if self._rewire is None else self._rewire(copy)


def _as_it_is(schema: Schema, own_bytes: bool) -> Schema:
    return schema


def _bytes(schema: Schema, own_bytes: bool) -> Schema:
    # Pydantic writes the URL-safe alphabet; OpenAPI's `contentEncoding: base64` is the standard one (RFC 4648, 4).
    return schema if own_bytes else {**schema, "serialization": _json_by(_base64)}


def _any(schema: Schema, own_bytes: bool) -> Schema:
    return schema if own_bytes else {**schema, "serialization": _json_by(_plain)}


def _int(schema: Schema, own_bytes: bool) -> Schema:
    if not is_big(map(schema.get, ("ge", "gt", "le", "lt"))):
        return schema
    return {**schema, "serialization": _json_by(str), "strict": False}


def _generator(schema: Schema, own_bytes: bool) -> Schema:
    # Pydantic's would look at each item when it is taken: in the method, long after the time for a 422.
    return {**schema, "type": "list"}


_RULES = {"bytes": _bytes, "any": _any, "int": _int, "generator": _generator}


def _json_by(function: Callable[[Any], Any]) -> Schema:
    return {"type": "function-plain", "function": function, "when_used": "json"}


def _base64(value: Any) -> Any:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes | bytearray) else value


def _plain(value: Any) -> Any:
    """What stands behind `Any`, its bytes by the rules of the wire."""
    if isinstance(value, bytes | bytearray):
        return _base64(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset | deque):
        return [_plain(one) for one in value]
    if isinstance(value, BaseModel) or (is_dataclass(value) and not isinstance(value, type)):
        return _serializer_of(type(value)).to_python(value, mode="json", by_alias=True)
    return value


@lru_cache(maxsize=1024)
def _serializer_of(cls: Any) -> SchemaSerializer:
    schema = rewired(TypeAdapter[Any](cls).core_schema)
    return serializer_of(schema, CoreConfig(**CONFIG))  # type: ignore[typeddict-item]


def _encoding(schema: Schema) -> EncodedBytes | None:
    """The encoding of `Base64Bytes` and its like."""
    if schema["type"] != "function-after":
        return None
    owner = getattr(schema["function"]["function"], "__self__", None)
    return owner if isinstance(owner, EncodedBytes) else None


def _encoded_once(schema: Schema) -> Schema:
    """`Base64Bytes` is in JSON what its encoder makes of it, and not base64 of that."""
    encoding = _encoding(schema)
    if encoding is None:
        return schema
    encode, decode = encoding.encoder.encode, encoding.encoder.decode
    read = {"type": "no-info", "function": lambda text: decode(text.encode())}
    return {
        "type": "json-or-python",
        "json_schema": {"type": "function-after", "function": read, "schema": {"type": "str"}},
        "python_schema": schema,
        "serialization": _json_by(lambda value: encode(value).decode() if isinstance(value, bytes) else value),
        **{key: schema[key] for key in ("metadata", "ref") if key in schema},
    }


# The rules for one place, on top.


def of_texts(schema: Schema) -> Schema:
    """What a query gives: texts, of which each is a value.

    Pydantic reads a text as a number for types alone, not for a `Literal` or an `Enum`, and never for a strict type.
    """
    kind = schema["type"]
    if "strict" in schema:
        schema = {key: value for key, value in schema.items() if key != "strict"}
    if kind == "json-or-python" and _encoding(schema["python_schema"]) is not None:
        return {**schema, "python_schema": schema["json_schema"]}
    if kind not in ("literal", "enum"):
        return schema
    values = schema["expected"] if kind == "literal" else [member.value for member in schema["members"]]
    numbers = {json.dumps(value): value for value in values if type(value) in (bool, int, float)}

    def number(value: Any) -> Any:
        return numbers.get(value, value) if isinstance(value, str) and value not in values else value

    return before(number, schema)


def of_fields(schema: Schema) -> Schema:
    """What a form gives: texts, bytes as the UTF-8 that they are."""
    if schema["type"] == "bytes":
        return before(lambda value: value.encode() if isinstance(value, str) else value, schema)
    return of_texts(schema)


def before(function: Callable[[Any], Any], schema: Schema) -> Schema:
    """A schema that takes what the function makes of a value."""
    outer = {"ref": schema["ref"]} if "ref" in schema else {}
    inner = {key: value for key, value in schema.items() if key != "ref"}
    return {"type": "function-before", "function": {"type": "no-info", "function": function}, "schema": inner, **outer}


def with_secrets(schema: Schema) -> Schema:
    """Give away secrets: who sends one means it. Pydantic's JSON has asterisks."""
    out = schema.get("serialization", {})
    if out.get("type") != "function-plain" or not out.get("info_arg") or out.get("is_field_serializer"):
        return schema
    hidden = out["function"]

    def give_away(value: Any, info: SerializationInfo) -> Any:
        if not isinstance(value, Secret | SecretStr | SecretBytes):
            return hidden(value, info)
        secret = value.get_secret_value()
        return _base64(secret) if info.mode_is_json() else secret

    return {**schema, "serialization": {**out, "function": give_away}}


def without_computed(schema: Schema) -> Schema:
    """Let a model that forbids other members come back: what its own class computed is none of them."""
    if (schema.get("config") or {}).get("extra_fields_behavior") == "forbid":
        inner = schema["schema"]
        while "computed_fields" not in inner and isinstance(inner.get("schema"), dict):  # within validators
            inner = inner["schema"]
        if inner.get("computed_fields"):
            inner["extra_behavior"] = "ignore"
    return schema


def as_plain_text(schema: Schema) -> Schema:
    """Write bytes as FastAPI reads them from headers and form fields: as the UTF-8 that they are. With secrets."""
    if schema["type"] == "bytes":
        return {**schema, "serialization": _json_by(bytes.decode)}
    return with_secrets(schema)
