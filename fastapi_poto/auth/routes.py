"""The sign-in routes."""

import inspect
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Body, Depends, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from .. import error_bodies
from ..body import Receiver
from ..context import SCOPE_KEY, CallContext
from ..errors import (
    Conflict,
    CrossSiteRequest,
    InvalidArguments,
    PotoError,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UsernameTaken,
)
from ..pipeline import ObservedRoute, Pipeline, with_headers
from ..settings import Settings
from ..users import Identity
from .accounts import name_problem, password_problem
from .authenticator import Authenticator
from .cookies import CookieTransport
from .events import Audit
from .sign_in import SignIn
from .token_pair import TokenPair, VisitorTokens

_NO_STORE = {"Cache-Control": "no-store"}


class SignedInByCookie(BaseModel):
    """The tokens are in cookies, which no script of the page can read; so is a visitor's password nowhere."""

    token_type: Literal["cookie"] = "cookie"
    expires_in: int = Field(description="Seconds until the access token expires.")
    user_id: str


class LoginForm(BaseModel):
    """The form of the OAuth2 password grant. A visitor's username is its id."""

    username: str = Field(min_length=1, max_length=256)
    password: str = Field(json_schema_extra={"format": "password"}, repr=False)
    grant_type: str | None = Field(default=None, pattern="^password$")
    scope: str = ""
    client_id: str | None = None
    client_secret: str | None = Field(default=None, repr=False)


class RefreshRequest(BaseModel):
    """The refresh token. A client that keeps its tokens in cookies sends no body."""

    refresh_token: str = Field(max_length=2_048, repr=False)


class UpgradeRequest(BaseModel):
    """The name and the password that a visitor wants."""

    username: str = Field(json_schema_extra={"minLength": 1, "maxLength": 128})
    password: str = Field(json_schema_extra={"format": "password"}, repr=False)


class Me(BaseModel):
    """Who calls."""

    user_id: str
    name: str | None = Field(description="What the user signs in with; null for a visitor.")
    roles: list[str]
    visitor: bool


class Runtime(Protocol):
    """What the sign-in routes need of a `Poto`."""

    settings: Settings
    sign_in: SignIn
    authenticator: Authenticator
    cookies: CookieTransport | None
    audit: Audit
    is_open: bool
    sessions: Any

    @property
    def signs_in(self) -> bool:
        """Whether people can sign in here, or only elsewhere."""
        ...

    def address(self, scope: Scope) -> str:
        """The client's address."""
        ...

    async def open_for_call(self) -> None:
        """Connect the stores, as far as they are there."""


class SignInPipeline(Pipeline):
    """The pipeline of one sign-in route. Who calls, and from which page, is checked before the body is read."""

    def __init__(self, poto: Runtime, name: str, path: str, guarded: bool) -> None:
        super().__init__(poto, name, poto.settings.auth.max_body_size)
        self._poto = poto
        self._path = path
        self._guarded = guarded

    async def authenticate(self, scope: Scope) -> Identity | None:
        self._refuse_foreign_page(scope)
        return await self._poto.authenticator.authenticate(scope) if self._guarded else None

    def check_guard(self, context: CallContext) -> None:
        if self._guarded and context.user is None and not self._is_leaving_by_cookie(context.scope):
            raise self._poto.authenticator.refuse(context.scope)

    def _is_leaving_by_cookie(self, scope: Scope) -> bool:
        """Who signs out need not be signed in any more: whatever cookie they have is taken back."""
        cookies = self._poto.cookies
        return self._path.endswith("/logout") and cookies is not None and cookies.sent(scope)

    def _refuse_foreign_page(self, scope: Scope) -> None:
        """A page must not sign its reader in as somebody else by setting our cookies."""
        poto = self._poto
        if poto.cookies is not None and poto.cookies.asked(scope):
            try:
                poto.cookies.check_origin(scope)
            except CrossSiteRequest:
                poto.audit("cross_site_refused", address=poto.address(scope), what=self._path)
                raise


class AuthRoute(ObservedRoute):
    """A sign-in route."""

    poto: Runtime
    poto_spec: None = None
    poto_errors: tuple[type[PotoError], ...] = ()
    guarded = False

    def __init__(self, path: str, endpoint: Callable[..., Any], *, responses: Any = None, **arguments: Any) -> None:
        # As methods have it: FastAPI's own description of a 422 would bring FastAPI's components.
        described = {422: {"description": InvalidArguments.default_detail()}, **(responses or {})}
        super().__init__(path, endpoint, responses=described, **arguments)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)  # 405
        else:
            await self._pipeline.serve(self._work, scope, receive, send)

    @cached_property
    def _pipeline(self) -> SignInPipeline:
        return SignInPipeline(self.poto, self.name, self.path, self.guarded)

    async def _work(self, context: CallContext, receive: Receive, send: Send) -> None:
        receiver = Receiver(receive, self._pipeline.max_body_size, self.poto.settings.body_timeout)
        await super().handle(context.scope, receiver, with_headers(context, send))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError as error:
                # FastAPI repeats what was sent: here that is a password, or beside one.
                raise RequestValidationError([{**one, "input": None} for one in error.errors()]) from None

        return answer


