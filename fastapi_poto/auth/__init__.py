"""Who is calling: users, passwords, tokens, sign-in routes, and the dependencies that give the caller."""

from .accounts import Accounts
from .api_keys import ApiKeys
from .authenticator import Authenticator
from .credentials import Credentials, ManagedCredentials, bearer_token
from .dependencies import CurrentSession, CurrentUser, current_session, current_user
from .events import AuditEvent
from .external_users import ExternalUsers
from .keys import ApiKey, Keys
from .own_sign_in import OwnSignIn
from .passwords import Passwords
from .routes import auth_router
from .secrets import Secrets
from .sign_in import SignIn
from .store_users import StoreUsers
from .token_pair import TokenPair, VisitorTokens

__all__ = [
    "Accounts",
    "ApiKey",
    "ApiKeys",
    "AuditEvent",
    "Authenticator",
    "Credentials",
    "CurrentSession",
    "CurrentUser",
    "ExternalUsers",
    "Keys",
    "ManagedCredentials",
    "OwnSignIn",
    "Passwords",
    "Secrets",
    "SignIn",
    "StoreUsers",
    "TokenPair",
    "VisitorTokens",
    "auth_router",
    "bearer_token",
    "current_session",
    "current_user",
]
