"""The sessions of all users in a store, one each, shared by all of the user's sign-ins.

A session is one record, named after its user and a generation. The generation is in the user's sign-in record, which
every call reads anyway to know its caller. Whoever ends a session gives the user another generation and bars the
name of the old record: a call that began before can neither revive it nor reach the one that comes next.
"""

from asyncio import get_running_loop
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from math import inf
from typing import Any
from weakref import WeakValueDictionary

from ..errors import SessionEnded, TooLarge
from ..settings import DAY, HOUR, wall_clock
from ..stores import records
from ..stores.base import Life, Store
from ..stores.wait_queue import WaitQueue
from .session import Caller, Session, SessionStats

_BARRED_SECONDS = HOUR
"""So long the name of an ended session is refused: no call that began before its end runs longer."""
_REMEMBERED = 10_000
_LOCK_SECONDS = 0.2


class SessionManager:
    """The sessions of all users, one each, kept in `store`; their generations are in `sign_ins`.

    Times are in seconds. A session ends `idle` after it was last used and `absolute` after it began; its last use is
    written at most once in `touch`, by `clock`. `sign_in_life` is how long a sign-in record lives that was just used.
    """

    def __init__(
        self,
        store: Store,
        *,
        sign_ins: Store | None = None,
        clock: Callable[[], float] = wall_clock,
        idle: float = 14 * DAY,
        absolute: float = 30 * DAY,
        touch: float = 60.0,
        value_bytes: int = 64 * 1024,
        max_keys: int = 256,
        sign_in_life: float = 30 * DAY,
    ) -> None:
        self.store = store
        self.value_bytes = value_bytes
        self.max_keys = max_keys
        self.life = Life(min(idle, absolute), ends_in=absolute)
        self._sign_ins = sign_ins or store
        self._sign_in_life = sign_in_life
        self._clock = clock
        self._touch = min(touch, idle / 4)
        self._touched: dict[str, float] = {}
        self._wait_queues: WeakValueDictionary[tuple[int, str, str], WaitQueue] = WeakValueDictionary()

    def handle(self, caller: Caller) -> Session[Any]:
        """The session of the call's user. Does no I/O."""
        if caller.user is None:
            raise SessionEnded("A session needs a signed-in caller")
        generation = getattr(caller.identity, "session", None)
        return Session(StoreBackend(self, caller.user.id, generation))

    def of_user(self, user_id: str) -> Session[Any]:
        """The session of a user outside a call, whichever is there: for jobs and administration."""
        return Session(StoreBackend(self, user_id, None, outside=True))

    async def end(self, user_id: str) -> None:
        """Remove the user's session. Calls that are at work with it get `SessionEnded` when they write."""
        old = await self._generation(user_id)
        new = records.new_generation()
        options: Any = {"create": True, "expires_in": self._sign_in_life}
        if await self._sign_ins.swap(records.sign_ins(user_id), "session", old, new, **options):
            await self.store.delete(records.session(user_id, records.generation(old)), bar_for=_BARRED_SECONDS)
        # If not, somebody else ended it in this moment.

    async def forget(self, user_id: str) -> None:
        """To be asked before the sign-in record goes, which says what the session is called."""
        name = records.session(user_id, await self.generation(user_id))
        await self.store.delete(name, bar_for=_BARRED_SECONDS)

    async def stats(self, *, limit: int = 100_000) -> SessionStats:
        """For administrators: reads the names of all sessions, until there are `limit`."""
        live, cursor = 0, None
        while live < limit:
            page = await self.store.names(records.session("", ""), cursor=cursor)
            live, cursor = live + len(page.names), page.cursor
            if cursor is None:
                break
        return SessionStats(
            live=min(live, limit),
            complete=cursor is None and live < limit,
            store=type(getattr(self.store, "inner", self.store)).__name__,
        )

    # For the backend

    async def generation(self, user_id: str) -> str:
        """What the user's session is called at the moment; empty until one was ended."""
        return records.generation(await self._generation(user_id))

    async def keep_generation(self, user_id: str) -> None:
        """What the user's session is called is known for as long as the session may last from now on."""
        await self._sign_ins.write(records.sign_ins(user_id), {}, expires_in=self._sign_in_life)

    async def _generation(self, user_id: str) -> bytes | None:
        found = await self._sign_ins.read(records.sign_ins(user_id), ("session",))
        return found.get("session") if found else None

    def due(self, record: str) -> bool:
        """Whether the time of the session's last use is to be written."""
        return self._clock() - self._touched.get(record, -inf) >= self._touch

    def touched(self, record: str) -> None:
        """It was written."""
        while len(self._touched) >= _REMEMBERED:
            self._touched.pop(next(iter(self._touched), ""), None)
        self._touched[record] = self._clock()

    @asynccontextmanager
    async def key_lock(self, user_id: str, key: str) -> AsyncIterator[None]:
        """One update of a key at a time in this process and event loop, as long as the line moves on."""
        name = (id(get_running_loop()), user_id, key)
        wait_queue = self._wait_queues.get(name)
        if wait_queue is None:
            wait_queue = self._wait_queues[name] = WaitQueue(1, _LOCK_SECONDS)
        taken = answered = False
        with suppress(TimeoutError):  # the store may be down: whoever waits in line would be told too late
            await wait_queue.take()
            taken = True
        try:
            yield
            answered = True
        finally:
            if taken:
                wait_queue.give_back(answered=answered)


