"""What a method takes: each parameter's source, and the types of its body and query."""

import copy
import inspect
import re
import types
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Final, NotRequired, Required, Union, get_args, get_origin

from fastapi import BackgroundTasks, Response, UploadFile, params
from fastapi._compat import (
    field_annotation_is_scalar,
    field_annotation_is_scalar_sequence,
    field_annotation_is_sequence,
)
from fastapi.security import SecurityScopes
from pydantic import Json
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from starlette.requests import HTTPConnection
from typing_extensions import ReadOnly, TypedDict

from ..auth.dependencies import current_session, current_user
from ..context import CallContext
from ..errors import ConfigurationError
from ..sessions import Session
from ..users import User
from .hints import unaliased
from .operation import Parameter, Source

_INJECTED = (HTTPConnection, Response, BackgroundTasks, SecurityScopes)
_INJECTED_BY_CALL: dict[Any, Source] = {
    User: Source.USER,
    current_user: Source.USER,
    Session: Source.SESSION,
    current_session: Source.SESSION,
    CallContext: Source.CONTEXT,
}
_OF_MEMBERS = (ClassVar, Final, Required, NotRequired, ReadOnly)
_SOLVED = (params.Depends, params.Param, params.Form, params.File)  # Param: Path, Query, Header, Cookie


