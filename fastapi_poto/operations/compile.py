"""From a module class to its operations; every mistake that can be seen at start-up."""

import inspect
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager
from inspect import Signature
from typing import Any

from ..errors import ConfigurationError
from ..module import PotoModule
from ..wire import ANYTHING, WireType
from .exposed import check_class, exposed
from .hints import described_by, resolve_hints
from .operation import Kind, Operation, Parameter
from .options import check_errors, check_key, check_kind, check_options, guard_of, recorded_options, status_of
from .parameters import read_parameters
from .paths import check_path, verb_and_path
from .payload import codec_of, item_codec, read_payload
from .results import read_events, read_result

_MAKERS: tuple[Any, ...] = (contextmanager, asynccontextmanager)
_CONTEXT_MANAGERS = [make(lambda: None).__code__ for make in _MAKERS]


def compile_module(cls: type[PotoModule]) -> tuple[Operation, ...]:
    """The exposed methods of a module, in order of definition, bases first.

    Raises `ConfigurationError`, naming `Class.method` and the cure.
    """
    check_class(cls)
    constructor = _read_constructor(cls)
    operations = tuple(_compile(cls, name, owner, constructor) for name, owner in exposed(cls))
    if not operations:
        raise ConfigurationError(
            f"{cls.__qualname__} has no method to call. Public methods take self, and have no leading underscore."
        )
    return operations


def _read_constructor(cls: type[PotoModule]) -> tuple[Parameter, ...]:
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if owner is object:
        return ()
    function = vars(owner)["__init__"]
    where = f"{cls.__qualname__}.__init__"
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"{where} is `async`, and would never run. Await in a dependency that it takes.")
    signature = inspect.signature(function)
    return read_parameters(signature, resolve_hints(function, signature, cls, owner, where), where, constructor=True)


def _compile(cls: type[PotoModule], name: str, owner: type, constructor: tuple[Parameter, ...]) -> Operation:
    where = f"{cls.__qualname__}.{name}"
    function: Callable[..., Any] = vars(owner)[name]
    if function.__code__ in _CONTEXT_MANAGERS:
        raise ConfigurationError(
            f"{where} is a context manager, which no caller can enter. Put an underscore before its name, "
            "or decorate it with @rpc(expose=False)."
        )
    options = recorded_options(cls, name)
    check_options(options, where)
    verb, path = verb_and_path(cls, name, options, where)
    signature = inspect.signature(function)
    hints = resolve_hints(function, signature, cls, owner, where)
    inner = described_by(function)
    returned = hints.pop("return", Signature.empty)
    parameters = read_parameters(signature, hints, where, path=path)
    kind, result = read_result(inner, returned, where)
    check_kind(kind, options, where)
    check_path(path, (*parameters, *constructor), where)
    check_key(options, parameters, where)
    carried_in, decoder = read_payload(cls, name, verb, parameters)
    codec = _result_codec(kind, result, where)
    return Operation(
        cls=cls,
        module_name=cls.__name__,
        name=name,
        verb=verb,
        path=path,
        operation_id=f"{cls.__name__}_{name}",
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
        carried_in=carried_in,
        guard=guard_of(cls, name, owner),
        errors=check_errors(options.errors or (), where),
        doc=_doc(cls, name),
        options=options,
        status_code=status_of(kind, result, options, where),
        resumable=bool(options.resumable),
        first_item_timeout=1.0 if options.first_item_timeout is None else options.first_item_timeout,
        # One that waits before it returns its iterator is a stream whose first item is awaited.
        cancel_on_disconnect=bool(options.cancel_on_disconnect)
        or (kind in ("stream", "byte_stream") and inspect.iscoroutinefunction(inner)),
        decoder=decoder,
        encode=codec.without_none() if options.response_model_exclude_none else codec.encode,
    )


def _result_codec(kind: Kind, result: Any, where: str) -> WireType[Any]:
    if kind == "stream":
        return item_codec(result, where)
    return codec_of(result, "the result", where, "serialization") if kind == "unary" else ANYTHING


def _doc(cls: type, name: str) -> str:
    """The method's docstring, or that of the method it overrides."""
    docs = (vars(base)[name].__doc__ for base in cls.__mro__ if name in vars(base))
    return inspect.cleandoc(next(filter(None, docs), ""))
