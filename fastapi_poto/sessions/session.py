"""What a user keeps between calls: values by key, each read and written on its own."""

import logging
from asyncio import sleep
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from copy import deepcopy
from dataclasses import dataclass
from operator import index
from random import random
from typing import Any, Generic, Protocol, cast, overload

from pydantic import BaseModel, ValidationError
from starlette.types import Scope
from typing_extensions import TypeVar

from .._compat.pydantic import validated_fields
from ..errors import ConfigurationError, SessionConflict, SessionValueError, TooLarge
from ..stores.base import INTEGER_MAX, INTEGER_MIN, is_name
from ..users import User
from .codec import UndecodableError, decode, decode_field, encode, encode_field

logger = logging.getLogger("fastapi_poto.sessions")

Shape = TypeVar("Shape", default=Any)
Another = TypeVar("Another", bound=BaseModel)
Value = TypeVar("Value")
Plain = TypeVar("Plain", bound=str | bytes | float | BaseModel)

KEY_BYTES = 200
_ATTEMPTS = 200


class Caller(Protocol):
    """What a session is told of the call that opens it."""

    user: User | None
    identity: Any
    """The credentials behind `user`."""
    scope: Scope
    response_headers: list[tuple[bytes, bytes]]
    has_begun: bool
    is_streaming: bool
    """Go out with the call's response."""


class SessionBackend(Protocol):
    """Where one user's session is kept. An absent session reads as empty; the first write makes it."""

    value_bytes: int

    async def read(self, keys: Sequence[str] | None) -> dict[str, bytes]:
        """The fields of `keys` that are there, or all."""
        ...

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        """Set fields, remove those whose value is None, all or none."""

    async def add(self, key: str, by: int) -> int:
        """Add to an integer."""
        ...

    async def swap(self, key: str, old: bytes | None, new: bytes) -> bool:
        """Compare and set; False if the field is not `old`."""
        ...

    async def clear(self) -> None:
        """Remove all fields."""

    def key_lock(self, key: str) -> AbstractAsyncContextManager[Any]:
        """One update of `key` at a time in this process: spares updates the collisions, promises nothing."""
        ...


