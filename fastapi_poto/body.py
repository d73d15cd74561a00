"""How large a request's body may be. Starlette's own limit would answer plain text."""

from fastapi.exceptions import RequestValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from .errors import TooLarge


def check_length(scope: Scope, limit: int) -> None:
    """Raise `TooLarge` for a body that is announced with more than `limit` bytes: before any of it is sent."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            if value.isdigit() and int(value) > limit:
                raise too_large(limit)
            return


def limited(receive: Receive, limit: int) -> Receive:
    """A `receive` that raises `TooLarge` past `limit` bytes."""
    left = limit

    async def limited_receive() -> Message:
        nonlocal left
        if left >= 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if left >= 0:
                return message
        raise too_large(limit)

    return limited_receive


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body may have {limit} bytes at most")


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    check_length(scope, limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        chunks, size = [body], len(body)
        while message.get("more_body", False):
            if size > limit:
                break
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
        body = b"".join(chunks)
    if len(body) > limit:
        raise too_large(limit)
    if body:
        scope["poto.body"] = body  # an exception handler may want to read it again
        check_content_type(scope)
    return body


def check_content_type(scope: Scope) -> None:
    sent = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            if value == b"application/json":
                return
            sent = value
            break
    media_type = sent.partition(b";")[0].strip().lower()
    if media_type == b"application/json" or (media_type.startswith(b"application/") and media_type.endswith(b"+json")):
        return
    raise RequestValidationError(
        [
            {
                "type": "content_type",
                "loc": ("body",),
                "msg": "The body should be JSON, with the header Content-Type: application/json",
                "input": media_type.decode("latin-1"),
            }
        ]
    )
