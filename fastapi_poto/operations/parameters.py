"""What a method takes: each parameter's source, annotation and default."""

import copy
import functools
import inspect
import re
import types
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, ClassVar, Final, NotRequired, Required, Union, get_args, get_origin

from fastapi import BackgroundTasks, Response, UploadFile, WebSocket, params
from fastapi.security import SecurityScopes
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from starlette.requests import HTTPConnection
from typing_extensions import ReadOnly

from ..auth.dependencies import current_session, current_user
from ..context import CallContext
from ..errors import ConfigurationError
from ..sessions import Session
from ..users import User
from .hints import members, taken_apart, unaliased, within
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
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial)


def read_parameters(
    signature: inspect.Signature, hints: dict[str, Any], where: str, *, path: str = "", constructor: bool = False
) -> tuple[Parameter, ...]:
    """The parameters of a method without `self`. Raises `ConfigurationError` for what has no place on the wire."""
    taken = list(signature.parameters.values())
    _check_self(taken, where)
    in_path = re.findall(r"{(\w+)", path)
    found = []
    for parameter in taken[1:]:
        _check_signature(parameter, hints, where)
        annotation = hints.get(parameter.name, Any)
        _check_annotation(parameter.name, annotation, where)
        read = _read(parameter.name, annotation, parameter.default, where, in_path=parameter.name in in_path)
        if constructor:
            _check_constructor(read, where)
        found.append(read)
    return tuple(found)


def _check_self(taken: list[inspect.Parameter], where: str) -> None:
    if not taken:
        raise ConfigurationError(f"{where} takes no `self`. Write it first, or put an underscore before the name.")
    first = taken[0]
    if first.kind in (first.VAR_POSITIONAL, first.VAR_KEYWORD):
        _refuse_stars(where)
    if first.kind is first.KEYWORD_ONLY or first.name.strip("_") not in ("self", "this", ""):
        raise ConfigurationError(
            f"{where}: its first parameter is {first.name!r}, which would be the module itself. Write `self` first."
        )


def _refuse_stars(where: str) -> None:
    cure = (
        "are filled by nobody. Name each dependency: `db: Annotated[..., Depends(...)]`"
        if where.endswith(".__init__")
        else "cannot be called over the wire. Name each parameter, or take one `dict[str, int]` or `list[int]`"
    )
    raise ConfigurationError(
        f"{where}: *args and **kwargs {cure}. If a decorator made them, let it use functools.wraps."
    )


def _check_signature(parameter: inspect.Parameter, hints: dict[str, Any], where: str) -> None:
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        _refuse_stars(where)
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise ConfigurationError(f"{where}: {name!r} is positional-only, but calls are by name. Remove the '/'.")
    if name not in hints and not isinstance(parameter.default, _SOLVED):
        raise ConfigurationError(f"{where}: {name!r} has no annotation. Write its type: `{name}: str`.")


def _check_annotation(name: str, annotation: Any, where: str) -> None:
    if get_origin(annotation) in _OF_MEMBERS:
        raise ConfigurationError(f"{where}: {name!r} is {annotation}, which no parameter can be. Write its type.")
    function = next((one for one, _ in within(annotation) if isinstance(one, _FUNCTIONS)), None)
    if function is not None:  # Pydantic would call it, with arguments of the caller's choice
        shown = getattr(function, "__name__", None) or repr(function)
        raise ConfigurationError(
            f"{where}: the type of {name!r} is {shown}, which is a function and no type. "
            f"A dependency is written `{name}: Annotated[…, Depends({shown})]`."
        )
    if any(isinstance(one, type) and issubclass(one, WebSocket) for one in members(annotation)):
        raise ConfigurationError(f"{where}: {name!r} is a WebSocket, but calls come by HTTP. Take a `Request`.")


def _check_constructor(read: Parameter, where: str) -> None:
    if is_form(read):
        raise ConfigurationError(
            f"{where}: the constructor's {read.name!r} would give every method a form as its body. "
            "Take it as a parameter of the methods that want one."
        )
    if read.source is Source.WIRE:
        raise ConfigurationError(
            f"{where}: the constructor's {read.name!r} is not a dependency, and callers never fill constructors. "
            f"Write `{read.name}: Annotated[..., Depends(...)]`, or take it as a parameter of the methods."
        )


