"""What a user keeps between calls."""

from .cookie import CookieSessions
from .manager import Sessions
from .session import Session, SessionKeeper, SessionStats, check_shape

__all__ = ["CookieSessions", "Session", "SessionKeeper", "SessionStats", "Sessions", "check_shape"]
