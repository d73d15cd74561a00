"""From what a method returned to what goes over the wire."""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from functools import lru_cache, partial
from typing import Any, Protocol
from urllib.parse import quote

from fastapi.exceptions import ResponseValidationError
from fastapi.utils import is_body_allowed_for_status_code
from pydantic_core import ValidationError, from_json
from starlette.responses import Response
from starlette.types import Message, Receive, Send

from ..context import CallContext
from ..operations import Kind, Operation
from ..settings import Settings
from ..streaming.byte_stream import ByteStream
from ..streaming.stream_options import StreamOptions
from ..streaming.streams import Streams
from ..wire import wire_errors

_JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
_OCTETS: tuple[bytes, bytes] = (b"content-type", b"application/octet-stream")

IsActive = Callable[[Any], Awaitable[bool]]


class UnaryMessages(Protocol):
    """The start and the body of a response."""

    def __call__(self, body: bytes, context: CallContext) -> tuple[Message, Message]: ...


class SendStream(Protocol):
    """Sends the items or chunks that a method gives."""

    async def __call__(self, items: Any, context: CallContext, receive: Receive, send: Send) -> None: ...


def encoder(operation: Operation) -> Callable[[Any], Any]:
    """What goes out of what a method returned: bytes, or the items of a stream as they are."""
    if operation.is_stream:
        return _as_it_is
    if operation.kind == "unary":
        return _json(operation.encode)
    if operation.kind == "bytes":
        return _octets
    return _nothing if operation.kind == "empty" else partial(_refuse, operation.where)


def stream_sender(operation: Operation, options: StreamOptions, is_active: IsActive) -> SendStream:
    """How a method that streams responds. All that depends on the method alone has been worked out here."""
    make = _items_of(operation) if operation.kind == "stream" else _chunks_of(operation)

    async def send_stream(items: Any, context: CallContext, receive: Receive, send: Send) -> None:
        check = activity_check(context, is_active)
        stream = make(items, context=context, options=options, is_active=check)
        await stream(context.scope, receive, send)

    return send_stream


def activity_check(context: CallContext, is_active: IsActive) -> Callable[[], Awaitable[bool]] | None:
    """What an open stream asks from time to time: whether its caller's credentials still stand."""
    return None if context.identity is None else partial(is_active, context.identity)


def stream_options(operation: Operation, settings: Settings, streams: Streams) -> StreamOptions | None:
    """How a method's streams behave; None for a method that does not stream."""
    if not operation.is_stream:
        return None
    options = base_options(settings)._replace(first_item_timeout=operation.first_item_timeout)
    if not operation.resumable:
        return options
    return options._replace(streams=streams, stream_key=_key_of(operation), path=operation.path)


def base_options(settings: Settings) -> StreamOptions:
    """What holds for all streams of a runtime."""
    return StreamOptions(
        ping_interval=settings.ping_interval,
        send_timeout=settings.send_timeout,
        cleanup_timeout=settings.cleanup_timeout,
        recheck_interval=settings.recheck_interval,
        buffer_bytes=settings.stream_buffer,
        retry_ms=None if settings.retry is None else round(settings.retry * 1000),
    )


def _key_of(operation: Operation) -> Callable[[Mapping[str, Any]], str] | None:
    """From a call's arguments to the key by which its stream is found again."""
    template = operation.options.key
    if template is None:
        return None
    defaults = {one.name: one.default for one in operation.wire_parameters if not one.required}

    def key(arguments: Mapping[str, Any]) -> str:
        found = {name: _text(value) for name, value in (defaults | dict(arguments)).items()}
        return template.format_map(found)

    return key


def _text(value: Any) -> str:
    return quote(str(value.value if isinstance(value, Enum) else value), safe="")


def _items_of(operation: Operation) -> Callable[..., Any]:
    from ..streaming.event_stream import EventStream  # its base is slow to import, with uvicorn

    return partial(EventStream, encode=operation.encode)


def _chunks_of(operation: Operation) -> Callable[..., Any]:
    return partial(ByteStream, media_type=operation.options.media_type or "application/octet-stream")


@lru_cache(maxsize=4096)
def unary_messages(kind: Kind, status_code: int, media_type: str | None) -> UnaryMessages:
    """How methods that return one value respond."""
    has_body = is_body_allowed_for_status_code(status_code)
    content_type = None if kind == "empty" else _JSON
    if kind == "bytes":
        content_type = (b"content-type", media_type.encode("ascii")) if media_type else _OCTETS

    def messages(body: bytes, context: CallContext) -> tuple[Message, Message]:
        status = None if context.response is None else context.response.status_code
        own = context.response_headers
        if not (has_body if status is None else is_body_allowed_for_status_code(status)):
            body, headers = b"", own.copy()
        elif content_type is None:
            headers = [(b"content-length", b"0"), *own]
        else:
            headers = [content_type, (b"content-length", b"%d" % len(body)), *own]
        if context.user is not None:
            headers += context.private_headers(own)
        context.begin_response()
        start = {"type": "http.response.start", "status": status or status_code, "headers": headers}
        return start, {"type": "http.response.body", "body": body}

    return messages


@lru_cache(maxsize=4096)  # most methods share it with others
def _json(encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Of a result, its JSON. That raises `ResponseValidationError` if the method did not keep its annotation."""

    def encode_result(result: Any) -> bytes:
        try:
            return encode(result)
        except ValidationError as error:
            raise ResponseValidationError(wire_errors(error, "response"), body=result) from error

    return encode_result


def is_plain_json(response_class: Any) -> bool:
    """Whether a class of responses writes the JSON that we write."""
    is_upstream = str(response_class.__module__).startswith(("fastapi.", "starlette."))
    return is_upstream and bool(response_class.media_type == "application/json")


def respond_with(response_class: type[Response], operation: Operation) -> Callable[[Any], Response]:
    """Of a result, a response of the class that the application chose for all of its routes."""
    encode = _json(operation.encode)
    return lambda result: response_class(from_json(encode(result)), status_code=operation.status_code)


def _octets(result: Any) -> bytes:
    return bytes(memoryview(result))  # `bytes(5)` would be five zeros


def _nothing(result: Any) -> bytes:
    return b""


def _as_it_is(result: Any) -> Any:
    return result


def _refuse(where: str, result: Any) -> bytes:
    raise TypeError(f"{where} returned a {type(result).__name__}, which is no Response")
