"""The sign-in routes."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from ..body import check_length, limited
from ..errors import (
    Conflict,
    CrossSiteRequest,
    PotoError,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UsernameTaken,
)
from ..users import Identity
from .service import AuthService, Pair, name_problem, password_problem


class TokenPair(BaseModel):
    """Two tokens: one for calls, and one for the next pair."""

    access_token: str
    token_type: str = "bearer"
    expires_in: int = Field(description="Seconds until the access token expires.")
    refresh_token: str
    user_id: str


class VisitorTokens(TokenPair):
    """Two tokens for a new visitor, and the password with which it can sign in again; it is shown this once."""

    password: str


class LoginForm(BaseModel):
    """The form of the OAuth2 password grant. A visitor's username is its id."""

    username: str = Field(min_length=1, max_length=256)
    password: str = Field(json_schema_extra={"format": "password"})
    grant_type: str | None = Field(default=None, pattern="^password$")
    scope: str = ""
    client_id: str | None = None
    client_secret: str | None = None


class RefreshRequest(BaseModel):
    """The refresh token. A client that keeps its tokens in cookies sends no body."""

    refresh_token: str = Field(max_length=2_048)


class UpgradeRequest(BaseModel):
    """The name and the password that a visitor wants."""

    username: str = Field(json_schema_extra={"minLength": 1, "maxLength": 128})
    password: str = Field(json_schema_extra={"format": "password"})


class Me(BaseModel):
    """Who calls."""

    user_id: str
    roles: list[str]
    visitor: bool


class AuthRoute(APIRoute):
    """A sign-in route. Who calls, and from which page, is checked before the body is read."""

    poto: AuthService
    poto_spec: None = None
    poto_errors: tuple[type[PotoError], ...] = ()
    guarded = False

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        auth = self.poto
        if auth.ensure_open is not None:
            await auth.ensure_open()
        self._refuse_foreign_page(scope)
        if self.guarded and scope["method"] in (self.methods or ()):
            identity = await auth.authenticator.authenticate(scope)
            if identity is None:
                raise auth.authenticator.refuse()
            scope["poto.identity"] = identity
        check_length(scope, auth.settings.max_body_size)
        await super().handle(scope, limited(receive, auth.settings.max_body_size), send)

    def _refuse_foreign_page(self, scope: Scope) -> None:
        """A page must not sign its reader in as somebody else by setting our cookies."""
        auth = self.poto
        if auth.cookies is not None and auth.cookies.asked(scope):
            try:
                auth.cookies.check_origin(scope)
            except CrossSiteRequest:
                auth.audit("cross_site_refused", address=auth.address(scope), what=self.path)
                raise

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError as error:
                # FastAPI repeats what was sent: here that is a password, or beside one.
                raise RequestValidationError([{**one, "input": None} for one in error.errors()]) from None

        return answer


