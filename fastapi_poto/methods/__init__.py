"""Methods become specifications: verb, path, parameters, result, guards."""

from .compile import compile_module
from .hints import unaliased
from .parameters import is_sequence, is_upload, is_value, members
from .spec import Guard, Kind, MethodSpec, Parameter, Source

__all__ = [
    "Guard",
    "Kind",
    "MethodSpec",
    "Parameter",
    "Source",
    "compile_module",
    "is_sequence",
    "is_upload",
    "is_value",
    "members",
    "unaliased",
]
