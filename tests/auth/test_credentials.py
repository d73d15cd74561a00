"""Ways to know a caller: in order, on every path, with one answer for those whom nobody knows."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyHeader
from starlette.testclient import TestClient

from fastapi_poto import (
    ApiKeys,
    ConfigurationError,
    Credentials,
    CurrentSession,
    CurrentUser,
    Identity,
    OwnSignIn,
    Poto,
    PotoModule,
    User,
    poto_router,
    public,
    roles,
)
from fastapi_poto.auth.credentials import ManagedCredentials
from fastapi_poto.errors import Unauthenticated
from tests.secret import SECRET

pytestmark = pytest.mark.anyio

BAD = 'Bearer realm="poto", error="invalid_token"'


class Badge:
    """Callers with a badge that a proxy has checked; a header of one word."""

    security: Sequence[Any] = (APIKeyHeader(name="X-Badge", scheme_name="Badge"),)

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    async def authenticate(self, connection: HTTPConnection) -> Identity | None:
        badge = connection.headers.get("x-badge")
        if badge is None:
            return None
        if badge == "broken":
            raise ConnectionError("no card reader")
        if badge in self.revoked:
            raise Unauthenticated
        return Identity(User(f"badge:{badge}", frozenset({"staff"})), "badge", scopes=frozenset({"read"}))

    async def is_active(self, identity: Identity) -> bool:
        return identity.user.id.removeprefix("badge:") not in self.revoked


class Desk(PotoModule):
    async def fast(self, note: str) -> str:
        context = self.context
        return f"{self.user.id} {context.identity.kind if context.identity else ''}: {note}"

    async def slow(self, note: str, _: str = Depends(lambda: "x")) -> str:
        return f"{self.user.id}: {note}"

    @roles("staff")
    async def count(self) -> int:
        return await self.session.increment("n")

    @public
    async def hello(self) -> str:
        user = self.get_current_user()
        return user.id if user else "nobody"


def application(credentials: Sequence[Credentials] | None = None) -> FastAPI:
    app = FastAPI()
    app.include_router(poto_router(Desk, poto=Poto(SECRET, credentials=credentials)))
    plain = APIRouter()

    @plain.get("/plain")
    async def plain_route(user: CurrentUser, session: CurrentSession) -> str:
        return f"{user.id} {await session.increment('n')}"

    @plain.websocket("/socket")
    async def socket(socket: WebSocket, user: CurrentUser) -> None:
        await socket.accept()
        await socket.send_text(user.id)
        await socket.close()

    app.include_router(plain)
    return app


@pytest.fixture
def badge() -> Badge:
    return Badge()


@pytest.fixture
async def both(badge: Badge) -> AsyncIterator[httpx.AsyncClient]:
    async with client(application([OwnSignIn(), badge])) as http:
        yield http


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://desk")


async def test_each_way_is_known_on_each_path(both: httpx.AsyncClient) -> None:
    """A badge and a visitor's token open the fast path, the dependency path and plain routes alike."""
    visitor = (await both.post("/auth/visitor")).json()
    for name, headers in (
        ("badge:ann", {"X-Badge": "ann"}),
        (visitor["user_id"], {"Authorization": f"Bearer {visitor['access_token']}"}),
    ):
        kind = "badge" if name.startswith("badge") else "token"
        assert (await both.post("/Desk/fast", json={"note": "a"}, headers=headers)).json() == f"{name} {kind}: a"
        assert (await both.post("/Desk/slow", json={"note": "a"}, headers=headers)).json() == f"{name}: a"
        assert (await both.get("/plain", headers=headers)).json() == f"{name} 1"
        assert (await both.post("/Desk/hello", headers=headers)).json() == name
        assert (await both.get("/auth/me", headers=headers)).json()["user_id"] == name
    assert (await both.post("/Desk/count", headers={"X-Badge": "ann"})).json() == 2


async def test_the_first_that_knows_the_caller_decides(badge: Badge) -> None:
    """With two credentials in one request, the order of the list says whose caller it is."""
    for credentials, expected in (([OwnSignIn(), badge], "visitor_"), ([badge, OwnSignIn()], "badge:ann")):
        async with client(application(credentials)) as http:
            visitor = (await http.post("/auth/visitor")).json()
            headers = {"Authorization": f"Bearer {visitor['access_token']}", "X-Badge": "ann"}
            assert (await http.post("/Desk/hello", headers=headers)).json().startswith(expected)