def auth_router(poto: Runtime) -> APIRouter:  # noqa: C901 - a table of routes
    """`/auth/*` for a `Poto`."""
    error_bodies.install()
    sign_in, cookies = poto.sign_in, poto.cookies

    def address(request: Request) -> str:
        return poto.address(request.scope)

    settings = poto.settings.auth
    strangers = {"upgrade"} if settings.visitors else {"visitor", "upgrade"}
    absent = strangers if not (settings.visitors and settings.registration) else set[str]()
    if not poto.signs_in:
        absent = {"visitor", "login", "refresh", "logout", "upgrade"}
    router = APIRouter(prefix="/auth", tags=["Auth"], route_class=AuthRoute, default_response_class=JSONResponse)

    def route(
        name: str, verb: str = "POST", errors: tuple[type[PotoError], ...] = (), guarded: bool = False, **arguments: Any
    ) -> Callable[[Callable[..., Any]], None]:
        def add(endpoint: Callable[..., Any]) -> None:
            if name not in absent:
                add_route(
                    router, poto, endpoint, name, name=name, verb=verb, errors=errors, guarded=guarded, **arguments
                )

        return add

    token_pair: Any = TokenPair if cookies is None else TokenPair | SignedInByCookie
    visitor_tokens: Any = VisitorTokens if cookies is None else VisitorTokens | SignedInByCookie

    @route("visitor", errors=(TooManyRequests, Unavailable), response_model=visitor_tokens)
    async def visitor(request: Request) -> Response:
        """Sign in as a new visitor"""
        return _signed_in(poto, request, await sign_in.visitor(address(request)))

    @route("login", errors=(Unauthenticated, TooLarge, TooManyRequests, Unavailable), response_model=token_pair)
    async def login(request: Request, form: Annotated[LoginForm, Form()]) -> Response:
        """Sign in with a name and a password"""
        _check(password_problem(form.password, new=False), "password")
        return _signed_in(poto, request, await sign_in.login(form.username, form.password, address(request)))

    async def refresh(request: Request, body: RefreshRequest) -> Response:
        """Get a new pair of tokens; the old refresh token is spent"""
        return _signed_in(poto, request, await sign_in.refresh(body.refresh_token, address(request)))

    async def refresh_by_cookie(request: Request, body: Annotated[RefreshRequest | None, Body()] = None) -> Response:
        """Get a new pair of tokens; the old refresh token is spent. With a cookie there is no body"""
        if body is not None:
            return await refresh(request, body)
        assert cookies is not None  # noqa: S101 - the route is only there with cookies
        cookies.check_origin(request.scope)
        token = cookies.refresh_token(request.scope)
        try:
            if token is None:
                raise poto.authenticator.refuse()
            return _signed_in(poto, request, await sign_in.refresh(token, address(request)))
        except Unauthenticated:
            request.scope[SCOPE_KEY].response_headers += cookies.cleared()
            raise

    add_refresh = route("refresh", errors=(Unauthenticated, TooLarge, Unavailable), response_model=token_pair)
    add_refresh(refresh if cookies is None else refresh_by_cookie)

    @route("logout", errors=(Unauthenticated, Unavailable), guarded=True, status_code=204)
    async def logout(request: Request) -> Response:
        """Sign out: the token and its refresh tokens are dead"""
        identity = request.scope[SCOPE_KEY].identity
        if identity is not None:
            await sign_in.logout(identity)
        elif cookies is not None:
            cookies.check_origin(request.scope)
            await sign_in.end(cookies.refresh_token(request.scope) or "")
        response = Response(status_code=204)
        if cookies is not None:
            response.raw_headers += cookies.cleared()
        return response

    @route(
        "upgrade",
        errors=(Unauthenticated, Conflict, UsernameTaken, TooLarge, TooManyRequests, Unavailable),
        guarded=True,
        response_model=token_pair,
    )
    async def upgrade(request: Request, body: UpgradeRequest) -> Response:
        """Give a visitor a name and a password; its id and session stay"""
        _check(name_problem(body.username), "username")
        _check(password_problem(body.password), "password")
        pair = await sign_in.upgrade(identity_of(request), body.username, body.password, address(request))
        return _signed_in(poto, request, pair)

    @route("me", "GET", errors=(Unauthenticated, Unavailable), guarded=True)
    async def me(request: Request, response: Response) -> Me:
        """Who calls"""
        response.headers["Cache-Control"] = "no-store"
        user = identity_of(request).user
        return Me(user_id=user.id, name=user.name, roles=sorted(user.roles), visitor=user.visitor)

    return router


def add_route(
    router: APIRouter,
    poto: Runtime,
    endpoint: Callable[..., Any],
    path: str,
    *,
    name: str,
    verb: str,
    errors: tuple[type[PotoError], ...],
    guarded: bool,
    **arguments: Any,
) -> None:
    """Add a sign-in route; its summary and description are the endpoint's docstring."""
    summary, _, description = inspect.cleandoc(endpoint.__doc__ or "").partition("\n")
    router.add_api_route(
        f"/{path}",
        endpoint,
        methods=[verb],
        operation_id=f"Auth_{name}",
        name=f"Auth.{name}",
        summary=summary,
        description=description.strip(),
        dependencies=[Depends(one) for one in poto.authenticator.security] if guarded else None,
        **arguments,
    )
    added = router.routes[-1]
    assert isinstance(added, AuthRoute)  # noqa: S101 - the router's own route class
    added.poto, added.poto_errors, added.guarded = poto, errors, guarded


def identity_of(request: Request) -> Identity:
    """The caller of a route that needs one."""
    identity: Identity = request.scope[SCOPE_KEY].identity
    return identity


def _signed_in(poto: Runtime, request: Request, pair: TokenPair) -> Response:
    cookies = poto.cookies
    if cookies is None or not cookies.asked(request.scope):
        return JSONResponse(pair.model_dump(), headers=_NO_STORE)
    shown = SignedInByCookie(expires_in=pair.expires_in, user_id=pair.user_id)
    response = JSONResponse(shown.model_dump(), headers=_NO_STORE)
    response.raw_headers += cookies.written(pair)
    return response


def _check(problem: str | None, member: str) -> None:
    """422 as FastAPI words it."""
    if problem is not None:
        raise RequestValidationError([{"type": "value_error", "loc": ("body", member), "msg": problem, "input": None}])
