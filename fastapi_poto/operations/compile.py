"""From a module class to the specifications of its methods; every mistake that can be seen at start-up."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import fields
from types import NoneType
from typing import Any

from fastapi import params
from pydantic.json_schema import JsonSchemaMode

from ..errors import ConfigurationError, PotoError
from ..module import PotoModule, RpcOptions, options_of
from ..wire import ANYTHING, Rewire, WireType, of_texts
from .hints import resolve_hints
from .operation import Guard, Kind, Operation, Parameter, Source
from .parameters import check_query, is_upload, read_parameters, typed_dict
from .results import read_events, read_result

_VERBS = ("get", "post", "put", "patch", "delete")
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))([A-Za-z0-9._~:@!$&'()*+,;=-]|\{\w+(:\w+)?\})+)+")
_MAKERS: tuple[Any, ...] = (contextmanager, asynccontextmanager)
_CONTEXT_MANAGERS = [make(lambda: None).__code__ for make in _MAKERS]
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( *;[ -~]*)?")  # RFC 6838, 4.2
_OPTIONS: dict[str, tuple[Any, str]] = {
    "method": (str, "a verb"),
    "path": (str, "a text"),
    "expose": (bool, "True or False; names of methods are for the class's own @rpc"),
    "media_type": (str, "a text"),
    "first_item_timeout": (int | float, "seconds"),
    "summary": (str, "a text"),
    "openapi_extra": (Mapping, "a dictionary"),
}
_RESERVED = frozenset(name for name in dir(PotoModule) if not name.startswith("_")) - {"route"}


def compile_module(cls: type[PotoModule]) -> tuple[Operation, ...]:
    """The exposed methods of a module, in order of definition, bases first."""
    _check_class(cls)
    constructor = _read_constructor(cls)
    specs = tuple(_compile(cls, name, owner, constructor) for name, owner in _exposed(cls))
    if not specs:
        raise ConfigurationError(
            f"{cls.__qualname__} has no method to call. Public methods take self, and have no leading underscore."
        )
    return specs


def _check_class(cls: object) -> None:
    if not isinstance(cls, type):
        raise ConfigurationError(
            f"{cls!r} is not a module class but {_article(type(cls).__name__)}. "
            "Give poto_router() classes that derive from PotoModule, not instances or functions."
        )
    shown = cls.__qualname__
    if cls is PotoModule:
        raise ConfigurationError("PotoModule has no methods of its own. Give poto_router() a class derived from it.")
    if not issubclass(cls, PotoModule):
        raise ConfigurationError(f"{shown} is not a module class. Derive it: class {shown}(PotoModule): ...")
    if abstract := getattr(cls, "__abstractmethods__", None):
        raise ConfigurationError(
            f"{shown}.{min(abstract)} is abstract, so there can be no {shown}. Mount a class that implements it."
        )
    route: Any = cls.route
    if not isinstance(route, str | NoneType) and not callable(route):  # a method may have that name
        raise ConfigurationError(f"{shown}.route is {route!r}. It is a text: the path of the module.")


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def _exposed(cls: type[PotoModule]) -> Iterator[tuple[str, type]]:
    """Names of callable methods and the class that defines each."""
    seen: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        if not issubclass(base, PotoModule) and base is not object and base.__module__ != "typing":
            seen.update(dict.fromkeys(vars(base)))  # a mixin of the user's own
        elif issubclass(base, PotoModule) and base is not PotoModule:
            seen.update(dict.fromkeys(vars(base)))
    hidden = _hidden_names(cls)
    for name in seen:
        owner = next(base for base in cls.__mro__ if name in vars(base))
        member = vars(owner)[name]
        if name in _RESERVED and owner is not PotoModule and not name.startswith("_"):
            raise ConfigurationError(f"{cls.__qualname__}.{name} hides PotoModule.{name}. Give it another name.")
        if isinstance(member, staticmethod | classmethod) and (options_of(member) or options_of(member.__func__)):
            raise ConfigurationError(
                f"{cls.__qualname__}.{name} is a {type(member).__name__}, and so is never exposed, but is decorated. "
                "Make it a method that takes self, or remove the decorator."
            )
        if not inspect.isfunction(member) or owner is PotoModule:
            continue
        recorded = options_of(member)
        if name.startswith("_"):
            if recorded is not None:
                raise ConfigurationError(
                    f"{cls.__qualname__}.{name} is private, and so is never exposed, but it is decorated. "
                    "Remove the leading underscore or the decorator."
                )
            continue
        if name in hidden or _options(cls, name).expose is False:
            continue
        yield name, owner


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


def _options(cls: type, name: str) -> RpcOptions:
    """What the definitions of a method say together: an override keeps what it does not say anew."""
    said: dict[str, Any] = {}
    for _, options in _recorded(cls, name):
        for entry in fields(options):
            if said.get(entry.name) is None:
                said[entry.name] = getattr(options, entry.name)
    return RpcOptions(**said)


def _recorded(cls: type, name: str) -> Iterator[tuple[type, RpcOptions]]:
    """The classes that define a method, the nearest first, with what each says of it."""
    for base in cls.__mro__:
        options = options_of(vars(base)[name]) if name in vars(base) else None
        if options is not None:
            yield base, options


def _guard(cls: type, name: str, owner: type) -> Guard:
    """The method's own guard, that of the method it overrides, or that of the nearest class that has one.

    What opens one class does not open another that only meets it in `cls`: that is an error.
    """
    of_method = [(base, options) for base, options in _recorded(cls, name) if options.public is not None]
    of_class = [(base, options) for base in cls.__mro__ if (options := options_of(base)) and options.public is not None]
    said = of_method or of_class
    if not said:
        return Guard()
    opener, options = said[0]
    if options.public:
        closed = [] if of_method else [base for base, options in of_class if not options.public]
        place = f"{owner.__qualname__}.{name}" if of_method else cls.__qualname__
        for other in (owner, *closed):
            if not issubclass(opener, other) and not issubclass(other, opener):
                raise ConfigurationError(
                    f"{cls.__qualname__}.{name} would be open to everybody: {opener.__qualname__} is @public, "
                    f"but {other.__qualname__} beside it is not. Say @public or @roles on {place}."
                )
    return Guard(bool(options.public), options.roles or frozenset())


def _read_constructor(cls: type[PotoModule]) -> tuple[Parameter, ...]:
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if owner is object:
        return ()
    function = vars(owner)["__init__"]
    where = f"{cls.__qualname__}.__init__"
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"{where} is `async`, and would never run. Await in a dependency that it takes.")
    return read_parameters(function, resolve_hints(function, cls, owner, where), where, constructor=True)


def _verb_and_path(cls: type[PotoModule], name: str, options: RpcOptions, where: str) -> tuple[str, str]:
    prefix, _, rest = name.partition("_")
    verb, last = (prefix.upper(), rest) if prefix in _VERBS and rest else ("POST", name)
    if options.method is not None:
        verb = options.method.upper()
        if verb.lower() not in _VERBS:
            raise ConfigurationError(f"{where}: method={options.method!r}. Use one of {', '.join(_VERBS).upper()}.")
    if options.path is not None:
        last = options.path.strip("/")
    segment = (cls.route if isinstance(cls.route, str) else cls.__name__).strip("/")
    path = "/" + "/".join(part for part in (segment, last) if part)
    if not _PATH.fullmatch(path):
        raise ConfigurationError(f"{where}: {path!r} is not a path. Use letters, digits, '-', '.', '_' and '~'.")
    return verb, path


def _check_path(path: str, parameters: Iterable[Parameter], where: str) -> None:
    taken = {parameter.name for parameter in parameters}
    by_fastapi = any(parameter.source is Source.DEPENDENCY for parameter in parameters)  # a dependency may take it
    for name in re.findall(r"\{(\w+)", path):
        if name not in taken and not by_fastapi:
            raise ConfigurationError(f"{where}: the path {path!r} has {{{name}}}, but no parameter has that name.")


def _compile(cls: type[PotoModule], name: str, owner: type, constructor: tuple[Parameter, ...]) -> Operation:
    where = f"{cls.__qualname__}.{name}"
    function: Callable[..., Any] = vars(owner)[name]
    if function.__code__ in _CONTEXT_MANAGERS:
        raise ConfigurationError(
            f"{where} is a context manager, which no caller can enter. Put an underscore before its name, "
            "or decorate it with @rpc(expose=False)."
        )
    options = _options(cls, name)
    _check_options(options, where)
    verb, path = _verb_and_path(cls, name, options, where)
    hints = resolve_hints(function, cls, owner, where)
    inner = inspect.unwrap(function)
    returned = hints.pop("return", Any)
    kind, result = read_result(inner, returned, where)
    _check_kind(kind, options, where)
    parameters = read_parameters(function, hints, where, path=path)
    _check_path(path, (*parameters, *constructor), where)
    operation_id = f"{cls.__name__}_{name}"
    wire = [parameter for parameter in parameters if parameter.source is Source.WIRE]
    form = any(_is_form(parameter) for parameter in parameters)
    in_query = verb in ("GET", "DELETE")
    if form and in_query:
        raise ConfigurationError(f"{where}: {verb} has no body, so it cannot take forms or uploads. Use POST.")
    body_type = query_type = None
    decoder = encoder = ANYTHING
    if in_query:
        check_query(wire, where, verb)
        query_type = typed_dict(f"{_camel(operation_id)}Query", wire, cls.__module__, closed=False)
    elif not form:
        body_type = typed_dict(f"{_camel(operation_id)}Request", wire, cls.__module__, closed=True)
    if body_type or query_type:
        decoder = _decoder(body_type or query_type, wire, where, of_texts if query_type else None)
    if kind in ("unary", "stream"):
        encoder = _codec(result, "the result", where, "serialization")
    return Operation(
        cls=cls,
        module_name=cls.__name__,
        name=name,
        verb=verb,
        path=path,
        operation_id=operation_id,
        function=function,
        in_thread=not any(
            kind_of(inner)
            for kind_of in (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
        ),
        kind=kind,
        result=result,
        events=read_events(returned) if kind == "stream" else "none",
        parameters=parameters,
        constructor=constructor,
        form=form,
        body_type=body_type,
        query_type=query_type,
        guard=_guard(cls, name, owner),
        errors=_check_errors(options.errors or (), where),
        doc=_doc(cls, name),
        media_type=options.media_type,
        resumable=bool(options.resumable),
        first_item_timeout=1.0 if options.first_item_timeout is None else options.first_item_timeout,
        # One that waits before it returns its iterator is a stream whose first item is awaited.
        cancel_on_disconnect=bool(options.cancel_on_disconnect)
        or (kind in ("stream", "byte_stream") and inspect.iscoroutinefunction(inner)),
        summary=options.summary,
        tags=tuple(options.tags) if options.tags is not None else None,
        deprecated=options.deprecated,
        openapi_extra=options.openapi_extra,
        decoder=decoder,
        encoder=encoder,
    )


def _decoder(members: Any, wire: Iterable[Parameter], where: str, rewire: Rewire | None) -> WireType[dict[str, Any]]:
    try:
        return WireType[dict[str, Any]](members, documented_as="validation", rewire=rewire)
    except TypeError:
        for parameter in wire:
            _codec(parameter.annotation, repr(parameter.name), where, "validation")
        raise


def _codec(annotation: Any, of: str, where: str, documented_as: JsonSchemaMode) -> WireType[Any]:
    try:
        return WireType[Any](annotation, documented_as=documented_as)
    except TypeError as error:
        raise ConfigurationError(
            f"{where}: {of} has a type that cannot go over the wire: {error}. "
            "Use a Pydantic model, or a type that Pydantic knows."
        ) from error


def _is_form(parameter: Parameter) -> bool:
    marks = (*getattr(parameter.annotation, "__metadata__", ()), parameter.default)
    return is_upload(parameter.annotation) or any(isinstance(mark, params.Form) for mark in marks)


def _check_options(options: RpcOptions, where: str) -> None:
    """What `@rpc` was told that no kind of method can mean."""
    for name, (type_, wanted) in _OPTIONS.items():
        value = getattr(options, name)
        if value is not None and not isinstance(value, type_):
            raise ConfigurationError(f"{where}: @rpc({name}={value!r}). Write {wanted}.")
    if options.media_type is not None and not _MEDIA_TYPE.fullmatch(options.media_type):
        raise ConfigurationError(f"{where}: media_type={options.media_type!r}. Write one as `text/csv`.")


def _check_kind(kind: Kind, options: RpcOptions, where: str) -> None:
    """What was said of an answer that this kind of answer cannot keep."""
    if options.first_item_timeout is not None and not options.first_item_timeout >= 0:
        raise ConfigurationError(f"{where}: first_item_timeout={options.first_item_timeout}. It is in seconds, or 0.")
    if isinstance(options.tags, str):
        raise ConfigurationError(f"{where}: tags={options.tags!r} is one tag. Write tags=[{options.tags!r}].")
    if options.resumable and kind != "stream":
        raise ConfigurationError(
            f"{where}: only a stream of items can be resumed. Write `-> AsyncIterator[…]` of what is not bytes, "
            "or remove resumable=True."
        )
    if options.media_type is not None and kind not in ("bytes", "byte_stream", "response"):
        raise ConfigurationError(
            f"{where}: media_type={options.media_type!r}, but what it gives is sent as JSON. "
            "Write `-> bytes` or `-> AsyncIterator[bytes]`, or remove media_type."
        )


def _check_errors(errors: Iterable[Any], where: str) -> tuple[type[PotoError], ...]:
    if isinstance(errors, type):
        raise ConfigurationError(f"{where}: errors={errors.__name__} is one class. Write errors=[{errors.__name__}].")
    codes: dict[str, type[PotoError]] = {}
    for error in errors:
        if not (isinstance(error, type) and issubclass(error, PotoError)):
            raise ConfigurationError(f"{where}: errors={error!r} is not a PotoError class. Derive it from PotoError.")
        if not isinstance(error.code, str):
            raise ConfigurationError(f"{where}: {error.__name__}.code is {error.code!r}. Write a text.")
        if not isinstance(error.status, int) or not 400 <= error.status <= 599:
            raise ConfigurationError(
                f"{where}: {error.__name__}.status is {error.status!r}. Write a number, 400 to 599."
            )
        other = codes.setdefault(error.code, error)
        if other is not error:
            raise ConfigurationError(
                f"{where}: {error.__name__} and {other.__name__} both have the code {error.code!r}. Give each its own."
            )
    return tuple(errors)


def _doc(cls: type, name: str) -> str:
    """The method's docstring, or that of the method it overrides."""
    docs = (vars(base)[name].__doc__ for base in cls.__mro__ if name in vars(base))
    return inspect.cleandoc(next(filter(None, docs), ""))


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_") if part)
