"""Integers that JavaScript cannot keep."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, Strict, WithJsonSchema

SAFE_INTEGER: Final = 2**53 - 1
"""Past it, the numbers of JavaScript and of many JSON parsers skip integers."""

BIG_INTEGER: Final[dict[str, Any]] = {"type": "string", "pattern": "^-?[0-9]+$"}

BigInt = Annotated[
    int, Strict(False), PlainSerializer(str, return_type=str, when_used="json"), WithJsonSchema(BIG_INTEGER)
]
"""An integer of any size: a string on the wire, accepted as a string or a number."""


def is_big(bounds: Iterable[Any]) -> bool:
    """Whether an integer within these bounds may pass `SAFE_INTEGER`: it is a `BigInt`, written or not."""
    return any(isinstance(bound, int | float) and abs(bound) > SAFE_INTEGER for bound in bounds)
