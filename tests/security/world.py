"""A small world to attack: one app with something of everything, served by a real uvicorn."""

import asyncio
import base64
import hmac
import json
import os
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI, WebSocket
from pydantic import BaseModel

from fastapi_poto import CurrentSession, CurrentUser, Event, Poto, PotoModule, poto_router, public, roles, rpc
from fastapi_poto.auth import TokenPair
from fastapi_poto.settings import from_environment
from fastapi_poto.stores.memory import MemoryStore
from fastapi_poto.testing import Clock, serve
from tests.secret import SECRET

T = TypeVar("T")

NAME, PASSWORD = "ann", "correct horse battery"
H0 = 'Bearer realm="poto"'
H1 = 'Bearer realm="poto", error="invalid_token"'
REFUSED = {"code": "unauthenticated", "detail": "Not authenticated"}


class Who(BaseModel):
    id: str
    roles: list[str]
    visitor: bool


class Vault(PotoModule):
    """Something of everything."""

    attribute = "not for the wire"

    @public
    async def get_status(self) -> str:
        return "open"

    @public
    async def get_anybody(self) -> str | None:
        user = self.get_current_user()
        return user.id if user else None

    async def get_me(self) -> Who:
        return Who(id=self.user.id, roles=sorted(self.user.roles), visitor=self.user.visitor)

    async def whoami(self) -> str:
        return self.user.id

    @roles("admin")
    async def get_reports(self) -> str:
        return "for administrators"

    @roles("admin")
    async def tick_for_admins(self) -> AsyncIterator[int]:
        for n in range(10_000):
            yield n
            await asyncio.sleep(0.02)

    async def tick(self) -> AsyncIterator[int]:
        for n in range(10_000):
            yield n
            await asyncio.sleep(0.02)

    async def get_ticks(self) -> AsyncIterator[int]:
        for n in range(3):
            yield n

    @rpc(resumable=True)
    async def numbers(self, count: int = 50) -> AsyncIterator[int]:
        for n in range(count):
            yield n
            await asyncio.sleep(0.01)

    async def keep(self, key: str, value: int) -> None:
        await self.session.set(key, value)

    async def keep_text(self, key: str, value: str) -> None:
        await self.session.set(key, value)

    async def keep_slowly(self, key: str, value: int) -> None:
        await self.session.set("begun", value)
        await asyncio.sleep(0.3)
        await self.session.set(key, value)

    async def count(self) -> int:
        return await self.session.increment("count")

    async def get_kept(self) -> dict[str, Any]:
        return await self.session.all()

    async def say(self, event: str | None = None, id: str | None = None, data: str = "") -> AsyncIterator[Event[str]]:
        yield Event(data=data, event=event, id=id)

    async def _private(self) -> str:
        return "not for the wire"

    @property
    def prop(self) -> str:
        return "not for the wire"

    @staticmethod
    def helper() -> str:
        return "not for the wire"


