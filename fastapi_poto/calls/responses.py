"""From what a method returned to what goes over the wire."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from fastapi.exceptions import ResponseValidationError
from fastapi.utils import is_body_allowed_for_status_code
from pydantic_core import ValidationError
from starlette.types import Receive, Scope, Send

from ..context import CallContext
from ..operations import MethodSpec
from ..settings import Settings
from ..stores.base import SessionStore
from ..streaming import ByteStream, EventStream, Replays, StreamOptions
from ..wire import wire_errors

_JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
_OCTETS: tuple[bytes, bytes] = (b"content-type", b"application/octet-stream")

Stands = Callable[[Any], Awaitable[bool]]


class Respond(Protocol):
    """Sends what a method returned. `status` is given where the method's code chose one."""

    async def __call__(
        self,
        result: Any,
        context: CallContext,
        scope: Scope,
        receive: Receive,
        send: Send,
        status: int | None = None,
    ) -> None: ...


def responder(spec: MethodSpec, options: StreamOptions | None, stands: Stands) -> Respond:
    """How a method answers. All that depends on the method alone has been worked out here."""
    if options is None:
        return _respond_unary(spec)
    make = _items_of(spec) if spec.kind == "stream" else _chunks_of(spec)

    async def respond(
        result: Any, context: CallContext, scope: Scope, receive: Receive, send: Send, status: int | None = None
    ) -> None:
        still_valid = validity(context, stands)
        stream = make(result, context=context, options=options, still_valid=still_valid, status_code=status or 200)
        await stream(scope, receive, send)

    return respond


def validity(context: CallContext, stands: Stands) -> Callable[[], Awaitable[bool]] | None:
    """What an open stream asks from time to time: whether its caller's credentials still stand."""
    return None if context.identity is None else partial(stands, context.identity)


def stream_options(spec: MethodSpec, settings: Settings, store: SessionStore) -> StreamOptions | None:
    """How a method's streams behave; None for a method that does not stream."""
    if not spec.is_stream:
        return None
    return StreamOptions(
        first_item_timeout=spec.first_item_timeout,
        ping_interval=settings.ping_interval,
        send_timeout=settings.send_timeout,
        cleanup_timeout=settings.cleanup_timeout,
        validity_interval=settings.validity_interval,
        buffer_bytes=settings.stream_buffer,
        retry_ms=None if settings.retry is None else round(settings.retry * 1000),
        replays=_replays(store, settings) if spec.resumable else None,
    )


def _replays(store: SessionStore, settings: Settings) -> Replays:
    return Replays(
        store,
        grace=settings.replay_grace,
        max_items=settings.replay_items,
        cleanup_timeout=settings.cleanup_timeout,
    )


def _items_of(spec: MethodSpec) -> Callable[..., Any]:
    return partial(EventStream, encode=spec.encoder.encode)


def _chunks_of(spec: MethodSpec) -> Callable[..., Any]:
    return partial(ByteStream, media_type=spec.media_type or "application/octet-stream")


def _respond_unary(spec: MethodSpec) -> Respond:
    """Answers of methods that return one value."""
    empty, raw = spec.kind == "empty", spec.kind == "bytes"
    content_type = (b"content-type", spec.media_type.encode("ascii")) if spec.media_type else _OCTETS
    encode = spec.kind == "unary"

    async def respond(
        result: Any, context: CallContext, scope: Scope, receive: Receive, send: Send, status: int | None = None
    ) -> None:
        headers: list[tuple[bytes, bytes]]
        if encode:
            body, headers = encode_result(spec, result), [_JSON]
        elif raw:
            body, headers = bytes(memoryview(result)), [content_type]  # `bytes(5)` would be five zeros
        elif not empty:
            raise TypeError(f"{spec.where} returned a {type(result).__name__}, which is no Response")
        else:
            body, headers = b"", []
        if empty if status is None else not is_body_allowed_for_status_code(status):
            body, headers = b"", []
        else:
            headers.append((b"content-length", b"%d" % len(body)))
        status = status or (204 if empty else 200)
        headers.extend(context.response_headers)
        scope["poto.started"] = True
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return respond


def encode_result(spec: MethodSpec, result: Any) -> bytes:
    """A result's JSON. Raises `ResponseValidationError` if the method did not keep its annotation."""
    try:
        return spec.encoder.encode(result)
    except ValidationError as error:
        raise ResponseValidationError(wire_errors(error, "response"), body=result) from error
