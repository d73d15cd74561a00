"""What texts can carry: the parameters of a query, the fields of a form."""

import types
from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import Any, Union, get_args, get_origin

from fastapi._compat import (
    field_annotation_is_scalar,
    field_annotation_is_scalar_sequence,
    field_annotation_is_sequence,
)
from pydantic import Json

from ..errors import ConfigurationError
from .hints import members, taken_apart
from .operation import Parameter


def is_sequence(annotation: Any) -> bool:
    """Whether a query parameter may be repeated."""
    plain, marks = taken_apart(annotation)
    if any(type(mark) is Json for mark in marks):
        return False  # `Json[list[int]]` is one text
    if get_origin(plain) in (Union, types.UnionType):
        return any(map(is_sequence, get_args(plain)))
    return field_annotation_is_sequence(get_origin(plain) or plain)


def check_query(parameters: Iterable[Parameter], where: str, verb: str) -> None:
    """Raise `ConfigurationError` for a parameter that a query string cannot carry."""
    for parameter in parameters:
        for member in members(parameter.annotation):
            if is_value(member):
                continue
            shown = getattr(member, "__name__", None) or str(member)
            raise ConfigurationError(
                f"{where}: {parameter.name!r} has the type {shown}, which cannot be a query parameter of {verb}. "
                'Give the method a name without the verb, or `@rpc(method="POST")`, so that it takes a body.'
            )


def is_value(annotation: Any) -> bool:
    """Whether one or several strings can carry it, as in a form or a query."""
    return all(
        member is type(None)
        or (
            (field_annotation_is_scalar(member) or field_annotation_is_scalar_sequence(member))
            and not is_dataclass(member)
        )
        for member in members(annotation)
    )
