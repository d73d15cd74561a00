"""Calls as sessions see them, without a server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi_poto.context import CallContext


@dataclass(frozen=True)
class Someone:
    """What a session needs to know of a user."""

    id: str


def call_of(user_id: str, *, identity: Any = None, headers: Sequence[tuple[bytes, bytes]] = ()) -> CallContext:
    """A call of this user."""
    context = CallContext("Test.test", {"type": "http", "headers": list(headers)})
    context.user = Someone(user_id)  # type: ignore[assignment]
    context.identity = identity
    return context
