"""What a user keeps between calls, and the stores it lives in."""

from .cookie import CookieSessions
from .lifecycle import Sessions, SessionStats
from .memory import MemoryStore
from .opening import open_store
from .session import Session, check_shape
from .store import SessionStore

__all__ = [
    "CookieSessions",
    "MemoryStore",
    "Session",
    "SessionStats",
    "SessionStore",
    "Sessions",
    "check_shape",
    "open_store",
]
