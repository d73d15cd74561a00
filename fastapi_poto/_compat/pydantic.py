"""What is read of Pydantic without being published: its core's switch, and what classes keep under names of its own."""

from typing import Any

from pydantic import BaseModel
from pydantic_core import CoreConfig, SchemaSerializer, SchemaValidator

# Without the switch nested models would keep the codecs of their own classes. A core that does not know it has none.
_OWN_CODECS: dict[str, Any] = {"_use_prebuilt": False}
try:
    SchemaValidator({"type": "any"}, None, **_OWN_CODECS)
except TypeError:
    _OWN_CODECS = {}


def validator_of(schema: Any, config: CoreConfig) -> SchemaValidator:
    """The validator of a schema that was changed; nested models with it."""
    return SchemaValidator(schema, config, **_OWN_CODECS)


def serializer_of(schema: Any, config: CoreConfig) -> SchemaSerializer:
    """The serializer of a schema that was changed; nested models with it."""
    return SchemaSerializer(schema, config, **_OWN_CODECS)


def generic_arguments(cls: Any) -> tuple[Any, tuple[Any, ...]]:
    """The generic model that a model was made of, and with which arguments; (None, ()) for any other class."""
    known = getattr(cls, "__pydantic_generic_metadata__", {})
    return known.get("origin"), tuple(known.get("args", ()))


def generic_parameters(cls: Any) -> tuple[Any, ...]:
    """The type variables that a generic model still has."""
    return tuple(getattr(cls, "__pydantic_generic_metadata__", {}).get("parameters", ()))


def has_private_values(model: BaseModel) -> bool:
    """Whether a model keeps values in private attributes."""
    return bool(getattr(model, "__pydantic_private__", None))


def validated_fields(model: type[BaseModel]) -> set[str] | None:
    """The fields that validators of the class look at; None if some look at the whole model."""
    decorators = model.__pydantic_decorators__
    if decorators.model_validators or decorators.root_validators:
        return None
    both = (decorators.field_validators, decorators.validators)
    return {name for some in both for one in some.values() for name in one.info.fields}
