"""What Pydantic knows of an annotation: made once, however many methods name it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any

from pydantic import PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic.warnings import UnsupportedFieldAttributeWarning
from pydantic_core import SchemaError, to_json

from .rules import OPAQUE, Rewire, Schema, rewired


class Described:
    """An annotation's core schema by the rules of the wire, and what its JSON Schema says of names."""

    def __init__(self, annotation: Any) -> None:
        with warnings.catch_warnings():  # of aliases and the like, which concern who has a member of this type
            warnings.simplefilter("ignore", UnsupportedFieldAttributeWarning)
            self._adapter = TypeAdapter[Any](annotation)
        self._adapter.rebuild()  # of a class that has yet to be defined in full
        self._schemas: dict[Rewire | None, Schema] = {}
        self._documents: dict[JsonSchemaMode, dict[str, Any]] = {}

    def schema(self, rewire: Rewire | None = None) -> Schema:
        found = self._schemas.get(rewire)
        if found is None:
            found = self._schemas[rewire] = rewired(self._adapter.core_schema, rewire)
        return found

    def document(self, mode: JsonSchemaMode) -> dict[str, Any]:
        """Its JSON Schema. Raises `TypeError` if it has none."""
        found = self._documents.get(mode)
        if found is None:
            with as_type_error():
                found = self._adapter.json_schema(mode=mode, schema_generator=_Quiet)
                to_json(found)  # what is said beside a type may be no JSON
                self._documents[mode] = found
        return found

    @cached_property
    def private_names(self) -> frozenset[str]:
        """The members whose values are secret (`SecretStr`, …). An empty name stands for the whole."""
        return frozenset(_private_names(self._adapter.core_schema, ("",)))

    def member_names(self, mode: JsonSchemaMode) -> frozenset[str]:
        """The members that the objects have which the type stands for."""
        document = self.document(mode)
        return frozenset(_members_of(document, document.get("$defs", {}), set()))


class _Quiet(GenerateJsonSchema):
    """Warns of nothing: FastAPI will, when it makes the document."""

    def emit_warning(self, kind: Any, detail: str) -> None: ...


def describe(annotation: Any) -> Described:
    """Raises `TypeError` if Pydantic cannot say what an annotation means."""
    with as_type_error():
        try:
            # Of two equal annotations each may say something else: `int | str` is `str | int` to Python.
            return _described(annotation, annotation if isinstance(annotation, type) else repr(annotation))
        except TypeError as error:
            if "unhashable" not in str(error):
                raise
        return Described(annotation)


@lru_cache(maxsize=4096)
def _described(annotation: Any, shown: Any) -> Described:
    return Described(annotation)


@contextmanager
def as_type_error() -> Iterator[None]:
    """Tell what Pydantic says of a type in one line of plain words."""
    try:
        yield
    except PydanticUndefinedAnnotation as error:
        raise TypeError(f"{error.name} is not defined") from error
    except PydanticUserError as error:
        raise TypeError(str(error).partition("\n")[0].partition(". ")[0].rstrip(".")) from error
    except (SchemaError, ValueError, AttributeError, LookupError) as error:  # a type's own hooks may raise anything
        raise TypeError(" ".join(str(error).split())) from error


_FIELDS = {"model-field", "typed-dict-field", "dataclass-field"}


def _private_names(node: Any, around: tuple[str, ...]) -> Iterator[str]:
    """The fields, each by all its names, in which something is serialized as a secret."""
    if isinstance(node, list | tuple):
        for one in node:
            yield from _private_names(one, around)
    if not isinstance(node, dict):
        return
    if getattr((node.get("serialization") or {}).get("function"), "__name__", "").startswith("_serialize_secret"):
        yield from around
    for key, one in node.items():
        if isinstance(one, dict) and one.get("type") in _FIELDS:
            yield from _private_names(one["schema"], _names_of(key, one))
        elif isinstance(one, dict) and node.get("type") in _FIELDS:
            yield from _private_names(one, _names_of(node["name"], node))
        elif key not in OPAQUE:
            yield from _private_names(one, around)


def _names_of(name: str, field: Schema) -> tuple[str, ...]:
    alias = field.get("validation_alias")
    return (name, alias) if isinstance(alias, str) else (name,)


def _members_of(schema: dict[str, Any], definitions: dict[str, Any], seen: set[str]) -> Iterator[str]:
    yield from schema.get("properties", ())
    inner = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    name = schema.get("$ref", "").rpartition("/")[2]
    if name and name not in seen:
        seen.add(name)
        inner.append(definitions.get(name, {}))
    for one in inner:
        yield from _members_of(one, definitions, seen)
