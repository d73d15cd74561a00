"""What a user keeps between calls, and the stores it lives in."""

from .cookie import CookieSessions
from .lifecycle import Sessions, SessionStats
from .memory import MemoryStore
from .opening import open_store
from .session import Session
from .store import SessionStore

__all__ = ["CookieSessions", "MemoryStore", "Session", "SessionStats", "SessionStore", "Sessions", "open_store"]
