"""An application to run."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from fastapi_poto import PotoModule, public


class Shop(PotoModule):
    @public
    async def get_status(self) -> str:
        return "open"

    async def count(self) -> int:
        return await self.session.increment("n")


def app_of(*routers: APIRouter) -> FastAPI:
    app = FastAPI()
    for router in routers:
        app.include_router(router)
    return app


def count(client: TestClient) -> Any:
    token = client.post("/auth/visitor").json()["access_token"]
    return client.post("/Shop/count", headers={"Authorization": f"Bearer {token}"}).json()
