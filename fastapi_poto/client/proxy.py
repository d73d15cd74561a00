"""A module class seen from the other side: its methods, as calls."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, TypeVar, overload

import httpx
from pydantic import ValidationError

from ..errors import ConfigurationError, UnexpectedResponse
from ..module import PotoModule
from ..operations import Operation, compile_module
from ..wire import WireType, without_computed
from .arguments import Arguments
from .connection import Connection
from .deadline import deadline_of_call
from .errors import error_classes, error_from_body
from .outgoing import Outgoing
from .streams import Chunks, Items, StreamPlan

T = TypeVar("T")

Remote = Callable[..., Any]


class ModuleProxy:
    """What `client.module(Shop)` is at run time; type checkers take it for a `Shop`."""

    def __init__(self, cls: type[PotoModule], connection: Connection, options: "CallOptions") -> None:
        self._poto_cls = cls
        self._poto_connection = connection
        for compiled in _compiled(cls):  # type: ignore[arg-type] # mypy takes no class for Hashable
            setattr(self, compiled.operation.name, RemoteMethod(compiled, connection, options).as_function())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        callable_names = ", ".join(name for name in vars(self) if not name.startswith("_"))
        raise AttributeError(
            f"{self._poto_cls.__name__}.{name} is not called over the wire. There are: {callable_names}."
        )

    def __repr__(self) -> str:
        return f"<{self._poto_cls.__name__} at {self._poto_connection.base_url}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """Times in seconds; None: no limit."""

    timeout: float | None
    stream_timeout: float | None
    silence: float | None
    reconnects: int
    prefix: str


class Compiled:
    """What is known of a method before any client calls it."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.arguments = Arguments(operation)
        self.classes = error_classes(operation.errors)
        has_value = operation.kind in ("unary", "stream")
        self.decoder = WireType[Any](operation.result if has_value else Any, rewire=without_computed)


@lru_cache(maxsize=256)
def _compiled(cls: type[PotoModule]) -> tuple[Compiled, ...]:
    return tuple(Compiled(operation) for operation in compile_module(cls))


class RemoteMethod:
    """One method, called over the wire."""

    def __init__(self, compiled: Compiled, connection: Connection, options: CallOptions) -> None:
        self._operation = compiled.operation
        self._compiled = compiled
        self._connection = connection
        self._options = options

    def as_function(self) -> Remote:
        operation = self._operation
        start = {"stream": self._items, "byte_stream": self._chunks}.get(operation.kind, self._call)

        @wraps(operation.function)
        def method(*args: Any, **kwargs: Any) -> Any:
            outgoing = self._compiled.arguments.bind(args, kwargs)
            outgoing.path = self._options.prefix + outgoing.path
            return start(outgoing)

        method.__signature__ = self._compiled.arguments.signature  # type: ignore[attr-defined]
        return method

    async def _call(self, outgoing: Outgoing) -> Any:
        operation = self._operation
        deadline = deadline_of_call(self._options.timeout)
        response = await self._connection.call(outgoing, deadline=deadline, classes=self._compiled.classes)
        match operation.kind:
            case "empty":
                return None
            case "bytes":
                return response.content
            case "response":
                return response
        return self._decode(response.content)

    def _items(self, outgoing: Outgoing) -> Items[Any]:
        return Items(self._plan(outgoing, "text/event-stream"))

    def _chunks(self, outgoing: Outgoing) -> Chunks:
        return Chunks(self._plan(outgoing, self._operation.options.media_type or "*/*"))

    def _plan(self, outgoing: Outgoing, media_type: str) -> StreamPlan:
        operation, options = self._operation, self._options
        if self._connection.buffers:
            raise ConfigurationError(
                f"{operation.where} streams, and a client of an application in this process only gets whole responses. "
                "Serve it: with fastapi_poto.testing.serve(app) as live: ..."
            )
        deadline = deadline_of_call(options.stream_timeout)
        outgoing.headers.setdefault("Accept", media_type)

        def open_(last_id: str | None) -> AbstractAsyncContextManager[httpx.Response]:
            if last_id is not None:
                outgoing.headers["Last-Event-ID"] = last_id
            return self._connection.stream(outgoing, deadline=deadline, classes=self._compiled.classes)

        return StreamPlan(
            operation=operation.where,
            open=open_,
            decode=self._decode,
            events=operation.events,
            error_of=lambda body: error_from_body(body, classes=self._compiled.classes),
            deadline=deadline,
            silence=options.silence if operation.kind == "stream" else None,
            reconnects=options.reconnects,
            is_resumable=operation.resumable,
            stop=self._stop,
        )

    async def _stop(self, address: str) -> None:
        # The server's path, whatever is before it here: what follows `/streams` is ours to know.
        path = self._options.prefix + address[address.rindex("/streams/") :]
        deadline = deadline_of_call(self._options.timeout)
        await self._connection.call(Outgoing("DELETE", path), deadline=deadline, classes=self._compiled.classes)

    def _decode(self, body: bytes) -> Any:
        operation = self._operation
        try:
            return self._compiled.decoder.validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise UnexpectedResponse(
                f"{operation.where} answered something else than its annotation says"
                f"{f' in {place}' if place else ''}: {first['msg']}"
            ) from error


@overload
def remote(value: Iterator[T]) -> AsyncIterator[T]: ...  # type: ignore[overload-overlap]
@overload
def remote(value: T) -> Awaitable[T]: ...
def remote(value: Any) -> Any:
    """Tell type checkers the truth about a plain method that was called through a client.

    `def get_status(self) -> str` gives, from a client, something to await for a `str`:
    `await remote(shop.get_status())`. A sync generator gives `async for item in remote(shop.count())`.
    At run time it does nothing.
    """
    return value
