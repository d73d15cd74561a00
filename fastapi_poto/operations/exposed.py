"""Which attributes of a module class are methods to serve, and which are mistakes."""

import functools
import inspect
import sys
import typing
from collections.abc import Iterable, Iterator
from types import NoneType, SimpleNamespace
from typing import Any

from fastapi import params

from ..errors import ConfigurationError
from ..module import PotoModule, options_of
from .options import recorded_options

_RESERVED = frozenset(name for name in dir(PotoModule) if not name.startswith("_")) - {"route"}
_SOLVED = (params.Depends, params.Param, params.Body)
"""What FastAPI fills where it stands in a signature, and nobody where it stands in a class."""
_METHOD_LIKE = (functools.partialmethod, functools.singledispatchmethod, functools.partial)


def check_class(cls: object) -> None:
    """Raise `ConfigurationError` for what is no module class, or none that calls could be made on."""
    if not isinstance(cls, type):
        raise ConfigurationError(
            f"{cls!r} is not a module class but {_article(type(cls).__name__)}. "
            "Give poto_router() classes that derive from PotoModule, not instances or functions."
        )
    shown = cls.__qualname__
    if cls is PotoModule:
        raise ConfigurationError("PotoModule has no methods of its own. Give poto_router() a class derived from it.")
    if not issubclass(cls, PotoModule):
        raise ConfigurationError(f"{shown} is not a module class. Derive it: class {cls.__name__}(PotoModule): ...")
    if abstract := getattr(cls, "__abstractmethods__", None):
        raise ConfigurationError(
            f"{shown}.{min(abstract)} is abstract, so there can be no {shown}. Mount a class that implements it."
        )
    route: Any = cls.route
    if not isinstance(route, str | NoneType) and not callable(route):  # a method may have that name
        raise ConfigurationError(f"{shown}.route is {route!r}. It is a text: the path of the module.")
    for base in _own_bases(cls):
        if isinstance(vars(base).get("__new__"), staticmethod):
            raise ConfigurationError(
                f"{shown}.__new__: an instance belongs to one call, and is made without it. Write `__init__`, "
                "and take what calls share as a dependency: `def __init__(self, db: Annotated[Db, Depends(get_db)])`."
            )
        _check_attributes(cls, base)


def exposed(cls: type[PotoModule]) -> Iterator[tuple[str, type]]:
    """The names of methods to serve, in order of definition, bases first, and the class that defines each."""
    hidden = _hidden_names(cls)
    for name in dict.fromkeys(name for base in reversed(_own_bases(cls)) for name in vars(base)):
        owner = next(base for base in cls.__mro__ if name in vars(base))
        if owner is PotoModule or not _is_method(cls, name, vars(owner)[name]) or name in hidden:
            continue
        if recorded_options(cls, name).expose is not False:
            yield name, owner


def _own_bases(cls: type) -> list[type]:
    """The class and its bases, but those of `PotoModule` and of the standard library's typing."""
    library = (*PotoModule.__mro__, typing.Generic, typing.Protocol)
    return [base for base in cls.__mro__ if base not in library and base.__module__ not in ("typing", "abc")]


def _is_method(cls: type[PotoModule], name: str, member: Any) -> bool:
    """Raises `ConfigurationError` for what was decorated, or looks like a method, and cannot be served."""
    where = f"{cls.__qualname__}.{name}"
    kind = type(member).__name__
    options = options_of(member) or options_of(getattr(member, "__func__", None))
    if name.startswith("_"):
        if options is not None:
            raise ConfigurationError(
                f"{where} is private, and so is never exposed, but it is decorated. "
                "Remove the leading underscore or the decorator."
            )
        return False
    if name in _RESERVED:
        raise ConfigurationError(f"{where} hides PotoModule.{name}. Give it another name.")
    if inspect.isfunction(member):
        return True
    if options is not None and options.expose is False:
        return False
    if isinstance(member, type) and (options is None or issubclass(member, PotoModule)):
        return False
    if isinstance(member, staticmethod | classmethod):
        if options is not None:
            raise ConfigurationError(
                f"{where} is a {kind}, and so is never exposed, but is decorated. "
                "Make it a method that takes self, or remove the decorator."
            )
        return False
    if (
        options is not None
        or isinstance(member, _METHOD_LIKE)
        or inspect.isfunction(getattr(member, "__wrapped__", None))
    ):
        raise ConfigurationError(
            f"{where} is no plain function but {_article(kind)}, which cannot be served. Write a method that calls it "
            "(a cache belongs on a function outside: each call has an instance of its own), "
            "or put an underscore before its name."
        )
    return False


def _check_attributes(cls: type, base: type) -> None:
    """Raise `ConfigurationError` for what FastAPI should fill, but stands where it never looks: in the class."""
    constructor: Any = cls.__init__  # type: ignore[misc]
    taken = inspect.signature(constructor).parameters  # the fields of a dataclass
    candidates = {**inspect.get_annotations(base), **vars(base)}
    for name, value in candidates.items():
        said = value if name in vars(base) else _evaluated(value, base)
        mark = next((one for one in _parts(said) if isinstance(one, _SOLVED)), None)
        if mark is None or name in taken or name in _RESERVED:
            continue
        shown = type(mark).__name__
        raise ConfigurationError(
            f"{cls.__qualname__}.{name}: {shown}(…) as an attribute of a class never runs. Take it in the constructor: "
            f"`def __init__(self, {name.lstrip('_')}: Annotated[…, {shown}(…)])`; one whose value nobody needs "
            "goes into poto_router(dependencies=[…])."
        )


def _parts(said: Any) -> Iterable[Any]:
    if isinstance(said, list | tuple):
        return said
    return [said, *getattr(said, "__metadata__", ())]


def _evaluated(annotation: Any, base: type) -> Any:
    if not isinstance(annotation, str):
        return annotation
    holder, names = SimpleNamespace(__annotations__={"it": annotation}), vars(sys.modules[base.__module__])
    try:
        return typing.get_type_hints(holder, names, dict(vars(base)), include_extras=True)["it"]
    except Exception:
        return None  # it may name what only a type checker knows: nothing that could have run


def _hidden_names(cls: type[PotoModule]) -> frozenset[str]:
    hidden: set[str] = set()
    for base in cls.__mro__:
        options = options_of(base)
        expose = options.expose if options else None
        if expose is False:
            raise ConfigurationError(f"{cls.__qualname__} is not exposed. Do not give it to poto_router().")
        if expose is not None and expose is not True:
            hidden.update([expose] if isinstance(expose, str) else expose)
    for name in hidden:
        if not hasattr(cls, name):
            raise ConfigurationError(f"{cls.__qualname__}: @rpc(expose=…) names {name!r}, which it does not have.")
    return frozenset(hidden)


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"
