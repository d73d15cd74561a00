"""Integers that JavaScript cannot keep."""

from collections.abc import Iterable
from typing import Annotated, Any, Final, cast

from pydantic import GetCoreSchemaHandler, Strict, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

SAFE_INTEGER: Final = 2**53 - 1
"""Past it, the numbers of JavaScript and of many JSON parsers skip integers."""

BIG_INTEGER: Final[dict[str, Any]] = {"type": "string", "pattern": "^-?[0-9]+$"}


class _WrittenAsText:  # as `PlainSerializer` does it, which is slow to import
    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: Any = handler(source)
        schema["serialization"] = core_schema.plain_serializer_function_ser_schema(
            str, return_schema=core_schema.str_schema(), when_used="json"
        )
        return cast("CoreSchema", schema)


BigInt = Annotated[int, Strict(False), _WrittenAsText(), WithJsonSchema(BIG_INTEGER)]
"""An integer of any size: a string on the wire, accepted as a string or a number."""


def is_big(bounds: Iterable[Any]) -> bool:
    """Whether an integer within these bounds may pass `SAFE_INTEGER`: it is a `BigInt`, written or not."""
    return any(isinstance(bound, int | float) and abs(bound) > SAFE_INTEGER for bound in bounds)
