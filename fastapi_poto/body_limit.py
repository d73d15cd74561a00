"""How large a request's body may be. Starlette's own limit would answer plain text."""

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