class StoreBackend:
    """One user's session in a store, as one call uses it.

    `generation`: the one that the call's credentials came with; None: it is looked up when it is needed, and `outside`
    of a call each time: nobody can be late there.
    """

    __slots__ = ("_outside", "_record", "_sessions", "_user_id", "value_bytes")

    def __init__(
        self, sessions: SessionManager, user_id: str, generation: str | None, *, outside: bool = False
    ) -> None:
        self.value_bytes = sessions.value_bytes
        self._sessions = sessions
        self._user_id = user_id
        self._outside = outside
        self._record = None if generation is None else records.session(user_id, generation)

    async def read(self, keys: Sequence[str] | None) -> dict[str, bytes]:
        sessions = self._sessions
        record, expires_in = await self._named()
        found = await sessions.store.read(record, keys)
        if found is None:
            return {}
        if expires_in is not None:
            await sessions.store.write(record, {}, expires_in=expires_in)
            sessions.touched(record)
        return found

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        removes = all(value is None for value in changes.values())
        done = await self._change(self._sessions.store.write, changes, create=False if removes else self._sessions.life)
        if not done and not removes:
            raise SessionEnded

    async def add(self, key: str, by: int) -> int:
        total: int | None = await self._change(self._sessions.store.add, key, by, create=self._sessions.life)
        if total is None:
            raise SessionEnded
        return total

    async def swap(self, key: str, old: bytes | None, new: bytes) -> bool:
        swapped: bool | None = await self._change(self._sessions.store.swap, key, old, new, create=self._sessions.life)
        if swapped is None:
            raise SessionEnded
        return swapped

    async def clear(self) -> None:
        await self.write(dict.fromkeys(await self.read(None)))

    def key_lock(self, key: str) -> AbstractAsyncContextManager[Any]:
        return self._sessions.key_lock(self._user_id, key)

    async def _change(self, operation: Callable[..., Awaitable[Any]], *args: Any, create: bool | Life) -> Any:
        """Change the session's record by one of the store's operations; what that gives."""
        sessions = self._sessions
        record, expires_in = await self._named()
        try:
            result = await operation(record, *args, create=create, expires_in=expires_in, max_fields=sessions.max_keys)
        except TooLarge:
            raise TooLarge(f"A session has at most {sessions.max_keys} keys") from None
        if expires_in is not None and result is not None and result is not False:
            sessions.touched(record)
        return result

    async def _named(self) -> tuple[str, float | None]:
        """The session's record, and the life that it is to have from now on if that is to be written."""
        sessions, record = self._sessions, self._record
        if record is None:
            record = records.session(self._user_id, await sessions.generation(self._user_id))
            self._record = None if self._outside else record
        if not sessions.due(record):
            return record, None
        if record != records.session(self._user_id, ""):
            await sessions.keep_generation(self._user_id)
        return record, sessions.life.expires_in
