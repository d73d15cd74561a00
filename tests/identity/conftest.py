"""An issuer, and an application that trusts it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI

from fastapi_poto import OIDC, CurrentUser, OwnSignIn, Poto, PotoModule, poto_router, public, roles
from fastapi_poto.testing import Clock
from tests.identity.issuer import Issuer, serve_issuer
from tests.secret import SECRET


@pytest.fixture(scope="session")
def _issuer() -> Iterator[Issuer]:
    with serve_issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(_issuer: Issuer) -> Iterator[Issuer]:
    keys = dict(_issuer.keys)
    _issuer.fetched.clear()
    yield _issuer
    _issuer.keys = keys
    _issuer.answers.clear()


class Desk(PotoModule):
    async def who(self) -> dict[str, Any]:
        user, identity = self.user, self.context.identity
        assert identity is not None
        return {
            "id": user.id,
            "roles": sorted(user.roles),
            "name": user.name,
            "scopes": sorted(identity.scopes),
            "kind": identity.kind,
            "tenant": user.claims.get("tid"),
        }

    async def solved(self, _: str = Depends(lambda: "")) -> str:
        return self.user.id

    @roles("staff")
    async def count(self) -> int:
        return await self.session.increment("n")

    @public
    async def hello(self) -> str:
        user = self.get_current_user()
        return user.id if user else "nobody"


@dataclass
class World:
    poto: Poto
    http: httpx.AsyncClient
    clock: Clock
    oidc: Any

    async def call(self, token: str, path: str = "/Desk/who", **more: Any) -> httpx.Response:
        return await self.http.post(path, headers={"Authorization": f"Bearer {token}"}, **more)

    async def status(self, token: str, path: str = "/Desk/who") -> int:
        return (await self.call(token, path)).status_code


MakeWorld = Callable[..., World]


def make_world(issuer: Issuer, *, more: Any = (), poto: dict[str, Any] | None = None, **options: Any) -> World:
    clock = Clock()
    oidc = OIDC(options.pop("url", issuer.url), **{"audience": "shop", "name": "corp", **options})
    runtime = Poto(SECRET, credentials=[OwnSignIn(), oidc, *more], clock=clock, **(poto or {}))
    app = FastAPI()
    app.include_router(poto_router(Desk, poto=runtime))

    @app.get("/plain")
    async def plain(user: CurrentUser) -> str:
        return user.id

    return World(
        runtime, httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://desk"), clock, oidc
    )


@pytest.fixture
def world(issuer: Issuer) -> World:
    return make_world(issuer, roles="realm_access.roles")


async def identity_of(world: World, token: str) -> Any:
    scope = {"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]}
    return await world.poto.authenticator.authenticate(scope)
