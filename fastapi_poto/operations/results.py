"""What a method gives back: the kind of its answer, and the type of the answer or of a stream's items."""

import collections.abc
import inspect
from collections.abc import Callable
from types import NoneType
from typing import Any, Union, get_args, get_origin

from starlette.responses import Response

from ..errors import ConfigurationError
from ..streaming import Event
from .hints import members, unaliased
from .operation import Events, Kind

_AWAITABLES = (collections.abc.Awaitable, collections.abc.Coroutine)
"""What a plain method may return instead of being `async`; their last argument is the result."""
_ITERATORS = {
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
    collections.abc.Iterator,
    collections.abc.Generator,
}
# `-> Iterable[T]` of a plain method may well be a list.
_OF_GENERATORS = {*_ITERATORS, collections.abc.Iterable}


def read_result(function: Callable[..., Any], annotation: Any, where: str) -> tuple[Kind, Any]:
    """The kind of answer, and its type; of a stream the type of its items.

    Raises `ConfigurationError` for a generator whose annotation is of something else.
    """
    if annotation is inspect.Signature.empty:
        raise ConfigurationError(
            f"{where} has no return annotation. Write the type of what it gives, or `-> None`, which answers 204."
        )
    generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    told, annotation = annotation, unaliased(annotation)
    if get_origin(annotation) in _AWAITABLES:
        return read_result(function, get_args(annotation)[-1], where)
    origin = get_origin(annotation) or annotation
    if origin in (_OF_GENERATORS if generator else _ITERATORS):
        item = next(iter(get_args(annotation)), Any)
        return ("byte_stream" if unaliased(item) is bytes else "stream"), _payload(item)
    if generator:
        if annotation is not Any:
            raise ConfigurationError(
                f"{where} yields, and so is a stream, but its annotation is {inspect.formatannotation(annotation)}. "
                "Write the type of an item: `-> AsyncIterator[…]`, or `-> Iterator[…]` of a plain method."
            )
        return "stream", Any
    if annotation is None or annotation is type(None):
        return "empty", None
    if annotation is bytes:
        return "bytes", bytes
    of_model = [member for member in members(annotation) if not _is_response(member)]
    if not of_model:
        return "response", annotation
    if of_model == [NoneType]:
        return "empty", None
    is_mixed = any(map(_is_response, members(annotation)))
    return "unary", _union(tuple(of_model)) if is_mixed else told  # a response passes through


def _is_response(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, Response)


def read_events(annotation: Any) -> Events:
    """Which items of a stream are annotated as `Event`s."""
    annotation = unaliased(annotation)
    if get_origin(annotation) in _AWAITABLES:
        return read_events(get_args(annotation)[-1])
    named = [_is_event(member) for item in get_args(annotation)[:1] for member in members(item)]
    return "all" if named and all(named) else "some" if any(named) else "none"


def _payload(item: Any) -> Any:
    """What an item carries: of `Event[T]`, alone or in a union, T."""
    found = list(members(item))
    return _union(tuple(map(_of_event, found))) if any(map(_is_event, found)) else item


def _is_event(member: Any) -> bool:
    return (get_origin(member) or member) is Event


def _of_event(member: Any) -> Any:
    return next(iter(get_args(member)), Any) if _is_event(member) else member


def _union(types: tuple[Any, ...]) -> Any:
    return Any if Any in types else Union[types]  # noqa: UP007 - of a tuple
