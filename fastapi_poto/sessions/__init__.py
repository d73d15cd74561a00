"""What a user keeps between calls."""

from .cookie import CookieSessions
from .manager import SessionManager
from .session import Session, SessionProvider, SessionStats

__all__ = ["CookieSessions", "Session", "SessionManager", "SessionProvider", "SessionStats"]
