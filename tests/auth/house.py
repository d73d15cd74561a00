"""Sign-in wired by hand, as tests need it."""

from dataclasses import dataclass
from typing import Any

from fastapi_poto import Poto
from fastapi_poto.auth import AuditEvent, Passwords, StoreUsers
from fastapi_poto.sessions import SessionManager
from fastapi_poto.stores.memory import MemoryStore
from fastapi_poto.stores.namespaced import Namespaced, in_namespace
from fastapi_poto.testing import Clock
from tests.secret import SECRET


class KnownSessions(SessionManager):
    """Sessions that remember whose was ended, or forgotten."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ended: list[str] = []

    async def end(self, user_id: str) -> None:
        self.ended.append(user_id)
        await super().end(user_id)

    async def forget(self, user_id: str) -> None:
        self.ended.append(user_id)
        await super().forget(user_id)


@dataclass
class House:
    """Everything a test of sign-in needs, with cheap hashing."""

    clock: Clock
    store: Namespaced
    poto: Poto
    sessions: KnownSessions
    events: list[AuditEvent]

    def event_names(self) -> list[str]:
        return [event.name for event in self.events]


def scope(token: str | None = None, *more: tuple[str, str], method: str = "POST", **extra: Any) -> dict[str, Any]:
    headers = [(name.lower().encode(), value.encode()) for name, value in more]
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    return {"type": "http", "method": method, "path": "/", "headers": headers, "client": ("192.0.2.1", 5), **extra}


def quick_passwords(**changes: Any) -> Passwords:
    return Passwords(**{"memory_kib": 64, "passes": 1, **changes})


def make_house(secret: Any = SECRET, *, store: Any = None, users: Any = None, **settings: Any) -> House:
    clock = Clock(1_800_000_000.5)
    store = in_namespace(store if store is not None else MemoryStore(clock=clock), "house")
    events: list[AuditEvent] = []
    sessions = KnownSessions(store, clock=clock)
    poto = Poto(
        secret,
        store=store,
        users=users if users is not None else StoreUsers(store),
        sessions=sessions,
        on_event=events.append,
        clock=clock,
        **{"passwords": quick_passwords(), **settings},
    )
    return House(clock, store, poto, sessions, events)
