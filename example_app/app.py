"""The app: four modules, one runtime, and an admin who is made at the first start."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse

from fastapi_poto import Poto, poto_router
from fastapi_poto.errors import UsernameTaken
from fastapi_poto.openapi import poto_docs

from .admin import Admin
from .chat import Chat
from .room import Room, keep_listening
from .shop import Shop

ADMIN = "admin"
log = logging.getLogger("uvicorn.error")


def make_app(secret: str | None = None, store: str = "memory://") -> FastAPI:
    """`store` is `memory://`, `sqlite:///file.db`, `postgresql://…` or `redis://…`."""
    poto = Poto(secret, store=store)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with poto.running():
            await _make_admin(poto)
            listening = asyncio.create_task(keep_listening(poto))
            yield
            listening.cancel()

    app = FastAPI(title="Tea shop", version="1.0", lifespan=lifespan)
    app.include_router(poto_router(Shop, Chat, Room, Admin, poto=poto))

    @app.get("/room", include_in_schema=False)
    def room() -> FileResponse:
        return FileResponse(Path(__file__).with_name("room.html"))

    poto_docs(app)  # /docs plays streams, and needs no CDN
    return app


async def _make_admin(poto: Poto) -> None:
    """Everybody else registers over the wire; a role can only be given by code that runs here."""
    if await poto.users.find(ADMIN) is None:
        password = secrets.token_urlsafe(12)
        with suppress(UsernameTaken):  # another process on this store was faster
            await poto.accounts.create(ADMIN, password, roles=["admin"])
            log.warning("Made the user %r with the password %s  (shown this once)", ADMIN, password)