@pytest.mark.parametrize("path", ["/Desk/fast", "/Desk/slow", "/plain", "/auth/me", "/Desk/hello"])
async def test_one_answer_for_credentials_that_do_not_hold(both: httpx.AsyncClient, badge: Badge, path: str) -> None:
    """401 with the same challenge on every path, before the body is read, whichever way refuses."""
    badge.revoked.add("ann")
    verb = "GET" if path in ("/plain", "/auth/me") else "POST"
    for headers in ({"X-Badge": "ann"}, {"Authorization": "Bearer nobody.knows.it"}, {"Authorization": "Bearer x"}):
        answer = await both.request(verb, path, content=b"no json", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == BAD
        assert answer.headers["cache-control"] == "no-store"
    if path != "/Desk/hello":
        answer = await both.request(verb, path, content=b"no json")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="poto"')


async def test_a_way_that_fails_lets_nobody_in(both: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    """What a way of one's own raises by mistake is 503, and in the log."""
    answer = await both.post("/Desk/hello", headers={"X-Badge": "broken"})
    assert answer.status_code == 503
    assert "no card reader" in caplog.text


async def test_roles_hold_whatever_the_way(both: httpx.AsyncClient) -> None:
    """A visitor has no role; a badge has one."""
    visitor = (await both.post("/auth/visitor")).json()
    refused = await both.post("/Desk/count", headers={"Authorization": f"Bearer {visitor['access_token']}"})
    assert refused.status_code == 403
    assert (await both.post("/Desk/count", headers={"X-Badge": "bob"})).status_code == 200


async def test_a_session_asks_whether_its_caller_still_holds(badge: Badge) -> None:
    """A call whose credentials end while it runs begins no session."""
    poto = Poto(SECRET, credentials=[badge])
    scope = {"type": "http", "headers": [(b"x-badge", b"ann")]}
    identity = await poto.authenticator.authenticate(scope)
    assert await poto.authenticator.is_active(identity)
    badge.revoked.add("ann")
    assert not await poto.authenticator.is_active(identity)


def test_websockets(badge: Badge) -> None:
    """`CurrentUser` of a WebSocket knows the same callers."""
    with (
        TestClient(application([OwnSignIn(), badge])) as http,
        http.websocket_connect("/socket", headers={"X-Badge": "ann"}) as socket,
    ):
        assert socket.receive_text() == "badge:ann"


async def test_own_sign_in_can_be_left_out(badge: Badge) -> None:
    """Without `OwnSignIn` there are no sign-in routes, its tokens are unknown, and `/auth/me` stays."""
    async with client(application()) as http:
        token = (await http.post("/auth/visitor")).json()["access_token"]
    async with client(application([badge])) as http:
        for route in ("visitor", "login", "refresh", "logout", "upgrade"):
            assert (await http.post(f"/auth/{route}")).status_code == 404
        headers = {"Authorization": f"Bearer {token}"}
        assert (await http.post("/Desk/fast", json={"note": "a"}, headers=headers)).status_code == 401
        assert (await http.get("/auth/me", headers={"X-Badge": "ann"})).json() == {
            "user_id": "badge:ann",
            "name": None,
            "roles": ["staff"],
            "visitor": False,
        }


async def test_signing_out_is_for_those_who_signed_in(both: httpx.AsyncClient) -> None:
    """A badge has no sign-in that could end here."""
    assert (await both.post("/auth/logout", headers={"X-Badge": "ann"})).status_code == 409


async def test_the_document_shows_every_way(both: httpx.AsyncClient, badge: Badge) -> None:
    """Methods, sign-in routes and plain routes with `CurrentUser` list the same ways; public methods none."""
    document = (await both.get("/openapi.json")).json()
    lock = [{"PotoBearer": []}, {"PotoPassword": []}, {"Badge": []}]
    for path, verb in (("/Desk/fast", "post"), ("/Desk/slow", "post"), ("/auth/me", "get"), ("/plain", "get")):
        assert document["paths"][path][verb]["security"] == lock, path
    assert document["paths"]["/Desk/hello"]["post"]["security"] == []
    assert document["components"]["securitySchemes"]["Badge"] == {"type": "apiKey", "in": "header", "name": "X-Badge"}
    async with client(application([badge])) as http:
        document = (await http.get("/openapi.json")).json()
        assert document["paths"]["/plain"]["get"]["security"] == [{"Badge": []}]
        assert list(document["components"]["securitySchemes"]) == ["Badge"]


def test_mistakes_are_seen_at_start_up() -> None:
    """No object with the methods, a class in place of one, and one without a list, are told what is missing."""
    lacking = "it lacks authenticate, is_active, security"
    for wrong, says in ((object(), lacking), (Badge, "not a class: call it"), (ApiKeys, "not a class: call it")):
        with pytest.raises(ConfigurationError, match=says):
            Poto(SECRET, credentials=[wrong])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match=r"Write credentials=\[…\]"):
        Poto(SECRET, credentials=OwnSignIn())  # type: ignore[arg-type]


def test_the_protocols() -> None:
    """The built-in way is managed by the runtime; one's own need not be."""
    assert isinstance(OwnSignIn(), ManagedCredentials)
    assert isinstance(Badge(), Credentials)
    assert not isinstance(Badge(), ManagedCredentials)