def read_parameters(
    function: Callable[..., Any], hints: dict[str, Any], where: str, *, path: str = "", constructor: bool = False
) -> tuple[Parameter, ...]:
    """The parameters of a method without `self`. Raises `ConfigurationError` for what has no place on the wire."""
    found = []
    in_path = re.findall(r"{(\w+)", path)
    taken = list(inspect.signature(function).parameters.values())
    if not taken:
        raise ConfigurationError(f"{where} takes no `self`. Write it first, or put an underscore before the name.")
    for parameter in taken[1:]:
        name = parameter.name
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigurationError(
                f"{where}: *args and **kwargs cannot be called over the wire. "
                "Name each parameter, or take one `dict[str, int]` or `list[int]`."
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigurationError(f"{where}: {name!r} is positional-only, but calls are by name. Remove the '/'.")
        if name not in hints and not isinstance(parameter.default, _SOLVED):
            raise ConfigurationError(f"{where}: {name!r} has no annotation. Write its type: `{name}: str`.")
        if get_origin(hints.get(name)) in _OF_MEMBERS:
            raise ConfigurationError(f"{where}: {name!r} is {hints[name]}, which no parameter can be. Write its type.")
        read = _read(name, hints.get(name, Any), parameter.default, where, in_path=name in in_path)
        if constructor and read.source is Source.WIRE:
            raise ConfigurationError(
                f"{where}: the constructor's {name!r} is not a dependency, and callers never fill constructors. "
                f"Write `{name}: Annotated[..., Depends(...)]`, or take it as a parameter of the methods."
            )
        found.append(read)
    return tuple(found)


def _read(name: str, annotation: Any, default: Any, where: str, *, in_path: bool) -> Parameter:
    plain, marks = _marked(annotation)
    written = Annotated[plain, *marks] if marks else plain  # without the aliases, into which FastAPI does not look
    factory: Callable[[], Any] | None = None
    required = default is inspect.Parameter.empty
    if isinstance(default, FieldInfo | params.Depends):
        marks.append(default)
    aliased = unaliased(annotation) is not annotation  # and keeps the name by which the document has it
    source = Source.WIRE
    shape = None
    # What the call itself has: no need to ask FastAPI for it.
    given, type_ = _injected(plain, marks)
    if given is not None:
        source = given
        shape = next((one for one in get_args(type_) if isinstance(one, type) and one is not Any), None)
        required = required and type_ is plain
    elif in_path or any(isinstance(mark, _SOLVED) for mark in marks) or is_upload(plain) or _is_injected(plain):
        source = Source.DEPENDENCY
        annotation = written
        if name.startswith("poto_"):
            raise ConfigurationError(f"{where}: names like {name!r} are taken by the router. Rename it.")
    elif (hidden := _hidden_mark(plain)) is not None:
        shown = type(hidden).__name__
        raise ConfigurationError(
            f"{where}: the {shown}(…) of {name!r} stands inside its type, where it has no effect, and callers could "
            f"send what it should give. Write it around the whole type: `{name}: Annotated[… | None, {shown}(…)]`."
        )
    if source is Source.WIRE:
        if isinstance(default, FieldInfo):
            required, default, aliased = True, None, False
        for mark in marks:
            if not isinstance(mark, FieldInfo):
                continue
            if mark.default is not PydanticUndefined and mark.default is not ...:
                required, default = False, mark.default
            elif mark.default_factory is not None:
                required, factory = False, mark.default_factory  # type: ignore[assignment]
                if mark.default_factory_takes_validated_data:
                    raise ConfigurationError(
                        f"{where}: the default_factory of {name!r} takes the other values, which parameters do not "
                        "give it. Take None as the default, and make the value in the method."
                    )
        if not required and factory is None and not _is_hashable(default):
            factory = partial(copy.deepcopy, default)  # as in FastAPI: what one call does to it, the next never sees
        if not aliased and any(isinstance(mark, FieldInfo) for mark in marks):
            annotation = Annotated[plain, *(_without_default(mark) for mark in marks)]
    return Parameter(name, annotation, source, required, default, factory, shape)


def _marked(annotation: Any) -> tuple[Any, list[Any]]:
    """An annotation without and with what `Annotated` says beside it, here or in a type alias."""
    annotation = unaliased(annotation)
    if get_origin(annotation) is not Annotated:
        return annotation, []
    plain, *marks = get_args(annotation)
    plain, inner = _marked(plain)
    return plain, [*inner, *marks]


def _injected(plain: Any, marks: Iterable[Any]) -> tuple[Source | None, Any]:
    """The source of what a call itself can give (`User`, `Session[…]`, …, or None beside it), and its type."""
    dependency = next((mark.dependency for mark in marks if isinstance(mark, params.Depends)), None)
    given = _INJECTED_BY_CALL.get(dependency or get_origin(plain) or plain)
    if given is not None or get_origin(plain) not in (Union, types.UnionType):
        return given, plain
    of_members = [_injected(*_marked(one)) for one in get_args(plain) if one is not types.NoneType]
    return of_members[0] if len(of_members) == 1 else (None, plain)


def _hidden_mark(annotation: Any, outer: tuple[Any, ...] = ()) -> Any:
    """What only FastAPI could fill, but does not see: it stands inside a union or a list."""
    if annotation in outer:
        return None  # a type alias of itself
    inner, marks = _marked(annotation)
    for mark in marks:
        if isinstance(mark, _SOLVED):
            return mark
    return next(filter(None, (_hidden_mark(one, (*outer, annotation)) for one in get_args(inner))), None)


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _without_default(mark: Any) -> Any:
    """A field's constraints alone: a `TypedDict` has no defaults, and the method keeps its own."""
    if not isinstance(mark, FieldInfo):
        return mark
    bare = copy.copy(mark)
    bare.default, bare.default_factory = PydanticUndefined, None
    bare._attributes_set = {
        name: value for name, value in mark._attributes_set.items() if name not in ("default", "default_factory")
    }
    return bare


def members(annotation: Any) -> Iterable[Any]:
    """The types that an annotation names directly: of a union its members, of `Annotated` and an alias the type."""
    annotation = unaliased(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from members(argument)
    else:
        yield annotation


def is_upload(annotation: Any) -> bool:
    """`UploadFile`, one, several or optional."""
    for member in members(annotation):
        inner = get_args(member)[:1] if get_origin(member) in (list, tuple, set) else (member,)
        if any(isinstance(one, type) and issubclass(one, UploadFile) for one in inner):
            return True
    return False


def _is_injected(annotation: Any) -> bool:
    return any(isinstance(member, type) and issubclass(member, _INJECTED) for member in members(annotation))


def is_sequence(annotation: Any) -> bool:
    """Whether a query parameter may be repeated."""
    plain, marks = _marked(annotation)
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


def typed_dict(name: str, parameters: Iterable[Parameter], where: str, *, closed: bool) -> Any:
    """A `TypedDict` with a member per parameter. A missing member leaves the method its own default."""
    fields = {
        parameter.name: parameter.annotation if parameter.required else NotRequired[parameter.annotation]
        for parameter in parameters
    }
    if not fields:
        return None
    make: Any = TypedDict  # a checker wants a literal class
    made: Any = make(name, fields, closed=closed)  # by configuration, the members' own types would inherit it
    made.__module__ = where  # the name under which a clash of two components is told apart
    return made


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
