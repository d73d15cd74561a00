"""What is decided here about users whom an issuer knows: blocked, roles added or taken, signed out."""

from collections.abc import Callable
from dataclasses import replace

from ..stores import records
from ..stores.base import Store
from ..users import User


class ExternalUsers:
    """Local decisions about users such as `corp:4711`, read on every call of theirs by every process.

    `external:<user id>` has the fields `disabled`, `ended` (whole seconds since 1970), `+role` and `-role`.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def apply(self, user: User, issued_at: float) -> User | None:
        """The user as of now; None if they are disabled, or were signed out after their token was issued."""
        fields = await self._store.read(records.external(user.id))
        if fields is None:
            return user
        if "disabled" in fields or issued_at <= float(fields.get("ended", b"-1")):
            return None
        added = {field[1:] for field in fields if field[0] == "+"}
        taken = {field[1:] for field in fields if field[0] == "-"}
        return replace(user, roles=(user.roles | added) - taken)

    async def set_disabled(self, user_id: str, disabled: bool = True) -> None:
        """Refuse the user from the next call on, or let them in again."""
        await self._store.write(records.external(user_id), {"disabled": b"1" if disabled else None}, create=True)

    async def add_roles(self, user_id: str, *roles: str) -> None:
        """Give the user roles, whatever their issuer says."""
        await self._set_roles(user_id, roles, "+", "-")

    async def take_roles(self, user_id: str, *roles: str) -> None:
        """Take roles from the user, whatever their issuer says."""
        await self._set_roles(user_id, roles, "-", "+")

    async def reset_roles(self, user_id: str, *roles: str) -> None:
        """Let the issuer decide about these roles again."""
        await self._store.write(records.external(user_id), {f"{sign}{role}": None for role in roles for sign in "+-"})

    async def end_all(self, user_id: str) -> None:
        """Refuse every token that was issued until now."""
        await self._store.write(records.external(user_id), {"ended": b"%d" % self._clock()}, create=True)

    async def forget(self, user_id: str) -> None:
        """Leave the user to their issuer again."""
        await self._store.delete(records.external(user_id))

    async def _set_roles(self, user_id: str, roles: tuple[str, ...], sign: str, other: str) -> None:
        changes: dict[str, bytes | None] = {}
        for role in roles:
            changes |= {f"{sign}{role}": b"1", f"{other}{role}": None}
        await self._store.write(records.external(user_id), changes, create=True)


def is_external(user_id: str) -> bool:
    """Whether an id is an issuer's: own ids have no colon."""
    return ":" in user_id
