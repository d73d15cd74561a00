"""One Python type on the wire: JSON bytes or query strings in, JSON bytes out, compiled once."""

import base64
import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import (
    PlainSerializer,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    Secret,
    SecretBytes,
    SecretStr,
    SerializationInfo,
    Strict,
    TypeAdapter,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import (
    CoreConfig,
    SchemaError,
    SchemaSerializer,
    SchemaValidator,
    ValidationError,
    to_jsonable_python,
)

T = TypeVar("T")

SAFE_INTEGER: Final = 2**53 - 1
"""Past it, the numbers of JavaScript and of many JSON parsers skip integers."""

BIG_INTEGER: Final[dict[str, Any]] = {"type": "string", "pattern": "^-?[0-9]+$"}

BigInt = Annotated[
    int, Strict(False), PlainSerializer(str, return_type=str, when_used="json"), WithJsonSchema(BIG_INTEGER)
]
"""An integer of any size: a string on the wire, accepted as a string or a number."""

# Pydantic's own defaults lose something: bytes become UTF-8 text or an error, NaN and infinity become null.
_CONFIG: dict[str, Any] = {
    "ser_json_bytes": "base64",
    "val_json_bytes": "base64",
    "ser_json_inf_nan": "strings",
}
_HAS_CONFIG = {"model", "dataclass", "typed-dict"}
# What in a schema is no schema, whatever it looks like.
_OPAQUE = {"cls", "default", "expected", "metadata", "serialization"}


def _base64(value: Any) -> Any:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


# Pydantic writes the URL-safe alphabet; OpenAPI's `contentEncoding: base64` is the standard one (RFC 4648, 4).
_BYTES_OUT = {"type": "function-plain", "function": _base64, "when_used": "json"}


def is_big(bounds: Iterable[Any]) -> bool:
    """Whether an integer within these bounds may pass `SAFE_INTEGER`: it is a `BigInt`, written or not."""
    return any(isinstance(bound, int | float) and abs(bound) > SAFE_INTEGER for bound in bounds)


_UTF8_OUT = {"type": "function-plain", "function": bytes.decode, "when_used": "json"}
_STRING_OUT = {"type": "function-plain", "function": str, "when_used": "json"}


Rewire = Callable[[dict[str, Any]], dict[str, Any]]
"""Makes another core schema of one, whose members it has done already."""


def _rewired(schema: Any, rewire: Rewire | None) -> Any:
    """A copy of a core schema in which every model follows the wire's rules, unless it has its own."""
    if isinstance(schema, dict):
        kind = schema.get("type")
        if not isinstance(kind, str):  # a table of schemas by name: a model may have a field that is called `type`
            return {name: _rewired(value, rewire) for name, value in schema.items()}
        if kind == "callable":
            raise TypeError("JSON has no functions")
        if kind == "call":  # Pydantic's reading of a function where a type should be
            raise TypeError(f"{getattr(schema['function'], '__name__', 'a function')} is a function and no type")
        copy = {key: value if key in _OPAQUE else _rewired(value, rewire) for key, value in schema.items()}
        if kind in _HAS_CONFIG:
            copy["config"] = {**_CONFIG, **(schema.get("config") or {})}
        elif kind == "bytes" and "serialization" not in schema:
            copy["serialization"] = _BYTES_OUT
        elif kind == "int" and "serialization" not in schema and is_big(map(schema.get, ("ge", "gt", "le", "lt"))):
            copy |= {"serialization": _STRING_OUT, "strict": False}
        return copy if rewire is None else rewire(copy)
    if isinstance(schema, list):
        return [_rewired(item, rewire) for item in schema]
    if isinstance(schema, tuple):
        return tuple(_rewired(item, rewire) for item in schema)
    return schema


def of_texts(schema: dict[str, Any]) -> dict[str, Any]:
    """Take the numbers of a `Literal` or an `Enum` as the texts that a query has; Pydantic does so for types alone."""
    if schema["type"] not in ("literal", "enum"):
        return schema
    values = schema["expected"] if schema["type"] == "literal" else [member.value for member in schema["members"]]
    numbers = {json.dumps(value): value for value in values if type(value) in (bool, int, float)}

    def number(value: Any) -> Any:
        return numbers.get(value, value) if isinstance(value, str) and value not in values else value

    outer = {"ref": schema.pop("ref")} if "ref" in schema else {}
    return {"type": "function-before", "function": {"type": "no-info", "function": number}, "schema": schema, **outer}


def with_secrets(schema: dict[str, Any]) -> dict[str, Any]:
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


def without_computed(schema: dict[str, Any]) -> dict[str, Any]:
    """Let a model that forbids other members come back: what its own class computed is none of them."""
    if (schema.get("config") or {}).get("extra_fields_behavior") == "forbid":
        inner = schema["schema"]
        while "computed_fields" not in inner and isinstance(inner.get("schema"), dict):  # within validators
            inner = inner["schema"]
        if inner.get("computed_fields"):
            inner["extra_behavior"] = "ignore"
    return schema


def as_plain_text(schema: dict[str, Any]) -> dict[str, Any]:
    """Write bytes as FastAPI reads them from headers and form fields: as the UTF-8 that they are. With secrets."""
    if schema["type"] == "bytes":
        return {**schema, "serialization": _UTF8_OUT}
    return with_secrets(schema)


class _Quiet(GenerateJsonSchema):
    """Warns of nothing: FastAPI will, when it makes the document."""

    def emit_warning(self, kind: Any, detail: str) -> None: ...


class WireType(Generic[T]):
    """A type's compiled codec. Raises `TypeError` if Pydantic cannot make it.

    With `documented_as`, also if it has no JSON Schema: of what comes in ("validation") or goes out ("serialization").
    `rewire` is `of_texts`, `with_secrets`, `without_computed` or `as_plain_text`.
    """

    __slots__ = ("annotation", "members", "to_json", "validate", "validate_json")

    def __init__(
        self, annotation: Any, *, documented_as: JsonSchemaMode | None = None, rewire: Rewire | None = None
    ) -> None:
        self.annotation = annotation
        self.members: frozenset[str] = frozenset()
        """Of the objects that it is documented as."""
        config = CoreConfig(**_CONFIG)  # type: ignore[typeddict-item]
        try:
            adapter = TypeAdapter[Any](annotation)
            adapter.rebuild()  # of a class that has yet to be defined in full
            schema = _rewired(adapter.core_schema, rewire)
            # Without `_use_prebuilt=False` nested models would keep the codecs of their own classes.
            validator = SchemaValidator(schema, config, _use_prebuilt=False)
            serializer = SchemaSerializer(schema, config, _use_prebuilt=False)
            if documented_as is not None:
                documented = adapter.json_schema(mode=documented_as, schema_generator=_Quiet)
                self.members = frozenset(_members_of(documented, documented.get("$defs", {}), set()))
        except PydanticUndefinedAnnotation as error:
            raise TypeError(f"{error.name} is not defined") from error
        except PydanticUserError as error:
            raise TypeError(str(error).partition("\n")[0].partition(". ")[0].rstrip(".")) from error
        except SchemaError as error:
            raise TypeError(" ".join(str(error).split())) from error
        self.validate_json = validator.validate_json
        self.validate = validator.validate_python
        self.to_json = serializer.to_json

    def encode(self, value: Any) -> bytes:
        """Check a value against the type and give its JSON. Raises Pydantic's `ValidationError`.

        As in FastAPI, an object with a model's attributes will do for the model.
        """
        return self.to_json(self.validate(value, from_attributes=True), by_alias=True)


def _members_of(schema: dict[str, Any], definitions: dict[str, Any], seen: set[str]) -> Iterator[str]:
    yield from schema.get("properties", ())
    inner = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    name = schema.get("$ref", "").rpartition("/")[2]
    if name and name not in seen:
        seen.add(name)
        inner.append(definitions.get(name, {}))
    for one in inner:
        yield from _members_of(one, definitions, seen)


ANYTHING = WireType[Any](Any)
"""The codec where there is nothing to check."""


def wire_errors(error: ValidationError, source: str) -> list[dict[str, Any]]:
    """Pydantic's errors as FastAPI lists them, with their place in `source` (`body`, `query`).

    What the client sent is echoed only in forms that JSON has.
    """
    return [
        {
            **entry,
            "loc": (source, *entry["loc"]),
            "input": _echo(entry["input"]),
            **({"ctx": {key: _echo(value) for key, value in entry["ctx"].items()}} if "ctx" in entry else {}),
        }
        for entry in error.errors(include_url=False)
    ]


def _echo(value: Any) -> Any:
    if isinstance(value, Exception):
        return str(value)
    return _finite(to_jsonable_python(value, bytes_mode="base64", fallback=repr, serialize_unknown=True))


def _finite(value: Any) -> Any:
    """NaN and the infinities as texts, however deep: `to_jsonable_python` leaves them in dictionaries and lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
