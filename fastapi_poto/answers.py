"""From what a method returned to what goes over the wire."""

from typing import Any, Protocol

from fastapi.exceptions import ResponseValidationError
from pydantic_core import ValidationError
from starlette.types import Receive, Scope, Send

from .context import CallContext
from .methods import MethodSpec
from .wire import wire_errors

_JSON = (b"content-type", b"application/json")
_OCTETS = (b"content-type", b"application/octet-stream")

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


def respond_unary(spec: MethodSpec) -> Respond:
    """Answers of methods that return one value."""
    empty, raw = spec.kind == "empty", spec.kind == "bytes"
    content_type = (b"content-type", spec.media_type.encode("ascii")) if spec.media_type else _OCTETS
    encode = spec.encoder is not None

    async def respond(
        result: Any, context: CallContext, scope: Scope, receive: Receive, send: Send, status: int | None = None
    ) -> None:
        if encode:
            body, headers = encode_result(spec, result), [_JSON]
        elif raw:
            body, headers = bytes(result), [content_type]
        else:
            body, headers = b"", []
        status = status or (204 if empty else 200)
        if not empty:
            headers.append((b"content-length", b"%d" % len(body)))
        headers.extend(context.response_headers)
        scope["poto.started"] = True
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return respond


def encode_result(spec: MethodSpec, result: Any) -> bytes:
    """A result's JSON. Raises `ResponseValidationError` if the method did not keep its annotation."""
    assert spec.encoder is not None
    try:
        return spec.encoder.encode(result)
    except ValidationError as error:
        raise ResponseValidationError(wire_errors(error, "response"), body=result) from error

