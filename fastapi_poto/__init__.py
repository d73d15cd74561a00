"""RPC for FastAPI: plain module classes become documented, authenticated, typed calls and streams."""

from typing import TYPE_CHECKING, Any

import fastapi as _  # noqa: F401 - first, since Python 3.11 runs what deep imports call up to a tenth slower

from .auth import Credentials, OwnSignIn
from .auth.api_keys import ApiKeys
from .auth.dependencies import CurrentSession, CurrentUser, current_session, current_user
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

if TYPE_CHECKING:
    from .auth.oidc import OIDC

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


def __getattr__(name: str) -> Any:
    if name == "OIDC":  # which few applications need
        from .auth.oidc import OIDC

        return OIDC
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
