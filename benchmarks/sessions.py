"""Sessions: requests a second, and how many of 20 concurrent key writes survive, beside other libraries.

    python -m benchmarks.sessions [seconds for each figure]

The work is the same for all: a request, called in process through each library's own middleware, of a session
with 10 values of 100 bytes; it reads one value and writes another. 20 callers have 20 sessions. What survives is
counted with 20 requests of one session at once that each write a key of their own 20 ms after they began.
Redis and PostgreSQL are real servers on this machine, started here: Redis without a file, PostgreSQL with fsync on.
Rows are measured in turn, five times over, and the best round counts: what else the machine does only slows them.
Compare them with each other, not with another machine's.
"""

import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi_poto.context import CallContext
from fastapi_poto.sessions import SessionManager
from fastapi_poto.sessions.cookie import CookieSessions
from fastapi_poto.stores import MemoryStore, store_from_url
from tests.servers import PostgresServer, RedisServer

ROUNDS = 5
CONCURRENT = 20
PAUSE_SECONDS = 0.02
VALUES = {f"value{number}": "x" * 100 for number in range(10)}

App = Callable[..., Any]


class Client:
    """Calls an ASGI application in process, as a browser that keeps its cookies."""

    def __init__(self, app: App, user: int = 0) -> None:
        self.app = app
        self.user = str(user).encode()
        self.cookies: dict[str, str] = {}

    async def get(self, path: str) -> bytes:
        headers = [(b"host", b"localhost"), (b"x-user", self.user)]
        if self.cookies:
            pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            headers.append((b"cookie", pairs.encode()))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 443),
            "state": {},
        }
        body = b""
        status = 0

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            nonlocal body, status
            if message["type"] == "http.response.start":
                status = message["status"]
                for name, value in message["headers"]:
                    if name.lower() == b"set-cookie":
                        cookie, _, content = value.decode().partition(";")[0].partition("=")
                        self.cookies[cookie] = content
            else:
                body += message.get("body", b"")

        await self.app(scope, receive, send)
        assert status == 200, body
        return body


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[App]:
    """Our sessions behind a bare Starlette route."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    @dataclass
    class Someone:
        id: str

    @dataclass
    class SignedIn:
        session: str = ""
        """What the credentials of a call say of its session: knowing the caller is no part of this measurement."""

    store = MemoryStore() if url == "cookie" else store_from_url(url)
    await store.open()
    sessions = CookieSessions([secrets.token_bytes(32)], store) if url == "cookie" else SessionManager(store)

    def session_of(request: Request, response: Response) -> Any:
        context = CallContext("Bench.work", request.scope)
        context.user = Someone(request.headers["x-user"])  # type: ignore[assignment]
        context.identity = SignedIn()
        context.response_headers = response.raw_headers
        return sessions.handle(context)

    async def fill(request: Request) -> Response:
        response = Response()
        session = session_of(request, response)
        await session.clear()
        for key, value in VALUES.items():
            await session.set(key, value)
        return response

    async def work(request: Request) -> Response:
        response = Response()
        session = session_of(request, response)
        await session.get("value1")
        await session.set("value2", "y" * 100)
        return response

    async def write(request: Request) -> Response:
        response = Response()
        session = session_of(request, response)
        await session.get("value1")
        await asyncio.sleep(PAUSE_SECONDS)
        await session.set(request.path_params["key"], 1)
        return response

    async def count(request: Request) -> Response:
        return Response(str(len(await session_of(request, Response()).all())))

    yield Starlette(
        routes=[Route("/fill", fill), Route("/work", work), Route("/write/{key}", write), Route("/count", count)]
    )
    await store.close()


def _starlette_routes(load: Callable[[Any], Any]) -> list[Any]:
    """The same work on a `request.session` that is loaded and saved whole."""
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def fill(request: Request) -> Response:
        await load(request)
        request.session.clear()
        request.session.update(VALUES)
        return Response()

    async def work(request: Request) -> Response:
        await load(request)
        request.session.get("value1")
        request.session["value2"] = "y" * 100
        return Response()

    async def write(request: Request) -> Response:
        await load(request)
        request.session.get("value1")
        await asyncio.sleep(PAUSE_SECONDS)
        request.session[request.path_params["key"]] = 1
        return Response()

    async def count(request: Request) -> Response:
        await load(request)
        return Response(str(len(request.session)))

    return [Route("/fill", fill), Route("/work", work), Route("/write/{key}", write), Route("/count", count)]


@asynccontextmanager
async def starlette(_: str) -> AsyncIterator[App]:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.sessions import SessionMiddleware

    async def load(request: Any) -> None: ...

    middleware = Middleware(SessionMiddleware, secret_key=secrets.token_hex())
    yield Starlette(routes=_starlette_routes(load), middleware=[middleware])


@asynccontextmanager
async def starsessions(url: str) -> AsyncIterator[App]:
    import redis.asyncio
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starsessions import CookieStore, InMemoryStore, SessionMiddleware, load_session
    from starsessions.stores.redis import RedisStore

    client = redis.asyncio.Redis.from_url(url) if url.startswith("redis") else None
    store: Any = CookieStore(secret_key=secrets.token_hex()) if url == "cookie" else InMemoryStore()
    if client is not None:
        store = RedisStore(connection=client)
    middleware = Middleware(SessionMiddleware, store=store, lifetime=3600)
    yield Starlette(routes=_starlette_routes(load_session), middleware=[middleware])
    if client is not None:
        await client.aclose()


@asynccontextmanager
async def litestar(url: str) -> AsyncIterator[App]:
    import redis.asyncio
    from litestar import Litestar, Request, get
    from litestar.middleware.session.client_side import CookieBackendConfig
    from litestar.middleware.session.server_side import ServerSideSessionConfig
    from litestar.stores.file import FileStore
    from litestar.stores.memory import MemoryStore as LitestarMemory
    from litestar.stores.redis import RedisStore

    @get("/fill")
    async def fill(request: Request[Any, Any, Any]) -> str:
        request.set_session(dict(VALUES))
        return ""

    @get("/work")
    async def work(request: Request[Any, Any, Any]) -> str:
        request.session.get("value1")
        request.session["value2"] = "y" * 100
        return ""

    @get("/write/{key:str}")
    async def write(request: Request[Any, Any, Any], key: str) -> str:
        request.session.get("value1")
        await asyncio.sleep(PAUSE_SECONDS)
        request.session[key] = 1
        return ""

    @get("/count")
    async def count(request: Request[Any, Any, Any]) -> str:
        return str(len(request.session))

    client = redis.asyncio.Redis.from_url(url) if url.startswith("redis") else None
    stores: dict[str, Any] = {}
    if client is not None:
        stores["sessions"] = RedisStore(redis=client)
    elif url == "memory://":
        stores["sessions"] = LitestarMemory()
    elif url != "cookie":
        stores["sessions"] = FileStore(Path(url), create_directories=True)
    config: Any = CookieBackendConfig(secret=secrets.token_bytes(16)) if url == "cookie" else ServerSideSessionConfig()
    yield Litestar(
        [fill, work, write, count],
        middleware=[config.middleware],
        stores=stores,
        openapi_config=None,
        debug=False,
        logging_config=None,
    )
    if client is not None:
        await client.aclose()


@dataclass
class Row:
    """One library on one store."""

    name: str
    store: str
    build: Callable[[str], Any]
    url: str
    alone: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)
    survived: list[int] = field(default_factory=list)

    async def measure(self, seconds: float) -> None:
        async with self.build(self.url) as app:
            clients = [Client(app, user) for user in range(CONCURRENT)]
            for client in clients:
                await client.get("/fill")
                await client.get("/work")
            self.alone.append(await _rate(clients[:1], seconds))
            self.together.append(await _rate(clients, seconds))
            await asyncio.gather(*(clients[0].get(f"/write/key{number}") for number in range(CONCURRENT)))
            self.survived.append(int(await clients[0].get("/count")) - len(VALUES))


async def _rate(clients: Sequence[Client], seconds: float) -> float:
    done = 0
    end = time.perf_counter() + seconds

    async def call(client: Client) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await client.get("/work")
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*map(call, clients))
    return done / (time.perf_counter() - began)


async def run(seconds: float = 0.3) -> list[Row]:
    """Measure all rows, each on servers of its own."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-sessions-")))
        redis = stack.enter_context(RedisServer(folder / "redis", durable=False))
        postgres = stack.enter_context(PostgresServer(folder / "postgres", durable=True))
        rows = [
            Row("poto", "memory", ours, "memory://"),
            Row("starsessions", "memory", starsessions, "memory://"),
            Row("Litestar", "memory", litestar, "memory://"),
            Row("poto", "SQLite", ours, f"sqlite:///{folder / 'poto.db'}"),
            Row("Litestar", "files", litestar, str(folder / "litestar")),
            Row("poto", "PostgreSQL", ours, postgres.url),
            Row("poto", "Redis", ours, redis.url),
            Row("starsessions", "Redis", starsessions, redis.url),
            Row("Litestar", "Redis", litestar, redis.url),
            Row("poto", "cookie", ours, "cookie"),
            Row("Starlette", "cookie", starlette, "cookie"),
            Row("starsessions", "cookie", starsessions, "cookie"),
            Row("Litestar", "cookie", litestar, "cookie"),
        ]
        for _ in range(ROUNDS):
            for row in rows:
                await row.measure(seconds)
    return rows


def main(seconds: float = 0.3) -> None:
    rows = asyncio.run(run(seconds))
    print(
        f"\nSessions: requests/s of one caller and of {CONCURRENT}; of {CONCURRENT} concurrent writes that many survive"
    )
    print(f"  {'store':12} {'library':14} {'one caller':>10} {f'{CONCURRENT} at once':>12} {'survive':>9}")
    for row in rows:
        print(
            f"  {row.store:12} {row.name:14} {max(row.alone):10,.0f} {max(row.together):12,.0f}"
            f" {min(row.survived):6} of {CONCURRENT}"
        )


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
