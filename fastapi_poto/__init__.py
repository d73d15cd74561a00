"""RPC for FastAPI: plain module classes become documented, authenticated, typed calls and streams."""

from .auth.dependencies import CurrentSession, CurrentUser, current_session, current_user
from .context import CallContext, current_context
from .errors import ConfigurationError, NoContextError, PotoError
from .module import PotoModule, public, roles, rpc
from .routing import PotoRouter, poto_router
from .runtime import Poto
from .sessions import Session
from .settings import AuthSettings, Settings
from .stores import Store
from .streaming import Event, describe_download
from .users import User, UserProvider
from .wire import BigInt

__all__ = [
    "AuthSettings",
    "BigInt",
    "CallContext",
    "ConfigurationError",
    "CurrentSession",
    "CurrentUser",
    "Event",
    "NoContextError",
    "Poto",
    "PotoError",
    "PotoModule",
    "PotoRouter",
    "Session",
    "Settings",
    "Store",
    "User",
    "UserProvider",
    "current_context",
    "current_session",
    "current_user",
    "describe_download",
    "poto_router",
    "public",
    "roles",
    "rpc",
]
