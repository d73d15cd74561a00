"""`Poto.cors()`: what a page of another origin may send and read, by Starlette's own middleware."""

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from fastapi_poto import ConfigurationError, Poto, PotoModule, poto_router
from tests.secret import SECRET

pytestmark = pytest.mark.anyio
ORIGIN = "https://app.example"
SENT = ["Authorization", "Content-Type", "Last-Event-ID", "Poto-Timeout-Ms", "X-Poto-Transport", "X-Request-ID"]


class Desk(PotoModule):
    async def act(self) -> None: ...

    async def crash(self) -> None:
        raise RuntimeError


def client_of(poto: Poto) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(poto_router(Desk, poto=poto))
    app.add_middleware(CORSMiddleware, **poto.cors())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://api.test", headers={"Origin": ORIGIN})


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_what_may_be_sent(verb: str) -> None:
    """Every header of the wire with every verb, from the listed origins alone."""
    asked = {"Access-Control-Request-Method": verb, "Access-Control-Request-Headers": ", ".join(SENT).lower()}
    async with client_of(Poto(SECRET, allowed_origins=[ORIGIN.upper() + "/"])) as client:
        answer = await client.options("/Desk/act", headers=asked)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert answer.headers["access-control-max-age"] == "7200"
        assert "access-control-allow-credentials" not in answer.headers
        answer = await client.options("/Desk/act", headers=asked | {"Origin": "https://elsewhere.example"})
        assert answer.status_code == 400


async def test_what_may_be_read() -> None:
    """Of refusals before the call, and of failures in it."""
    async with client_of(Poto(SECRET, allowed_origins=[ORIGIN])) as client:
        refused = await client.post("/Desk/act")
        assert refused.status_code == 401
        token = (await client.post("/auth/visitor")).json()["access_token"]
        failed = await client.post("/Desk/crash", headers={"Authorization": f"Bearer {token}"})
        assert failed.status_code == 500
    for answer in (refused, failed):
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        exposed = set(answer.headers["access-control-expose-headers"].split(", "))
        assert exposed == {"WWW-Authenticate", "Retry-After", "X-Request-ID", "Content-Disposition", "Content-Location"}


async def test_cookies_are_for_those_who_use_them() -> None:
    """Credentials are allowed only where sign-in by cookies is on."""
    async with client_of(Poto(SECRET, cookies=True, allowed_origins=[ORIGIN])) as client:
        assert (await client.post("/Desk/act")).headers["access-control-allow-credentials"] == "true"


def test_without_origins() -> None:
    """A middleware that lets nobody in is a mistake."""
    with pytest.raises(ConfigurationError, match=r"Write Poto\(allowed_origins=\[…\]\)"):
        Poto(SECRET).cors()
