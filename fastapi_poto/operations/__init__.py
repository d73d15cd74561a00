"""Methods become specifications: verb, path, parameters, result, guards."""

from .compile import compile_module
from .hints import members, unaliased
from .operation import Kind, Operation, Parameter, Source
from .parameters import is_upload
from .payload import alias_of, arguments_type
from .texts import carried, is_value

__all__ = [
    "Kind",
    "Operation",
    "Parameter",
    "Source",
    "alias_of",
    "arguments_type",
    "carried",
    "compile_module",
    "is_upload",
    "is_value",
    "members",
    "unaliased",
]
