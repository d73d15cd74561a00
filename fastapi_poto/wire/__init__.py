"""One Python type on the wire: JSON bytes or texts in, JSON bytes out, compiled once."""

from .described import Described, describe
from .errors import bounded, is_private, wire_errors
from .integers import BIG_INTEGER, BigInt, is_big
from .rules import Rewire, Schema, as_plain_text, of_fields, of_texts, with_secrets, without_computed
from .types import ANYTHING, Decoder, WireType, wire_type

__all__ = [
    "ANYTHING",
    "BIG_INTEGER",
    "BigInt",
    "Decoder",
    "Described",
    "Rewire",
    "Schema",
    "WireType",
    "as_plain_text",
    "bounded",
    "describe",
    "is_big",
    "is_private",
    "of_fields",
    "of_texts",
    "wire_errors",
    "wire_type",
    "with_secrets",
    "without_computed",
]
