"""Run by test_canaries.py: an application on a FastAPI that keeps its records of inclusions elsewhere."""

import types
import warnings
from collections.abc import AsyncIterator
from typing import Annotated, Any

import fastapi
import fastapi.routing

# What the package sees of the module; FastAPI itself goes on with its own.
hidden = types.ModuleType("fastapi.routing")
hidden.__dict__.update(
    {name: one for name, one in vars(fastapi.routing).items() if name != "_get_scope_included_router"}
)
fastapi.routing = hidden  # type: ignore[assignment]

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import fastapi_poto
assert ["FastAPI keeps its records" in str(one.message) for one in caught].count(True) == 1, caught

from fastapi import Depends, FastAPI, Header, HTTPException  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from fastapi_poto.auth.dependencies import current_user  # noqa: E402
from fastapi_poto.users import User  # noqa: E402

SECRET = "Jq8vN2xR5tB7wK9mZ4cH6pL1sD3fG0yA-without-records"


class Line(BaseModel):
    sku: str
    quantity: int = 1


class Shop(fastapi_poto.PotoModule):
    @fastapi_poto.public
    async def get_status(self) -> str:
        return "open"

    async def add_line(self, line: Line, note: str | None = None) -> str:
        return f"{self.user.id} {line.sku} {line.quantity} {note}"

    async def get_lines(self, sku: str, limit: int = 5) -> list[str]:
        return [sku] * limit

    async def solved(self, sku: str, got: Annotated[str, Header()]) -> str:
        return sku + got

    async def watch(self, limit: int) -> AsyncIterator[int]:
        for number in range(limit):
            yield number

    @fastapi_poto.roles("admin")
    async def get_secret(self) -> int:
        return 1


def guard(x_guard: Annotated[str | None, Header()] = None) -> None:
    if x_guard == "no":
        raise HTTPException(418)


app: Any = FastAPI()
app.include_router(
    fastapi_poto.poto_router(Shop, poto=fastapi_poto.Poto(SECRET)),
    prefix="/v1",
    dependencies=[Depends(guard)],
)
with TestClient(app) as client:
    assert client.get("/v1/Shop/status").json() == "open"
    assert client.get("/v1/Shop/status", headers={"x-guard": "no"}).status_code == 418
    assert client.post("/v1/Shop/add_line", json={"line": {"sku": "a"}}).status_code == 401
    pair = client.post("/v1/auth/visitor").json()
    client.headers["authorization"] = f"Bearer {pair['access_token']}"
    added = client.post("/v1/Shop/add_line", json={"line": {"sku": "a"}, "note": "n"})
    assert added.json() == f"{pair['user_id']} a 1 n", added.text
    assert client.post("/v1/Shop/add_line", json={"line": {}}).status_code == 422
    assert client.get("/v1/Shop/lines?sku=b&limit=2").json() == ["b", "b"]
    assert client.post("/v1/Shop/solved", json={"sku": "c"}, headers={"got": "d"}).json() == "cd"
    assert client.get("/v1/Shop/secret").status_code == 403
    assert "event: close" in client.post("/v1/Shop/watch", json={"limit": 2}).text
    assert client.post("/v1/Shop/status").status_code == 405
    app.dependency_overrides[current_user] = lambda: User("boss", roles=frozenset({"admin"}))
    assert client.get("/v1/Shop/secret").json() == 1