@dataclass
class World:
    url: str
    poto: Poto
    clock: Clock
    http: httpx.Client

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """What the application's own code would do; the memory store may be used from any loop."""
        return asyncio.run(work)

    def visitor(self) -> dict[str, Any]:
        answer = self.http.post("/auth/visitor")
        assert answer.status_code == 200, answer.text
        pair: dict[str, Any] = answer.json()
        return pair

    def user(self, name: str = NAME, *names_of_roles: str) -> str:
        return self.do(self.poto.accounts.create(name, PASSWORD, names_of_roles)).id

    def login(self, name: str = NAME, password: str = PASSWORD, **headers: str) -> httpx.Response:
        return self.http.post("/auth/login", data={"username": name, "password": password}, headers=headers)

    def signed_in(self, name: str = NAME) -> dict[str, Any]:
        answer = self.login(name)
        assert answer.status_code == 200, answer.text
        pair: dict[str, Any] = answer.json()
        return pair

    def refresh(self, pair: dict[str, Any]) -> httpx.Response:
        return self.http.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        return self.http.get(path, headers={"Authorization": f"Bearer {token}"} if token is not None else {})

    def post(self, path: str, pair: dict[str, Any] | None = None, **body: Any) -> httpx.Response:
        return self.http.post(path, headers=headers_of(pair), json=body)

    def raw(self, *lines: bytes, body: bytes = b"") -> bytes:
        """The answer to a request that no client library would send."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = [*lines, f"Host: {host}".encode(), b"Connection: close", b"Content-Length: %d" % len(body)]
            connection.sendall(b"\r\n".join(head) + b"\r\n\r\n" + body)
            received = b""
            while chunk := connection.recv(65_536):
                received += chunk
            return received

    def everywhere(self, headers: Any = None) -> list[httpx.Response]:
        """The same credentials at every kind of route: GET, POST, stream, plain route, sign-in route."""
        return [
            self.http.get("/Vault/me", headers=headers),
            self.http.post("/Vault/whoami", headers=headers, json={}),
            self.http.get("/Vault/ticks", headers=headers),
            self.http.get("/plain", headers=headers),
            self.http.get("/auth/me", headers=headers),
        ]


def headers_of(pair: dict[str, Any] | TokenPair | None) -> dict[str, str]:
    if pair is None:
        return {}
    token = pair.access_token if isinstance(pair, TokenPair) else pair["access_token"]
    return {"Authorization": f"Bearer {token}"}


def make_app(poto: Poto | None = None) -> FastAPI:
    """The app; in a process of its own made from the environment."""
    if poto is None:
        options = {"visitors_per_hour": None, **from_environment()}
        poto = Poto(SECRET, store=os.environ.get("POTO_STORE", "memory://"), **options)
    app = FastAPI()
    app.include_router(poto_router(Vault, poto=poto))
    app.state.poto = poto

    @app.get("/plain")
    async def plain(user: CurrentUser) -> str:
        return user.id

    @app.websocket("/socket")
    async def talk(websocket: WebSocket, user: CurrentUser) -> None:
        await websocket.accept()
        await websocket.send_text(user.id)
        await websocket.close()

    @app.post("/plain/count")
    async def count(session: CurrentSession) -> int:
        return await session.increment("count")

    return app


def make_app_with_a_user() -> FastAPI:
    """With two named users, for a process of its own."""
    app = make_app()
    with ThreadPoolExecutor(1) as apart:  # the server's loop is running
        for name in (NAME, "beth"):
            apart.submit(asyncio.run, app.state.poto.accounts.create(name, PASSWORD)).result()
    return app


@contextmanager
def world(secret: Any = SECRET, *, store: Any = None, **options: Any) -> Iterator[World]:
    clock = Clock()
    store = store if store is not None else MemoryStore(clock=clock)
    poto = Poto(secret, store=store, clock=clock, **{"visitors_per_hour": None, **options})
    with (
        serve(make_app(poto), proxy_headers=False) as live,
        httpx.Client(base_url=live.url, timeout=20) as http,
    ):
        yield World(live.url, poto, clock, http)
    poto.passwords.close()


# Forging


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A token's header and claims."""
    header, claims, _ = token.split(".")
    return json.loads(unb64(header)), json.loads(unb64(claims))


def signed(header: Any, claims: Any, secret: bytes = SECRET.encode(), digest: str = "sha256") -> str:
    """A token with a right signature over whatever it is given: objects, or bytes as they are."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signing = ".".join(b64(part) for part in parts)
    return f"{signing}.{b64(hmac.digest(secret, signing.encode(), digest))}"


def is_refused(answer: httpx.Response, challenge: str) -> bool:
    """A 401 as it has to be: challenge, body for every reason, not to be stored."""
    assert answer.status_code == 401, (answer.status_code, answer.text)
    assert answer.headers["www-authenticate"] == challenge
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == REFUSED
    return True
