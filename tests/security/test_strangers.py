"""Threat 40: where strangers get, and how to keep them out."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI

from fastapi_poto import CurrentUser, Poto, PotoModule, named, poto_router, public, roles
from fastapi_poto.audit import audit
from fastapi_poto.testing import serve
from tests.secret import SECRET
from tests.security.world import H1, PASSWORD, headers_of, is_refused, world


def number() -> int:
    return 1


class Paid(PotoModule):
    """Something that costs money."""

    async def get_open_to_visitors(self) -> int:
        return 1

    @named
    async def get_tokens(self) -> int:
        return 1

    @named
    async def get_solved(self, n: Annotated[int, Depends(number)]) -> int:
        return n

    @named
    async def stream(self) -> AsyncIterator[int]:
        yield 1

    @named
    @roles("clerk")
    async def get_report(self) -> int:
        return 1

    @public
    async def get_price(self) -> int:
        return 1


@named
class Whole(PotoModule):
    """A class of which the same is true."""

    async def get_all(self) -> int:
        return 1

    @public
    async def get_price(self) -> int:
        return 1


class Behind(PotoModule):
    """Mounted where visitors do not count."""

    async def get_all(self) -> int:
        return 1

    @roles("clerk")
    async def get_report(self) -> int:
        return 1

    @public
    async def get_price(self) -> int:
        return 1


CLOSED = ["/Paid/tokens", "/Paid/solved", "/Paid/report", "/Whole/all", "/behind/Behind/all", "/behind/Behind/report"]
OPEN = ["/Paid/open_to_visitors", "/Paid/price", "/Whole/price", "/behind/Behind/price"]


def make_app(**options: Any) -> tuple[FastAPI, Poto]:
    poto = Poto(SECRET, **options)
    app = FastAPI()
    app.include_router(poto_router(Paid, Whole, poto=poto))
    app.include_router(poto_router(Behind, poto=poto, auth=False, visitors=False), prefix="/behind")

    @app.get("/plain")
    async def plain(user: CurrentUser) -> str:
        return user.id

    return app, poto


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    app, _ = make_app()
    with serve(app) as live, httpx.Client(base_url=live.url) as http:
        yield http


def test_40_named_keeps_visitors_out(http: httpx.Client) -> None:
    """Threat 40: on a method, a class, a router, beside roles, on both paths and of streams: 403; with a name 200."""
    visitor = http.post("/auth/visitor").json()
    for paths, status in ((CLOSED, 403), (OPEN, 200)):
        for path in paths:
            assert (path, http.get(path, headers=headers_of(visitor)).status_code) == (path, status)
    assert http.post("/Paid/stream", headers=headers_of(visitor)).status_code == 403
    refused = http.get("/Paid/tokens", headers=headers_of(visitor))
    assert refused.json() == {"code": "forbidden", "detail": "Not for visitors"}
    assert http.get("/Paid/tokens").status_code == 401
    body = {"username": "ann", "password": PASSWORD}
    ann = http.post("/auth/upgrade", headers=headers_of(visitor), json=body).json()
    statuses = {path: http.get(path, headers=headers_of(ann)).status_code for path in CLOSED}
    assert statuses == {path: 403 if path.endswith("report") else 200 for path in CLOSED}


def test_40_visitors_switched_off() -> None:
    """Threat 40: no route, no entry in the document, and visitors of before are strangers, too."""
    with world() as before:
        visitor = before.visitor()
        with world(store=before.poto.store, users=before.poto.users, visitors=False) as own:
            assert [own.http.post(f"/auth/{name}").status_code for name in ("visitor", "upgrade")] == [404, 404]
            assert is_refused(own.get("/Vault/me", visitor["access_token"]), H1)
            assert is_refused(own.refresh(visitor), H1)
            assert own.login(visitor["user_id"], visitor["password"]).status_code == 401
            paths = own.http.get("/openapi.json").json()["paths"]
            assert {path for path in paths if path.startswith("/auth/")} == {
                "/auth/login", "/auth/refresh", "/auth/logout", "/auth/me", "/auth/health",
            }  # fmt: skip
            own.user()
            assert own.login().status_code == 200


def test_40_registration_switched_off() -> None:
    """Threat 40: visitors come, but cannot give themselves a name."""
    with world(registration=False) as own:
        visitor = own.visitor()
        assert own.post("/auth/upgrade", visitor, username="ann", password=PASSWORD).status_code == 404
        assert "/auth/upgrade" not in own.http.get("/openapi.json").json()["paths"]


def test_40_zero_is_none() -> None:
    """Threat 40: a limit of 0 lets nobody in, None everybody."""
    with world(visitors_per_hour=0) as own:
        assert own.http.post("/auth/visitor").status_code == 429


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"/Paid/open_to_visitors": "2", "/Paid/tokens": "3", "/Paid/report": "no", "/Paid/price": "1",
              "/plain": "2",
              "/behind/Behind/all": "3", "/Whole/all": "3"}),
        ({"registration": False}, {"/Paid/open_to_visitors": "2", "/Paid/tokens": "no", "/plain": "2"}),
        ({"visitors": False}, {"/Paid/open_to_visitors": "no", "/Paid/tokens": "no", "/plain": "no"}),
        ({"visitors_per_hour": 0}, {"/Paid/open_to_visitors": "no", "/plain": "no"}),
    ],
)  # fmt: skip
def test_40_the_audit_says_so(options: dict[str, Any], expected: dict[str, str]) -> None:
    """Threat 40: of each route, in how many requests a stranger gets there."""
    app, _ = make_app(**options)
    lines = [line.split() for line in str(audit(app)).splitlines()]
    assert lines[0][-1] == "stranger"
    told = {line[1]: line[-1] for line in lines if len(line) > 2 and line[1].startswith("/")}
    assert {path: told[path] for path in expected} == expected
