"""What a method's annotations say, as types: forward references resolved, type variables filled in."""

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Iterable
from inspect import Signature
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typing_extensions

from .._compat.pydantic import generic_parameters
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
    parameters = generic_parameters(annotation)
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


def taken_apart(annotation: Any) -> tuple[Any, list[Any]]:
    """An annotation without and with what `Annotated` says beside it, here or in a type alias."""
    annotation = unaliased(annotation)
    if get_origin(annotation) is not Annotated:
        return annotation, []
    plain, *marks = get_args(annotation)
    plain, inner = taken_apart(plain)
    return plain, [*inner, *marks]


def within(annotation: Any, outer: tuple[Any, ...] = ()) -> Iterable[tuple[Any, list[Any]]]:
    """The types of which an annotation is made, however deep, each with what `Annotated` says of it."""
    if annotation in outer:
        return  # a type alias of itself
    plain, marks = taken_apart(annotation)
    yield plain, marks
    for one in get_args(plain) if get_origin(plain) is not Literal else ():
        yield from within(one, (*outer, annotation))


def members(annotation: Any) -> Iterable[Any]:
    """The types that an annotation names directly: of a union its members, of `Annotated` and an alias the type."""
    annotation = unaliased(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from members(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for argument in get_args(annotation):
            yield from members(argument)
    else:
        yield annotation


def described_by(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function whose signature a decorated method shows: the innermost, or the first with a `__signature__`."""
    inner: Callable[..., Any] = inspect.unwrap(function, stop=lambda one: hasattr(one, "__signature__"))
    return inner


def resolve_hints(
    function: Callable[..., Any], signature: Signature, cls: type, owner: type, where: str
) -> dict[str, Any]:
    """The annotations of `function`, which `owner` defines, as they are in `cls`; by parameter, and `return`.

    Raises `ConfigurationError` for a name that cannot be resolved or a type variable that nothing fills.
    """
    written = {one.name: one.annotation for one in [*signature.parameters.values()][1:]}
    written["return"] = signature.return_annotation
    written = {name: hint for name, hint in written.items() if hint is not Signature.empty}
    variables = _of(type_variables(cls), owner)
    resolved = {}
    for name, hint in _evaluated(written, inspect.unwrap(function), owner, where).items():
        filled = substitute(hint, variables)
        resolved[name] = filled = substitute(filled, _stand_ins(_unfilled(filled), owner))
        if left := _unfilled(filled):
            cure = (
                f"Mount a subclass that fills it: class Mine({owner.__name__}[int]): ..."
                if left[0] in getattr(owner, "__parameters__", ())
                else "No caller can fill a type variable of the method's own: write a type, or give it a bound."
            )
            raise ConfigurationError(f"{where}: nothing says what {left[0]} of {name!r} stands for. {cure}")
    return resolved


def _evaluated(written: dict[str, Any], inner: Callable[..., Any], owner: type, where: str) -> dict[str, Any]:
    module = sys.modules.get(inner.__module__)
    names = inner.__globals__
    if module is not None and vars(module) is not names:
        names = {**vars(module), **names}
    try:
        return typing.get_type_hints(
            SimpleNamespace(__annotations__=written),
            globalns=names,
            localns=_Names(owner, inner),
            include_extras=True,
        )
    except NameError as error:
        raise ConfigurationError(
            f"{where}: the annotation names {error.name!r}, which cannot be resolved. "
            f"Import or define it at the top of {inner.__module__} (not under TYPE_CHECKING, nor in a function)."
        ) from error
    except Exception as error:  # an annotation may be any expression, and raise anything
        raise ConfigurationError(f"{where}: an annotation cannot be evaluated: {error}") from error


class _Names(dict[str, Any]):
    """What annotations in a class can name besides what is in its module."""

    def __init__(self, owner: type, inner: Callable[..., Any]) -> None:
        super().__init__(_type_parameters(inner))
        self._owner = owner

    def __missing__(self, name: str) -> Any:
        of_class = vars(self._owner)
        # Functions of a class are never types: a method `list` would hide the type from the annotations beside it.
        if name in of_class and not _is_method(of_class[name]):
            return of_class[name]
        return _type_parameters(self._owner)[name]


def _is_method(member: Any) -> bool:
    kinds = (staticmethod, classmethod, property, functools.cached_property, functools.partialmethod)
    return inspect.isroutine(member) or isinstance(member, kinds) or hasattr(member, "__wrapped__")


def _type_parameters(of: Any) -> dict[str, Any]:
    """Those of `class Crud[T]` and `def first[T](…)` (PEP 695)."""
    return {one.__name__: one for one in getattr(of, "__type_params__", ())}


def _unfilled(hint: Any) -> list[Any]:
    if isinstance(hint, TypeVar):
        return [hint]
    return [] if isinstance(hint, type) and get_origin(hint) is None else list(getattr(hint, "__parameters__", ()))


def _stand_ins(variables: list[Any], owner: type) -> dict[Any, Any]:
    """What type variables stand for if nothing says it: their defaults (PEP 696), or, of a method's own, its bound."""
    found: dict[Any, Any] = {}
    for one in variables:
        if hasattr(one, "has_default") and one.has_default():
            found[one] = one.__default__
        elif one not in getattr(owner, "__parameters__", ()) and (one.__bound__ is not None or one.__constraints__):
            found[one] = one.__bound__ or Union[one.__constraints__]  # noqa: UP007 - of a tuple
    return found
