"""What OpenTelemetry is told: of the request's span its operation, of the library its metrics.

Names are those of OpenTelemetry's semantic conventions where they have one. Without a provider nothing is told, and
nothing is measured. Spans are those of whoever traces the requests: FastAPI itself, or an instrumentation.
"""

import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from opentelemetry import metrics, trace
from opentelemetry.trace import StatusCode
from starlette.exceptions import HTTPException

from .errors import (
    DeadlineExceeded,
    InternalError,
    InvalidArguments,
    ShuttingDown,
    StreamLost,
    Unauthenticated,
)

Attributes = Mapping[str, Any]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""The upper ends of what durations are sorted into: OpenTelemetry's own are made for milliseconds."""

_meter = metrics.get_meter("fastapi_poto")
_open_streams = _meter.create_up_down_counter("poto.streams.open", unit="{stream}", description="Open streams.")
_items = _meter.create_counter("poto.streams.items", unit="{item}", description="Items of streams.")
_events = _meter.create_counter("poto.auth.events", unit="{event}", description="Sign-ins, refusals, throttling, …")
_passwords = _meter.create_up_down_counter(
    "poto.passwords.hashing", unit="{password}", description="Passwords that are hashed, or wait for it."
)


def _durations(name: str, description: str) -> metrics.Histogram:
    return _meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=_SECONDS)


_calls = _durations("rpc.server.call.duration", "Calls, streams to their end.")
_first_items = _durations("poto.streams.time_to_first_item", "From a stream's start to its first item.")
_stores = _durations("db.client.operation.duration", "Operations of stores, as their callers wait for them.")

is_set_up = False
"""Whether there is a provider."""
_measures = False


def look_for_providers() -> None:
    """Find out whether anything is to be told. Asked when stores are opened: providers are set before."""
    global is_set_up, _measures
    _measures = _is_set(metrics.get_meter_provider())
    is_set_up = _measures or _is_set(trace.get_tracer_provider())


def _is_set(provider: Any) -> bool:
    """Whether this is no stand-in of the API's own. There is no public question for it."""
    cls = type(provider)
    return not (cls.__module__.startswith("opentelemetry.") and ("Proxy" in cls.__name__ or "NoOp" in cls.__name__))


def attributes_of(operation: str) -> Attributes:
    """Of an operation, `Module.method`."""
    return {"rpc.system.name": "poto", "rpc.method": operation.replace(".", "/")}


class Observation:
    """One call, from its caller's authentication to the end of its response."""

    __slots__ = ("_attributes", "_began", "_span", "first_item", "items")

    def __init__(self, attributes: Attributes) -> None:
        """`attributes` are those of `attributes_of`."""
        self._attributes = attributes
        self._began = time.perf_counter()
        self._span = trace.get_current_span()
        self.items = 0
        self.first_item: float | None = None
        self._span.set_attribute("rpc.method", attributes["rpc.method"])

    def failed(self, error: BaseException) -> None:
        """Tell why the call failed, before its response is sent: the span may end with it."""
        self._attributes = {**self._attributes, "error.type": error_type(error)}
        self._span.set_attribute("error.type", error_type(error))

    def record(self, error: BaseException) -> None:
        """Tell the span of an error that is raised to nobody who would tell it."""
        self._span.record_exception(error)
        self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        if _measures:
            _calls.record(time.perf_counter() - self._began, self._attributes)

    # A call that streams

    def counting(self, frame: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
        """`frame`, and every item is counted."""
        _open_streams.add(1, self._attributes)

        def counted(item: Any) -> bytes:
            if self.first_item is None:
                self.first_item = time.perf_counter() - self._began
            self.items += 1
            return frame(item)

        return counted

    def stream_ended(self, how: str, error: BaseException | None = None) -> None:
        """Tell how a stream ended, before its last chunk is sent.

        `how` is what `how_it_ended` says, left (its client has gone) or cut (it did not read).
        """
        told: dict[str, Any] = {"poto.stream.items": self.items, "poto.stream.end": how}
        if self.first_item is not None:
            told["poto.stream.time_to_first_item"] = self.first_item
            _first_items.record(self.first_item, self._attributes)
        _items.add(self.items, self._attributes)
        _open_streams.add(-1, self._attributes)
        self._span.set_attributes(told)
        if error is not None:
            self.failed(error)
            if how == "error" and (not isinstance(error, HTTPException) or isinstance(error, InternalError)):
                self.record(error)


_ENDS: Final[dict[type[BaseException], str]] = {
    ShuttingDown: "shutdown",
    DeadlineExceeded: "deadline",
    Unauthenticated: "revoked",
    StreamLost: "lost",
}


def how_it_ended(error: BaseException | None) -> str:
    """The word for the end of a stream that ended with this error, or without one."""
    if error is None:
        return "close"
    return next((how for cls, how in _ENDS.items() if isinstance(error, cls)), "error")


def error_type(error: BaseException) -> str:
    """The code of an error that callers are told about, the class of any other."""
    code = InvalidArguments.code if isinstance(error, RequestValidationError) else getattr(error, "code", None)
    return code if isinstance(code, str) else type(error).__qualname__


def auth_event(name: str) -> None:
    _events.add(1, {"poto.event": name})


def hashing(change: int) -> None:
    _passwords.add(change)


STORE_OPERATIONS: Final = ("read", "read_many", "write", "add", "swap", "delete")


def observe_store(store: Any) -> None:
    """Have the time of a store's operations measured, if a provider was found."""
    if not _measures or "read" in vars(store):
        return
    system = type(store).__name__.removesuffix("Store").lower()
    for name in STORE_OPERATIONS:
        setattr(store, name, _timed(getattr(store, name), {"db.system.name": system, "db.operation.name": name}))


def _timed(operation: Callable[..., Any], attributes: Attributes) -> Callable[..., Any]:
    @wraps(operation)
    async def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        told = attributes
        try:
            return await operation(*args, **kwargs)
        except Exception as error:
            told = {**attributes, "error.type": error_type(error)}
            raise
        finally:
            _stores.record(time.perf_counter() - began, told)

    return timed
