"""The application under test."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from fastapi_poto import Poto, poto_router
from tests.secret import SECRET
from tests.streams.modules.leaving import OPEN, Depending, Leaving, Quick
from tests.streams.modules.resuming import Deadlines, Private, Resuming
from tests.streams.modules.scopes import Scopes, Whose
from tests.streams.modules.wire import Wire


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    print(f"lifespan ends, {len(OPEN)} generators open", flush=True)


def make_stored_app() -> FastAPI:
    """The application on the store that the environment names."""
    return make_app(store=os.environ["TEST_STORE"])


def make_app(*, store: Any = "memory://", **options: Any) -> FastAPI:
    """All modules; `Quick` with timeouts that a test can wait for."""
    app = FastAPI(lifespan=lifespan)
    poto = Poto(SECRET, store=store, **options)
    quick = Poto(SECRET, ping_interval=0.15, send_timeout=0.5, cleanup_timeout=0.3, retry=2.5)
    app.include_router(
        poto_router(Wire, Leaving, Depending, Scopes, Whose, Deadlines, Resuming, Private, poto=poto),
    )
    app.include_router(poto_router(Quick, poto=quick, auth=False))
    app.state.poto = poto
    return app
