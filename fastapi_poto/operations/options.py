"""What `@rpc`, `@public` and `@roles` said of a method, on it and on what it overrides."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from string import Formatter
from typing import Any

from pydantic_core import to_json

from ..errors import ConfigurationError, PotoError
from ..module import RpcOptions, options_of
from ..wire import describe
from .operation import Guard, Kind, Parameter, Source

_MEDIA_TYPE = r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( *;[ -~]*)?"  # RFC 6838, 4.2
_OPTIONS: dict[str, tuple[Any, str]] = {
    "method": (str, "a verb"),
    "path": (str, "a text"),
    "expose": (bool, "True or False; names of methods are for the class's own @rpc"),
    "media_type": (str, "a text"),
    "key": (str, 'a text, as "chat:{chat_id}"'),
    "status_code": (int, "a number, 200 to 399"),
    "responses": (Mapping, "a dictionary, by status"),
    "response_model_exclude_none": (bool, "True or False"),
    "include_in_schema": (bool, "True or False"),
    "first_item_timeout": (int | float, "seconds"),
    "summary": (str, "a text"),
    "openapi_extra": (Mapping, "a dictionary"),
}
_SIGNED_IN = Guard()
_UNSAID = RpcOptions()


def recorded_options(cls: type, name: str) -> RpcOptions:
    """What the definitions of a method say together: an override keeps what it does not say anew."""
    said: dict[str, Any] = {}
    recorded = [options for _, options in _recorded(cls, name)]
    if not recorded:
        return _UNSAID
    for options in recorded:
        for option, value in options._asdict().items():
            if said.get(option) is None:
                said[option] = value
    return RpcOptions(**said)


def _recorded(cls: type, name: str) -> Iterator[tuple[type, RpcOptions]]:
    """The classes that define a method, the nearest first, with what each says of it."""
    for base in cls.__mro__:
        options = options_of(vars(base)[name]) if name in vars(base) else None
        if options is not None:
            yield base, options


def guard_of(cls: type, name: str, owner: type) -> Guard:
    """The method's own guard, that of the method it overrides, or that of the nearest class that has one.

    What opens one class does not open another that only meets it in `cls`: that is an error.
    """
    of_method = [(base, options) for base, options in _recorded(cls, name) if options.is_guard]
    of_class = [(base, options) for base in cls.__mro__ if (options := options_of(base)) and options.is_guard]
    said = of_method or of_class
    if not said:
        return _SIGNED_IN
    opener, options = said[0]
    if options.public:
        closed = [] if of_method else [base for base, options in of_class if not options.public]
        _check_opener(cls, name, opener, [owner, *closed], of_method=bool(of_method))
    return Guard(bool(options.public), options.roles or frozenset(), bool(options.named))


def _check_opener(cls: type, name: str, opener: type, others: Iterable[type], *, of_method: bool) -> None:
    owner, *_ = others
    place = f"{owner.__qualname__}.{name}" if of_method else cls.__qualname__
    for other in others:
        if not issubclass(opener, other) and not issubclass(other, opener):
            raise ConfigurationError(
                f"{cls.__qualname__}.{name} would be open to everybody: {opener.__qualname__} is @public, "
                f"but {other.__qualname__} beside it is not. Say @public, @roles or @named on {place}."
            )


def check_options(options: RpcOptions, where: str) -> None:
    """Raise `ConfigurationError` for what `@rpc` was told that no kind of method can mean."""
    if options is _UNSAID:
        return
    for name, (type_, wanted) in _OPTIONS.items():
        value = getattr(options, name)
        if value is not None and not isinstance(value, type_):
            raise ConfigurationError(f"{where}: @rpc({name}={value!r}). Write {wanted}.")
    for status, response in (options.responses or {}).items():
        if response.get("model") is not None:
            _check_documented(response["model"], f"responses[{status}]", where)
    try:
        to_json([options.openapi_extra, [{**one, "model": None} for one in (options.responses or {}).values()]])
    except ValueError as error:
        raise ConfigurationError(f"{where}: what @rpc says of the document is no JSON: {error}.") from error
    if options.media_type is not None and not re.fullmatch(_MEDIA_TYPE, options.media_type):
        raise ConfigurationError(f"{where}: media_type={options.media_type!r}. Write one as `text/csv`.")


def check_kind(kind: Kind, options: RpcOptions, where: str) -> None:
    """Raise `ConfigurationError` for what was said of an answer that this kind of answer cannot keep."""
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


def status_of(kind: Kind, result: Any, options: RpcOptions, where: str) -> int:
    """With which status a method answers that succeeds. Raises `ConfigurationError` for one that it cannot have."""
    status = options.status_code
    if status is None:
        return 204 if kind == "empty" else _own_status(result) if kind == "response" else 200
    if isinstance(status, bool) or not 200 <= status <= 399:
        raise ConfigurationError(
            f"{where}: status_code={status!r}. Write a number, 200 to 399; failures are raised, and their classes "
            "listed in errors=[…]."
        )
    if kind in ("stream", "byte_stream") and status != 200:
        raise ConfigurationError(f"{where}: a stream begins with 200. Remove status_code={status}.")
    if status in (204, 205, 304) and kind not in ("empty", "response"):
        raise ConfigurationError(f"{where}: {status} has no body. Write `-> None`, or another status_code.")
    return status


def _own_status(result: Any) -> int:
    """That of a class of responses, as its constructor has it: 307 of `RedirectResponse`."""
    if not isinstance(result, type):
        return 200
    parameter = inspect.signature(result).parameters.get("status_code")
    return parameter.default if parameter is not None and isinstance(parameter.default, int) else 200


def check_key(options: RpcOptions, parameters: Iterable[Parameter], where: str) -> None:
    """Raise `ConfigurationError` for a key that a stream cannot be found by."""
    if options.key is None:
        return
    if not options.resumable:
        raise ConfigurationError(f"{where}: only a resumable stream is found by a key. Add resumable=True.")
    names = {one.name for one in parameters if one.source is Source.WIRE}
    try:
        fields = [field for _, field, spec, conversion in Formatter().parse(options.key) if field is not None]
    except ValueError as error:
        raise ConfigurationError(f"{where}: key={options.key!r}: {error}.") from error
    if unknown := [field for field in fields if field not in names]:
        raise ConfigurationError(
            f"{where}: key={options.key!r} names {', '.join(map(repr, unknown))}, which is no parameter that a client "
            f"sends. Write one of {', '.join(sorted(names)) or 'none: there are none'}, in braces."
        )


def check_errors(errors: Iterable[Any], where: str) -> tuple[type[PotoError], ...]:
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
        _check_documented(getattr(error, "__annotations__", {}).get("data", Any), f"{error.__name__}.data", where)
    return tuple(errors)


def _check_documented(annotation: Any, of: str, where: str) -> None:
    """Raise `ConfigurationError` for a type that would make a document impossible."""
    if isinstance(annotation, str):
        return  # FastAPI finds its name when the route is made
    try:
        describe(annotation).document("serialization")
    except TypeError as error:
        raise ConfigurationError(
            f"{where}: {of} has a type that no document can have: {error}. Use a Pydantic model."
        ) from error
