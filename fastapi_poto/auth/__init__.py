"""Who is calling: users, passwords, tokens, sign-in routes, and the dependencies that give the caller."""

from .authenticator import Authenticator, Identity
from .dependencies import CurrentSession, CurrentUser, current_session, current_user
from .events import AuditEvent
from .passwords import Passwords
from .routes import auth_router
from .secrets import Secrets
from .service import AuthService
from .store_users import StoreUsers
from .users import MemoryUsers

__all__ = [
    "AuditEvent",
    "AuthService",
    "Authenticator",
    "CurrentSession",
    "CurrentUser",
    "Identity",
    "MemoryUsers",
    "Passwords",
    "Secrets",
    "StoreUsers",
    "auth_router",
    "current_session",
    "current_user",
]
