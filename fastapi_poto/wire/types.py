"""One Python type on the wire: JSON bytes or texts in, JSON bytes out, compiled once."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Generic, Self, TypeVar

from pydantic.json_schema import JsonSchemaMode
from pydantic_core import CoreConfig, PydanticCustomError, SchemaValidator, ValidationError

from .._compat.pydantic import serializer_of, validator_of
from .careful import careful
from .described import as_type_error, describe
from .rules import CONFIG, Rewire, Schema

T = TypeVar("T")

_LARGE = 8 * 1024
"""From this size on, of many errors in one input only the first is looked for."""
_CONFIG = CoreConfig(**CONFIG)  # type: ignore[typeddict-item]
_BEYOND = (OverflowError, RecursionError)
"""What Pydantic lets through of Python's own types, whose limits an input has passed: of `timedelta`, `re`."""


class Decoder(Generic[T]):
    """Reads values of one type. Its methods raise Pydantic's `ValidationError`."""

    __slots__ = ("_careful", "_schema", "private", "validate", "validate_json")

    def __init__(self, schema: Schema, private: frozenset[str] = frozenset()) -> None:
        self._schema = schema
        self._careful: SchemaValidator | None = None
        self.private = private
        """The members whose values no error shows."""
        with as_type_error():
            validator = _validator(schema)
        self.validate = validator.validate_python
        self.validate_json = validator.validate_json

    @classmethod
    def of_members(cls, name: str, members: Mapping[str, Schema], private: frozenset[str], *, closed: bool) -> Self:
        """Of an object with these members (`typed-dict-field`s); a `closed` one has no others."""
        definitions: dict[str, Schema] = {}
        fields = {}
        for member, field in members.items():
            inner = field["schema"]
            if inner["type"] == "definitions":
                definitions |= {one["ref"]: one for one in inner["definitions"]}
                inner = inner["schema"]
            fields[member] = {**field, "schema": inner}
        schema: Schema = {
            "type": "typed-dict",
            "cls_name": name,
            "fields": fields,
            "extra_behavior": "forbid" if closed else "ignore",
            "config": CONFIG,
        }
        if definitions:
            schema = {"type": "definitions", "schema": schema, "definitions": list(definitions.values())}
        return cls(schema, private)

    def decode(self, data: bytes) -> T:
        """Read JSON."""
        try:
            return (self.validate_json if len(data) < _LARGE else self._for_large().validate_json)(data)  # type: ignore[no-any-return]
        except _BEYOND as error:
            raise _does_not_fit(error) from None

    def take(self, values: Any, size: int) -> T:
        """Read texts that came in an input of this size."""
        try:
            return (self.validate if size < _LARGE else self._for_large().validate_python)(values)  # type: ignore[no-any-return]
        except _BEYOND as error:
            raise _does_not_fit(error) from None

    def _for_large(self) -> SchemaValidator:
        if self._careful is None:
            self._careful = _validator(careful(self._schema))
        return self._careful


def _does_not_fit(error: Exception) -> ValidationError:
    told = PydanticCustomError("value_error", "Value error, {error}", {"error": str(error)})
    return ValidationError.from_exception_data("", [{"type": told, "input": None}])


class WireType(Decoder[T]):
    """A type's codec. Raises `TypeError` if Pydantic cannot make it.

    With `documented_as`, also if it has no JSON Schema: of what comes in ("validation") or goes out ("serialization").
    `rewire` is one of the rules for a place (see `rules`).
    """

    __slots__ = ("annotation", "encode", "serializer", "to_json")

    def __init__(
        self, annotation: Any, *, documented_as: JsonSchemaMode | None = None, rewire: Rewire | None = None
    ) -> None:
        self.annotation = annotation
        described = describe(annotation)
        schema = described.schema(rewire)
        if documented_as is not None:
            described.document(documented_as)
        super().__init__(schema)
        with as_type_error():
            self.serializer = serializer_of(schema, _CONFIG)
        self.to_json = self.serializer.to_json
        self.encode = self._encoder(exclude_none=False)
        """Checks a value against the type and gives its JSON. Raises Pydantic's `ValidationError`.

        As in FastAPI, an object with a model's attributes will do for the model.
        """

    def without_none(self) -> Callable[[Any], bytes]:
        """`encode` that leaves out members that are None."""
        return self._encoder(exclude_none=True)

    def _encoder(self, *, exclude_none: bool) -> Callable[[Any], bytes]:
        validate, to_json = self.validate, self.to_json

        def encode(value: Any) -> bytes:
            return to_json(validate(value, from_attributes=True), by_alias=True, exclude_none=exclude_none)

        return encode


def wire_type(annotation: Any, documented_as: JsonSchemaMode | None = None) -> WireType[Any]:
    """The codec of a type, made once."""
    try:
        shown = annotation if isinstance(annotation, type) else repr(annotation)
        return _wire_type(annotation, shown, documented_as)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
    return WireType(annotation, documented_as=documented_as)


@lru_cache(maxsize=4096)
def _wire_type(annotation: Any, shown: Any, documented_as: JsonSchemaMode | None) -> WireType[Any]:
    return WireType(annotation, documented_as=documented_as)


def _validator(schema: Schema) -> SchemaValidator:
    return validator_of(schema, _CONFIG)


ANYTHING = WireType[Any](Any)
"""The codec where there is nothing to check."""
