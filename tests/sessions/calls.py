"""Calls as sessions see them, without a server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi_poto.context import CallContext
from fastapi_poto.stores import MemoryStore


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


class Counting(MemoryStore):
    """A memory store that counts its operations."""

    def __init__(self, clock: Any = None) -> None:
        super().__init__(**({"clock": clock} if clock else {}))
        self.operations: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("read", "write", "add", "swap", "delete"):
            self.operations.append(name)
        return super().__getattribute__(name)


@dataclass
class Credentials:
    """What a call's credentials say of the session: its generation, as it was when the call began."""

    session: str
