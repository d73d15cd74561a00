"""What a method's annotations say, as types: forward references resolved, type variables filled in."""

import inspect
import sys
import typing
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typing_extensions

from ..errors import ConfigurationError

_ALIASES = (typing_extensions.TypeAliasType, getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType))


def type_variables(cls: type) -> dict[Any, Any]:
    """What each type variable of the bases of `cls` stands for in `cls`.

    For `class Users(Crud[User])` with `class Crud(PotoModule, Generic[T])`: `{T: User}`.
    """
    filled: dict[Any, Any] = {}
    for base in cls.__mro__:
        for generic in vars(base).get("__orig_bases__", ()):
            origin = get_origin(generic)
            if origin is None or not hasattr(origin, "__parameters__"):
                continue
            for variable, argument in zip(origin.__parameters__, get_args(generic), strict=False):
                if not isinstance(variable, TypeVar):
                    break  # what a TypeVarTuple takes has no fixed place
                filled.setdefault((origin, variable), substitute(argument, _of(filled, base)))
    return filled


def _of(filled: dict[Any, Any], cls: type) -> dict[Any, Any]:
    """The part of `filled` that holds for the variables that `cls` itself declares."""
    return {variable: value for (owner, variable), value in filled.items() if owner is cls}


def substitute(annotation: Any, variables: dict[Any, Any]) -> Any:
    """`annotation` with type variables replaced."""
    if isinstance(annotation, TypeVar):
        return variables.get(annotation, annotation)
    if isinstance(annotation, list):  # what a Callable takes
        return [substitute(one, variables) for one in annotation]
    # Of a generic model with the same variable, Pydantic makes `Page[T]` no alias but `Page` itself.
    parameters = getattr(annotation, "__pydantic_generic_metadata__", {}).get("parameters", ())
    if parameters:
        model: Any = annotation
        return model[tuple(variables.get(parameter, parameter) for parameter in parameters)]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None or origin is Literal:
        return annotation
    if origin is Annotated:
        return Annotated[substitute(arguments[0], variables), *arguments[1:]]
    filled = tuple(
        [substitute(one, variables) for one in argument]
        if isinstance(argument, list)
        else substitute(argument, variables)
        for argument in arguments
    )
    if filled == arguments:
        return annotation
    return Union[filled] if origin is UnionType else origin[filled]  # noqa: UP007 - of a tuple


def unaliased(annotation: Any) -> Any:
    """What a type alias (PEP 695) stands for; anything else as it is."""
    origin = get_origin(annotation) or annotation
    if not isinstance(origin, _ALIASES):
        return annotation
    try:
        value = origin.__value__
    except NameError:
        return annotation  # Pydantic will say which name it is
    if isinstance(value, str):
        return annotation
    variables = dict(zip(origin.__type_params__, get_args(annotation), strict=False))
    return unaliased(substitute(value, variables))


def _unfilled(hint: Any) -> list[Any]:
    if isinstance(hint, TypeVar):
        return [hint]
    return [] if isinstance(hint, type) and get_origin(hint) is None else list(getattr(hint, "__parameters__", ()))


def _defaults(variables: list[Any]) -> dict[Any, Any]:
    """What type variables stand for if nothing says it (PEP 696)."""
    return {one: one.__default__ for one in variables if hasattr(one, "has_default") and one.has_default()}


def resolve_hints(function: Callable[..., Any], cls: type, owner: type, where: str) -> dict[str, Any]:
    """The annotations of `function`, which `owner` defines, as they are in `cls`; keys as in `__annotations__`.

    Raises `ConfigurationError` for a name that cannot be resolved or a type variable that nothing fills.
    """
    inner = inspect.unwrap(function)
    module = sys.modules.get(inner.__module__)
    names = {**(vars(module) if module else {}), **inner.__globals__}
    try:
        hints = typing.get_type_hints(inner, globalns=names, localns=dict(vars(owner)), include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"{where}: the annotation names {error.name!r}, which cannot be resolved. "
            f"Import or define it at the top of {inner.__module__} (not under TYPE_CHECKING, nor in a function)."
        ) from error
    except Exception as error:  # an annotation may be any expression, and raise anything
        raise ConfigurationError(f"{where}: an annotation cannot be evaluated: {error}") from error
    for parameter in inspect.signature(function).parameters.values():  # a decorator may have added some
        if parameter.annotation is not parameter.empty and not isinstance(parameter.annotation, str):
            hints.setdefault(parameter.name, parameter.annotation)
    variables = _of(type_variables(cls), owner)
    resolved = {}
    for name, written in hints.items():
        hint = substitute(written, variables)
        resolved[name] = hint = substitute(hint, _defaults(_unfilled(hint)))
        if left := _unfilled(hint):
            raise ConfigurationError(
                f"{where}: nothing says what {left[0]} of {name!r} stands for. "
                f"Mount a subclass that fills it: class Mine({owner.__name__}[int]): ..."
            )
    return resolved
