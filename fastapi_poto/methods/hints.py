"""What a method's annotations say, as types: forward references resolved, type variables filled in."""

import inspect
import sys
import typing
from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin

from ..errors import ConfigurationError


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
                filled.setdefault((origin, variable), substitute(argument, _of(filled, base)))
    return filled


def _of(filled: dict[Any, Any], cls: type) -> dict[Any, Any]:
    """The part of `filled` that holds for the variables that `cls` itself declares."""
    return {variable: value for (owner, variable), value in filled.items() if owner is cls}


def substitute(annotation: Any, variables: dict[Any, Any]) -> Any:
    """`annotation` with type variables replaced."""
    if isinstance(annotation, TypeVar):
        return variables.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if not parameters or (isinstance(annotation, type) and get_origin(annotation) is None):
        return annotation
    generic: Any = annotation
    return generic[tuple(variables.get(parameter, parameter) for parameter in parameters)]


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
    variables = _of(type_variables(cls), owner)
    resolved = {}
    for name, written in hints.items():
        resolved[name] = hint = substitute(written, variables)
        left = [hint] if isinstance(hint, TypeVar) else getattr(hint, "__parameters__", ())
        if left and not isinstance(hint, type):
            raise ConfigurationError(
                f"{where}: nothing says what {left[0]} of {name!r} stands for. "
                f"Mount a subclass that fills it: class Mine({owner.__name__}[int]): ..."
            )
    return resolved