def auth_router(poto: Any) -> APIRouter:
    """`/auth/*` for a `Poto`, or for its `AuthService`."""
    auth: AuthService = poto if isinstance(poto, AuthService) else poto.auth
    router = APIRouter(prefix="/auth", tags=["Auth"], route_class=AuthRoute, default_response_class=JSONResponse)

    def route(
        name: str, verb: str = "POST", errors: tuple[type[PotoError], ...] = (), guarded: bool = False, **arguments: Any
    ) -> Callable[[Callable[..., Any]], None]:
        def add(endpoint: Callable[..., Any]) -> None:
            if not auth.signs_in and name != "me":
                return
            summary, _, description = (endpoint.__doc__ or "").partition("\n")
            router.add_api_route(
                f"/{name}",
                endpoint,
                methods=[verb],
                operation_id=f"Auth_{name}",
                name=f"Auth.{name}",
                summary=summary,
                description=description.strip(),
                dependencies=[Depends(one) for one in auth.authenticator.security] if guarded else None,
                **arguments,
            )
            added = router.routes[-1]
            assert isinstance(added, AuthRoute)  # noqa: S101 - the router's own route class
            added.poto, added.poto_errors, added.guarded = auth, errors, guarded

        return add

    @route("visitor", errors=(TooManyRequests, Unavailable), response_model=VisitorTokens)
    async def visitor(request: Request) -> Response:
        """Sign in as a new visitor"""
        return _signed_in(auth, request, await auth.visitor(auth.address(request.scope)), VisitorTokens)

    @route("login", errors=(Unauthenticated, TooLarge, TooManyRequests, Unavailable), response_model=TokenPair)
    async def login(request: Request, form: Annotated[LoginForm, Form()]) -> Response:
        """Sign in with a name and a password"""
        _check(password_problem(form.password, new=False), "password")
        pair = await auth.login(form.username, form.password, auth.address(request.scope))
        return _signed_in(auth, request, pair, TokenPair)

    async def refresh(request: Request, body: RefreshRequest) -> Response:
        """Get a new pair of tokens; the old refresh token is spent"""
        pair = await auth.refresh(body.refresh_token, auth.address(request.scope))
        return _signed_in(auth, request, pair, TokenPair)

    async def refresh_by_cookie(request: Request, body: Annotated[RefreshRequest | None, Body()] = None) -> Response:
        """Get a new pair of tokens; the old refresh token is spent"""
        token = body.refresh_token if body is not None else _refresh_cookie(auth, request)
        return _signed_in(auth, request, await auth.refresh(token, auth.address(request.scope)), TokenPair)

    by_cookie = auth.cookies is not None
    add_refresh = route("refresh", errors=(Unauthenticated, TooLarge, Unavailable), response_model=TokenPair)
    add_refresh(refresh_by_cookie if by_cookie else refresh)

    @route("logout", errors=(Unauthenticated, Unavailable), guarded=True, status_code=204)
    async def logout(request: Request) -> Response:
        """Sign out: the token and its refresh tokens are dead"""
        await auth.logout(_identity(request))
        response = Response(status_code=204)
        if auth.cookies is not None:
            auth.cookies.clear(response.headers)
        return response

    @route(
        "upgrade",
        errors=(Unauthenticated, Conflict, UsernameTaken, TooLarge, TooManyRequests, Unavailable),
        guarded=True,
        response_model=TokenPair,
    )
    async def upgrade(request: Request, body: UpgradeRequest) -> Response:
        """Give a visitor a name and a password; its id and session stay"""
        _check(name_problem(body.username), "username")
        _check(password_problem(body.password), "password")
        pair = await auth.upgrade(_identity(request), body.username, body.password, auth.address(request.scope))
        return _signed_in(auth, request, pair, TokenPair)

    @route("me", "GET", errors=(Unauthenticated, Unavailable), guarded=True)
    async def me(request: Request, response: Response) -> Me:
        """Who calls"""
        response.headers["Cache-Control"] = "no-store"
        user = _identity(request).user
        return Me(user_id=user.id, roles=sorted(user.roles), visitor=user.visitor)

    return router


def _identity(request: Request) -> Identity:
    identity: Identity = request.scope["poto.identity"]
    return identity


def _signed_in(auth: AuthService, request: Request, pair: Pair, model: type[TokenPair]) -> Response:
    cookies = auth.cookies if auth.cookies is not None and auth.cookies.asked(request.scope) else None
    answer: dict[str, Any] = {"token_type": "bearer" if cookies is None else "cookie", "expires_in": pair.expires_in}
    if cookies is None:
        answer |= {"access_token": pair.access_token, "refresh_token": pair.refresh_token}
    answer["user_id"] = pair.user.id
    if model is VisitorTokens:
        answer["password"] = pair.password
    response = JSONResponse(answer, headers={"Cache-Control": "no-store"})
    if cookies is not None:
        cookies.write(
            response.headers,
            access=pair.access_token,
            access_ttl=pair.expires_in,
            refresh=pair.refresh_token,
            refresh_ttl=min(pair.refresh_expires_in, auth.settings.refresh_idle),
        )
    return response


def _refresh_cookie(auth: AuthService, request: Request) -> str:
    assert auth.cookies is not None  # noqa: S101 - the route is only there with cookies
    auth.cookies.check_origin(request.scope)
    token = auth.cookies.refresh_token(request.scope)
    if token is None:
        raise auth.authenticator.refuse()
    return token


def _check(problem: str | None, member: str) -> None:
    """422 as FastAPI words it."""
    if problem is not None:
        raise RequestValidationError([{"type": "value_error", "loc": ("body", member), "msg": problem, "input": None}])
