"""How many streams of one kind may be open: a user's, and all those of visitors at one address."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import NamedTuple

from starlette.types import Scope

from ..context import CallContext
from ..errors import TooLarge, TooManyRequests
from ..stores import records
from .leases import Leases


class Limit(NamedTuple):
    """A number that holds on all servers together; None: any number."""

    kind: str
    """`streams` or `subscriptions`: what their records are called."""
    what: str
    """What there are too many of, and what to do about it: the end of a sentence."""
    per_user: int | None
    per_address: int | None
    address_of: Callable[[Scope], str]

    async def take(
        self, leases: Leases, context: CallContext, field: str, taken: AsyncExitStack, value: bytes = b""
    ) -> None:
        """Count one more of a call's caller, until `taken` is closed. Raises `TooManyRequests`: whose limit it is."""
        user = context.user
        wanted = [] if user is None else [(records.open_streams(self.kind, user.id), value, self.per_user, "This user")]
        if user is None or user.visitor:
            # Whose it is stays with the user, to go with them.
            record = records.open_streams(f"{self.kind}-at", self.address_of(context.scope))
            wanted.append((record, b"", self.per_address, "This address"))
        for record, held, most, whose in wanted:
            taken.push_async_callback(leases.release, record, field)
            try:
                await leases.hold(record, field, held, most=most)
            except TooLarge:
                raise TooManyRequests(f"{whose} has {most} {self.what}", retry_after=5) from None