class Session(Generic[Shape]):
    """What a user keeps between calls; every operation is one atomic step, shared by all of the user's sign-ins.

    Values are what JSON holds and Python's rich types, models included (see codec), up to 64 KiB each; keys are
    strings of up to 200 bytes, up to 256 of them. A session that is not touched costs
    nothing; one that was never written is empty. Past a limit: `TooLarge`, and nothing has changed. A write of a call
    that began before the session was ended raises `SessionEnded`. A store that is down raises `Unavailable`.

    `Session[Cart]` has the fields of the Pydantic model `Cart` as its keys: values are validated, absent ones are
    the model's defaults, and `load()` gives them together as a `Cart`.
    """

    __slots__ = ("_backend", "_shape")

    def __init__(self, backend: SessionBackend, shape: type[BaseModel] | None = None) -> None:
        self._backend = backend
        self._shape = shape

    @overload
    async def get(self, key: str, default: Plain) -> Plain: ...
    @overload
    async def get(self, key: str, default: Any = None) -> Any: ...
    async def get(self, key: str, default: Any = None) -> Any:
        """One value; `default` (or the shape's own) if it is absent."""
        self._check_key(key)
        found = await self._backend.read((key,))
        return self._value(key, found.get(key), default)

    async def set(self, key: str, value: Any) -> None:
        """Set one value."""
        self._check_key(key)
        await self._backend.write({key: self._bytes(key, value)})

    async def delete(self, key: str) -> None:
        """Remove one value, if it is there."""
        self._check_key(key)
        await self._backend.write({key: None})

    async def increment(self, key: str, by: int = 1) -> int:
        """Add to an integer of 64 bits (absent: 0, or the shape's default) and give the sum.

        Raises `SessionValueError` if the value is not such an integer, `TypeError` if `by` is none.
        """
        self._check_key(key)
        by = int(index(by))  # of 1.5 or True every store would make something else
        if self._shape is None or _counts_from_zero(self._shape, key):
            try:
                return await self._backend.add(key, by)
            except ValueError as error:
                if self._shape is None:
                    raise _no_integer(key) from error
        # The model has a say in it; or what is there is an older model's, and counts as absent.

        def add(value: Any) -> Any:
            total = (value or 0) + by
            if not INTEGER_MIN <= total <= INTEGER_MAX:
                raise _no_integer(key)
            return total

        return cast("int", await self.update(key, add))

    async def update(self, key: str, fn: Callable[[Any], Value], default: Any = None) -> Value:
        """Set the value to `fn(value)` and give it, as one step: what others write in between is seen, not lost.

        `fn` gets `default` (or the shape's) if there is no value. It may be called several times, so it only
        computes. Raises `SessionConflict` if others never let it through.
        """
        self._check_key(key)
        async with self._backend.key_lock(key):
            for attempt in range(_ATTEMPTS):
                old = (await self._backend.read((key,))).get(key)
                value = fn(self._value(key, old, default, copy=True))
                new = self._bytes(key, value)
                if new == old or await self._backend.swap(key, old, new):
                    return value if self._shape is None else self._value(key, new, default)
                await sleep(random() * min(0.001 * attempt, 0.02))  # noqa: S311
        raise SessionConflict

    async def all(self) -> dict[str, Any]:
        """All values that are there."""
        found = await self._backend.read(None)
        values = {key: self._value(key, value, _ABSENT) for key, value in found.items() if self._knows(key)}
        return {key: value for key, value in values.items() if value is not _ABSENT}

    async def clear(self) -> None:
        """Remove all values."""
        await self._backend.clear()

    # A session with a shape

    def typed(self, shape: type[Another]) -> "Session[Another]":
        """This session with a Pydantic model as its shape. All fields of the model need defaults."""
        return Session[Another](self._backend, check_shape(shape))

    async def load(self) -> Shape:
        """All values as an instance of the shape: what is absent has its default. One read, so they fit together."""
        shape = self._need_shape()
        values = await self.all()
        try:
            return cast("Shape", shape.model_validate(values, by_alias=False, by_name=True))
        except ValidationError:
            logger.warning("The session's values do not make a %s together; its defaults are used", shape.__name__)
            return cast("Shape", shape())

    async def save(self, values: Shape) -> None:
        """Set those fields of `values` that were given to it, in one step, and leave the others as they are."""
        shape = self._need_shape()
        if not isinstance(values, shape):
            raise TypeError(f"save() takes a {shape.__name__}")
        given = [key for key in shape.model_fields if key in values.model_fields_set]  # and nothing extra
        await self._backend.write({key: self._sized(key, encode_field(shape, key, values)) for key in given})

    def _need_shape(self) -> type[BaseModel]:
        if self._shape is None:
            raise TypeError("This session has no shape: annotate it as Session[YourModel]")
        return self._shape

    # Keys and values

    def _knows(self, key: str) -> bool:
        return self._shape is None or key in self._shape.model_fields

    def _check_key(self, key: str) -> None:
        if not self._knows(key):
            raise KeyError(f"{self._need_shape().__name__} has no field {key!r}")
        if not is_name(key, KEY_BYTES):
            raise SessionValueError(f"A session key is text of up to {KEY_BYTES} bytes, with no NUL: {key!r}")

    def _bytes(self, key: str, value: Any) -> bytes:
        if self._shape is None:
            return self._sized(key, encode(value))
        model = self._shape.model_validate({key: value}, by_alias=False, by_name=True)
        return self._sized(key, encode_field(self._shape, key, model))

    def _sized(self, key: str, data: bytes) -> bytes:
        if len(data) > self._backend.value_bytes:
            raise TooLarge(f"The session value {key!r} has {len(data)} bytes; the limit is {self._backend.value_bytes}")
        return data

    def _value(self, key: str, data: bytes | None, default: Any, copy: bool = False) -> Any:
        if data is not None:
            try:
                return decode(data) if self._shape is None else decode_field(self._shape, key, data)
            except UndecodableError as error:
                logger.warning("The session value %r is treated as absent: %s", key, error)
        if default is None and self._shape is not None:
            return getattr(self._shape(), key)
        return deepcopy(default) if copy else default


def _no_integer(key: str) -> SessionValueError:
    # The number may be a client's: not the server's failure.
    return SessionValueError(f"{key!r} does not hold an integer of 64 bits")


_ABSENT = object()
_shapes: dict[type[BaseModel], None] = {}


def check_shape(shape: Any) -> type[BaseModel]:
    """`shape` if it can be one. Raises `ConfigurationError`: at start-up for a parameter, at once for `typed()`."""
    if shape not in _shapes:
        if not isinstance(shape, type) or not issubclass(shape, BaseModel):
            raise ConfigurationError(f"Session[{shape!r}]: a session's shape is a Pydantic model.")
        required = [name for name, field in shape.model_fields.items() if field.is_required()]
        if required:
            raise ConfigurationError(
                f"Session[{shape.__name__}]: {', '.join(required)} needs a default, for a session starts empty."
            )
        _shapes[shape] = None
    return cast("type[BaseModel]", shape)


def _counts_from_zero(shape: type[BaseModel], key: str) -> bool:
    """Whether the store may count without asking the model: a plain `int` that starts at 0 and that nobody checks."""
    field, checked = shape.model_fields[key], validated_fields(shape)
    return (
        field.annotation is int
        and not field.metadata
        and type(field.default) is int
        and field.default == 0
        and checked is not None
        and checked.isdisjoint({key, "*"})
    )


@dataclass(frozen=True, slots=True)
class SessionStats:
    """How many sessions are alive; at least so many if not `complete`."""

    live: int
    complete: bool
    store: str


class SessionProvider(Protocol):
    """Where the sessions of all users are kept (see sessions)."""

    def handle(self, caller: Caller) -> Session[Any]:
        """The session of the call's user. Does no I/O."""
        ...

    async def end(self, user_id: str) -> None:
        """Remove the user's session."""

    async def forget(self, user_id: str) -> None:
        """Remove whatever is kept of a user who is gone for good: nobody can call under this id any more."""

    async def stats(self) -> SessionStats:
        """How many sessions are alive."""
        ...
