"""Who is calling: users, passwords, tokens, sign-in routes, and the dependencies that give the caller."""

from .authenticator import Authenticator, Identity
from .dependencies import CurrentSession, CurrentUser, PotoBearer, current_session, current_user, security_schemes
from .events import AuditEvent
from .passwords import Passwords
from .routes import auth_router
from .secrets import Secrets
from .service import AuthService, build_auth
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
    "PotoBearer",
    "Secrets",
    "StoreUsers",
    "auth_router",
    "build_auth",
    "current_session",
    "current_user",
    "security_schemes",
]
