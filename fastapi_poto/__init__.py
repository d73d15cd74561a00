"""RPC for FastAPI: plain module classes become documented, authenticated, typed calls and streams."""

from .auth import Credentials, OwnSignIn
from .auth.api_keys import ApiKeys
from .auth.dependencies import CurrentSession, CurrentUser, current_session, current_user
from .auth.oidc import OIDC
from .context import CallContext, current_context
from .errors import ConfigurationError, NoContextError, PotoError
from .module import PotoModule, named, public, roles, rpc
from .routing import PotoRouter, poto_router
from .runtime import Poto
from .sessions import Session
from .settings import AuthSettings, Settings
from .stores import Store
from .streaming import Channel, Event, Topic, describe_download
from .users import Identity, User, UserProvider
from .wire import BigInt

__all__ = [
    "OIDC",
    "ApiKeys",
    "AuthSettings",
    "BigInt",
    "CallContext",
    "Channel",
    "ConfigurationError",
    "Credentials",
    "CurrentSession",
    "CurrentUser",
    "Event",
    "Identity",
    "NoContextError",
    "OwnSignIn",
    "Poto",
    "PotoError",
    "PotoModule",
    "PotoRouter",
    "Session",
    "Settings",
    "Store",
    "Topic",
    "User",
    "UserProvider",
    "current_context",
    "current_session",
    "current_user",
    "describe_download",
    "named",
    "poto_router",
    "public",
    "roles",
    "rpc",
]