def _read(name: str, annotation: Any, default: Any, where: str, *, in_path: bool) -> Parameter:
    plain, marks = taken_apart(annotation)
    if isinstance(default, FieldInfo | params.Depends):
        marks.append(default)
    required = default is inspect.Parameter.empty
    # What the call itself has: no need to ask FastAPI for it.
    source, type_ = _from_call(plain, marks)
    if source is not None:
        shape = next((one for one in get_args(type_) if isinstance(one, type) and one is not Any), None)
        return Parameter(name, annotation, source, required and type_ is plain, default, shape=shape)
    if in_path or any(isinstance(mark, _SOLVED) for mark in marks) or _is_injected(plain):
        if name.startswith("poto_"):
            raise ConfigurationError(f"{where}: names like {name!r} are taken by the router. Rename it.")
        own = marks[:-1] if marks and marks[-1] is default else marks
        # Without the aliases, into which FastAPI does not look.
        return Parameter(name, Annotated[plain, *own] if own else plain, Source.DEPENDENCY, required, default)
    hidden = next((mark for _, marks in within(plain) for mark in marks if isinstance(mark, _SOLVED)), None)
    if hidden is not None:  # only FastAPI could fill it, and it does not look there
        shown = type(hidden).__name__
        raise ConfigurationError(
            f"{where}: the {shown}(…) of {name!r} stands inside its type, where it has no effect, and callers could "
            f"send what it should give. Write it around the whole type: `{name}: Annotated[… | None, {shown}(…)]`."
        )
    return _from_wire(name, annotation, default, where)


def _from_wire(name: str, annotation: Any, default: Any, where: str) -> Parameter:
    """A parameter that the caller fills, with what its fields (`Field(…)`, `Body(…)`) say of its default."""
    plain, marks = taken_apart(annotation)
    aliased = unaliased(annotation) is not annotation  # and keeps the name by which the document has it
    required = default is inspect.Parameter.empty
    if isinstance(default, FieldInfo):
        marks.append(default)
        required, default, aliased = True, None, False
    factory: Callable[[], Any] | None = None
    fields = [mark for mark in marks if isinstance(mark, FieldInfo)]
    for field in fields:
        _check_field(name, field, where)
        if field.default is not PydanticUndefined and field.default is not ...:
            required, default = False, field.default
        elif field.default_factory is not None:
            required, factory = False, field.default_factory  # type: ignore[assignment]
    if not required and factory is None and not _is_hashable(default):
        factory = partial(copy.deepcopy, default)  # as in FastAPI: what one call does to it, the next never sees
    if fields and not aliased:
        annotation = Annotated[plain, *(_without_default(mark) for mark in marks)]
    return Parameter(name, annotation, Source.WIRE, required, default, factory)


def _check_field(name: str, field: FieldInfo, where: str) -> None:
    if field.default_factory is not None and field.default_factory_takes_validated_data:
        raise ConfigurationError(
            f"{where}: the default_factory of {name!r} takes the other values, which parameters do not "
            "give it. Take None as the default, and make the value in the method."
        )
    if isinstance(field, params.Body) and field.embed is False:
        raise ConfigurationError(
            f"{where}: {name!r} is Body(embed=False), but a body is always an object with a member per parameter, so "
            "that adding one breaks no caller. Remove embed=False."
        )
    if isinstance(field, params.Body) and field.media_type != "application/json":
        raise ConfigurationError(
            f"{where}: {name!r} is Body(media_type={field.media_type!r}), but a body is JSON. Remove media_type, take "
            "an UploadFile, or read the body yourself from a parameter `request: Request`."
        )


def _from_call(plain: Any, marks: Iterable[Any]) -> tuple[Source | None, Any]:
    """The source of what a call itself can give (`User`, `Session[…]`, …, or None beside it), and its type."""
    dependency = next((mark.dependency for mark in marks if isinstance(mark, params.Depends)), None)
    source = _INJECTED_BY_CALL.get(dependency or get_origin(plain) or plain)
    if source is not None or get_origin(plain) not in (Union, types.UnionType):
        return source, plain
    of_members = [_from_call(*taken_apart(one)) for one in get_args(plain) if one is not types.NoneType]
    return of_members[0] if len(of_members) == 1 else (None, plain)


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


def is_upload(annotation: Any) -> bool:
    """`UploadFile`, one, several or optional."""
    for member in members(annotation):
        inner = get_args(member)[:1] if get_origin(member) in (list, tuple, set) else (member,)
        if any(isinstance(one, type) and issubclass(one, UploadFile) for one in inner):
            return True
    return False


def is_form(parameter: Parameter) -> bool:
    """Whether it makes a body multipart, or a form."""
    _, marks = taken_apart(parameter.annotation)
    return is_upload(parameter.annotation) or any(isinstance(one, params.Form) for one in (*marks, parameter.default))


def _is_injected(annotation: Any) -> bool:
    return any(isinstance(member, type) and issubclass(member, _INJECTED) for member in members(annotation))
