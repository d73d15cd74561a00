"""The caller as FastAPI dependencies, for plain routes beside the modules, and how the document shows them."""

from typing import Annotated, Any

from fastapi import Depends, Response
from fastapi.requests import HTTPConnection
from fastapi.routing import APIRouter
from fastapi.security import HTTPBearer, OAuth2PasswordBearer
from fastapi.security.base import SecurityBase

from ..context import SCOPE_KEY, CallContext
from ..errors import ConfigurationError
from ..sessions.session import Session
from ..users import User
from .cookies import DEAD_COOKIE

_STATE = "fastapi_poto"


class Shown(SecurityBase):
    """A security scheme in the document, and no more: who calls is found out before FastAPI's solver runs."""

    def __init__(self, scheme: SecurityBase) -> None:
        self._scheme = scheme
        self.scheme_name = scheme.scheme_name

    @property
    def model(self) -> Any:  # type: ignore[override] # an issuer's addresses are known later
        return self._scheme.model

    async def __call__(self) -> None:
        pass


bearer_scheme = Shown(
    HTTPBearer(scheme_name="PotoBearer", bearerFormat="JWT", description="An access token.", auto_error=False)
)
password_scheme = Shown(
    OAuth2PasswordBearer(
        tokenUrl="auth/login",
        scheme_name="PotoPassword",
        description="A name and a password; a visitor's name is its id.",
        auto_error=False,
    )
)
"""The same token, as Swagger UI's Authorize gets it with a name and a password."""


async def _context(connection: HTTPConnection, response: Response) -> CallContext:
    """The call that a module's method runs in; for a plain route one of its own."""
    scope = connection.scope
    known: CallContext | None = scope.get(SCOPE_KEY)
    if known is not None:
        return known
    poto = poto_of(connection.app)
    context = CallContext(f"{scope.get('method', 'WS')} {scope['path']}", scope, None, poto.sessions)
    # One list: what a session writes into it, FastAPI sends.
    context.response_headers = response.headers.raw
    return context


async def current_user(
    connection: HTTPConnection,
    context: Annotated[CallContext, Depends(_context)],
    _bearer: Annotated[Any, Depends(bearer_scheme)] = None,
    _password: Annotated[Any, Depends(password_scheme)] = None,
) -> User:
    """The caller. 401 without one, except in a `@public` method: there it is None."""
    if context.user is None and SCOPE_KEY not in connection.scope:
        poto = poto_of(connection.app)
        if not getattr(poto, "is_open", True):
            await poto.open()
        identity = await poto.authenticator.authenticate(connection.scope)
        dead = connection.scope.get(DEAD_COOKIE)
        if identity is None:
            refused = poto.authenticator.refuse(connection.scope)
            if dead is not None:
                refused.headers = {**refused.headers, "Set-Cookie": dead[1].decode("latin-1")}
            raise refused
        if dead is not None:
            context.response_headers.append(dead)
        context.identity = identity
        context.user = identity.user
        context.response_headers += context.private_headers(context.response_headers)
    return context.user  # type: ignore[return-value]


async def current_session(
    context: Annotated[CallContext, Depends(_context)], user: Annotated[User, Depends(current_user)]
) -> Session[Any]:
    """What the caller keeps between calls. 401 without a caller."""
    if user is not context.user:  # app.dependency_overrides[current_user]
        context.user = user
    return context.session


CurrentUser = Annotated[User, Depends(current_user)]
CurrentSession = Annotated[Session[Any], Depends(current_session)]


def poto_of(app: Any) -> Any:
    """The runtime of the application's router, found once. Raises `ConfigurationError` if there is none, or several."""
    found = getattr(app.state, _STATE, None)
    if found is None:
        potos = list({id(poto): poto for poto in _potos(app.routes)}.values())
        if len(potos) != 1:
            raise ConfigurationError(
                "CurrentUser and CurrentSession need a poto_router in the same application: app.include_router(…)."
                if not potos
                else "CurrentUser and CurrentSession found several runtimes: give the routers the same `poto=`."
            )
        found = potos[0]
        setattr(app.state, _STATE, found)
    return found


def _potos(routes: list[Any]) -> list[Any]:
    found = []
    for route in routes:
        router = getattr(route, "original_router", None)
        if isinstance(router, APIRouter):
            poto = getattr(router, "poto", None)
            if poto is not None:
                found.append(poto)
            found += _potos(router.routes)
    return found
