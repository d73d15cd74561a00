"""`PotoClient`: signs in, and calls module classes over the wire."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypeVar, cast

import httpx
from pydantic_core import to_json

from ..auth.token_pair import TokenPair, VisitorTokens
from ..errors import Unauthenticated
from ..module import PotoModule
from ..users import User
from .connection import Connection
from .deadline import deadline, deadline_of_call
from .outgoing import Outgoing
from .proxy import CallOptions, ModuleProxy
from .tokens import Credentials

M = TypeVar("M", bound=PotoModule)
Pair = TypeVar("Pair", bound=TokenPair)


class PotoClient:
    """Calls the modules of one server, as one caller.

        async with PotoClient("http://localhost:8000") as client:
            await client.sign_in_visitor()
            shop = client.module(Shop)
            total = await shop.add_line(Line(sku="a"))

    `base_url` has the prefix under which the router is included. `app` is an ASGI application in this process, for
    calls without a server. `timeout` (seconds) is the deadline of each call that is no stream, and is told to
    the server; `stream_silence` is how long a stream may send nothing, not even a keep-alive, before it is taken for
    cut. `tokens` are those of an earlier run, `on_tokens` is told whenever they change. `http` is an
    `httpx.AsyncClient` of your own, for TLS, proxies or limits; you close it.
    """

    # Asyncio only. A sync twin would be all of this again; in a script, `asyncio.run(main())` is one line.

    def __init__(
        self,
        base_url: str = "http://localhost",
        *,
        app: Any = None,
        timeout: float | None = 30.0,
        stream_silence: float | None = 60.0,
        reconnects: int = 5,
        tokens: TokenPair | None = None,
        on_tokens: Callable[[TokenPair | None], object] | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        url = httpx.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
            raise ValueError(f"base_url is http(s)://host[:port][/prefix] and nothing more, not {url!r}")
        if app is not None and http is not None:
            raise ValueError("PotoClient takes an app or an httpx client, not both")
        self._owns_http = http is None
        self._http = http or _http(app)
        self._credentials = Credentials(self._refreshed, tokens, on_tokens)
        self._connection = Connection(self._http, str(url).rstrip("/"), self._credentials, buffers=app is not None)
        self._timeout = timeout
        self._silence = stream_silence
        self._reconnects = reconnects

    # Modules

    def module(self, cls: type[M], *, prefix: str = "", timeout: float | None = None) -> M:
        """The module `cls` as the server has it: its public methods, all of them to be awaited or iterated.

        To type checkers it is a `cls`; of methods without `async` see `remote`. `prefix` is that of a
        router of its own. `timeout` is the deadline, in seconds, of every call and stream made through what this gives.
        """
        options = CallOptions(
            timeout=self._timeout if timeout is None else timeout,
            stream_timeout=timeout,
            silence=self._silence,
            reconnects=self._reconnects,
            prefix=prefix.rstrip("/"),
        )
        return cast("M", ModuleProxy(cls, self._connection, options))

    def deadline(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """`async with client.deadline(2.0):` all calls and streams begun inside share these seconds.

        In code that serves a call, what is left to that call bounds the calls it makes, without any of this.
        """
        return deadline(seconds)

    # Who calls

    @property
    def tokens(self) -> TokenPair | None:
        """What this client is signed in with. May be set, to those of another one."""
        return self._credentials.tokens

    @tokens.setter
    def tokens(self, tokens: TokenPair | None) -> None:
        self._credentials.replace(tokens)

    async def sign_in_visitor(self) -> VisitorTokens:
        """Sign in as a new visitor. With the `password` in what it gives, `login(user_id, password)` works later."""
        return await self._sign_in(Outgoing("POST", "/auth/visitor"), VisitorTokens)

    async def login(self, username: str, password: str) -> TokenPair:
        """Sign in with a name and a password. Raises `Unauthenticated`, or `TooManyRequests` with `retry_after`."""
        form = {"grant_type": "password", "username": username, "password": password}
        return await self._sign_in(Outgoing("POST", "/auth/login", form=form), TokenPair)

    async def upgrade(self, username: str, password: str) -> TokenPair:
        """Give the visitor that is signed in a name and a password. Raises `UsernameTaken`."""
        outgoing = _with_json("/auth/upgrade", username=username, password=password)
        return await self._sign_in(outgoing, TokenPair, anonymous=False)

    async def refresh(self) -> TokenPair:
        """New tokens now. Calls do this by themselves, before a token expires or when it is refused."""
        tokens = self.tokens
        if tokens is None:
            raise RuntimeError("There is nothing to refresh: sign in first")
        return await self._credentials.renewed(tokens)

    async def logout(self) -> None:
        """End this sign-in, on the server and here. One that has ended there is dropped here."""
        ending = self.tokens
        if ending is None:
            return
        try:
            await self._connection.call(Outgoing("POST", "/auth/logout"), deadline=deadline_of_call(self._timeout))
        except Unauthenticated:
            if self.tokens != ending:  # somebody signed in meanwhile
                return
        self.tokens = None

    async def me(self) -> User:
        """Who the server says is calling. Raises `Unauthenticated`."""
        outgoing = Outgoing("GET", "/auth/me")
        told = (await self._connection.call(outgoing, deadline=deadline_of_call(self._timeout))).json()
        return User(told["user_id"], frozenset(told["roles"]), told["visitor"], told["name"])

    async def _sign_in(self, outgoing: Outgoing, model: type[Pair], *, anonymous: bool = True) -> Pair:
        deadline = deadline_of_call(self._timeout)
        response = await self._connection.call(outgoing, deadline=deadline, anonymous=anonymous)
        self.tokens = tokens = model.model_validate_json(response.content)
        return tokens

    async def _refreshed(self, refresh_token: str) -> TokenPair:
        outgoing = _with_json("/auth/refresh", refresh_token=refresh_token)
        response = await self._connection.call(outgoing, deadline=deadline_of_call(self._timeout), anonymous=True)
        return TokenPair.model_validate_json(response.content)

    # Opening and closing

    async def aclose(self) -> None:
        """Let go of the connections. Streams that are still open end."""
        if self._owns_http:
            await self._http.aclose()

    async def __aenter__(self) -> "PotoClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        tokens = self.tokens
        who = f" as {tokens.user_id or '?'}" if tokens is not None else ""
        return f"<PotoClient {self._connection.base_url}{who}>"


def _http(app: Any) -> httpx.AsyncClient:
    # Deadlines are ours; httpx's read timeout would end idle streams. Every open stream holds a connection. One that
    # is idle goes before uvicorn would close it (5 s), or a call could be sent into a connection that just ends.
    return httpx.AsyncClient(
        transport=None if app is None else httpx.ASGITransport(app, raise_app_exceptions=False),
        timeout=httpx.Timeout(None, connect=10.0),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=4.0),
    )


def _with_json(path: str, **members: str) -> Outgoing:
    outgoing = Outgoing("POST", path)
    outgoing.set_json(to_json(members))
    return outgoing
