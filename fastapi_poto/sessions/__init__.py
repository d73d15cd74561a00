"""What a user keeps between calls."""

from .manager import SessionManager
from .session import Session, SessionProvider, SessionStats

__all__ = ["Session", "SessionManager", "SessionProvider", "SessionStats"]
