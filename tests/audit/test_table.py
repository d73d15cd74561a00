"""The table: every route, who may call it, and the way a call takes."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, UploadFile, WebSocket
from fastapi.routing import iter_route_contexts
from starlette.staticfiles import StaticFiles

from fastapi_poto import CurrentUser, Poto, PotoModule, poto_router, public, roles, rpc
from fastapi_poto.audit import Row, audit
from fastapi_poto.routing import PotoRoute
from tests.secret import SECRET


def needed() -> int:
    return 1


class Every(PotoModule):
    """One of each."""

    def get_one(self, a: int = 0) -> int:
        return a

    @public
    async def open_to_all(self) -> None: ...

    @roles("admin", "editor")
    async def delete_all(self) -> None: ...

    @rpc(resumable=True)
    async def watch(self) -> AsyncIterator[int]:
        yield 1

    async def download(self) -> AsyncIterator[bytes]:
        yield b""

    async def upload(self, file: UploadFile) -> bytes:
        return b""

    async def solved(self, n: Annotated[int, Depends(needed)]) -> int:
        return n

    @rpc(path="item/{number}")
    async def placed(self, number: int) -> int:
        return number


def make_app() -> FastAPI:
    app = FastAPI()
    poto = Poto(SECRET)
    app.include_router(poto_router(Every, poto=poto), prefix="/api")
    guarded = APIRouter(dependencies=[Depends(needed)])

    class Behind(Every):
        """The same behind a dependency of a router."""

    guarded.include_router(poto_router(Behind, poto=poto, auth=False), prefix="/behind")
    app.include_router(guarded)

    @app.get("/plain")
    async def plain() -> None: ...

    @app.get("/mine")
    async def mine(user: CurrentUser) -> None: ...

    @app.post("/keyed")
    async def keyed(key: Annotated[int, Depends(needed)]) -> None: ...

    @app.websocket("/ws")
    async def ws(socket: WebSocket) -> None: ...

    return app


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return make_app()


def by_path(app: Any) -> dict[tuple[str, str], Row]:
    return {(row.verb, row.path): row for row in audit(app).rows}


def test_methods(app: FastAPI) -> None:
    """Verb, path, guard, kind, way and module of each."""
    shown = {
        (row.verb, row.path, row.guard, row.kind, row.way)
        for row in audit(app).rows
        if row.module == "Every" and row.path.startswith("/api")
    }
    assert shown == {
        ("GET", "/api/Every/one", "signed in", "unary", "fast path"),
        ("POST", "/api/Every/open_to_all", "public", "empty", "fast path"),
        ("DELETE", "/api/Every/all", "roles: admin, editor", "empty", "fast path"),
        ("POST", "/api/Every/watch", "signed in", "stream, resumable", "fast path"),
        ("POST", "/api/Every/download", "signed in", "byte_stream", "fast path"),
        ("POST", "/api/Every/upload", "signed in", "bytes", "dependency path (form)"),
        ("POST", "/api/Every/solved", "signed in", "unary", "dependency path (n)"),
        ("POST", "/api/Every/item/{number}", "signed in", "unary", "dependency path (number)"),
    }


def test_every_other_route(app: FastAPI) -> None:
    """Sign-in, plain routes with what may guard them, documents, web sockets."""
    table = by_path(app)
    assert table["POST", "/api/auth/visitor"].guard == "public"
    assert table["POST", "/api/auth/logout"].guard == "signed in"
    assert table["GET", "/api/streams"].guard == "signed in"
    assert (table["DELETE", "/api/streams/{stream_id}"].kind, table["GET", "/api/streams"].module) == (
        "streams",
        "Streams",
    )
    assert table["GET", "/plain"].guard == "public"
    assert table["GET", "/mine"].guard == "signed in"
    assert table["POST", "/keyed"].guard == "its own: needed"
    assert table["GET", "/openapi.json"].kind == "document"
    assert ("WS", "/ws") in table
    assert table["GET", "/behind/Behind/one"].way == "dependency path (dependencies of the router)"


def test_the_way_is_the_one_that_is_taken(app: FastAPI) -> None:
    """What the table says of each method, the router does."""
    table = by_path(app)
    checked = 0
    for context in iter_route_contexts(app.routes):
        if isinstance(route := context.original_route, PotoRoute):
            said = table[route.poto_spec.verb, context.path or ""].way
            assert (said == "fast path") is route.mounted(context._route_context)._is_fast, context.path
            checked += 1
    assert checked == 16


def test_mounted_applications(app: FastAPI, tmp_path: Any) -> None:
    """Their routes are in the table, under their path; what has no routes is one line."""
    outer = FastAPI()
    outer.mount("/v1", app)
    outer.mount("/static", StaticFiles(directory=tmp_path))
    table = by_path(outer)
    assert table["GET", "/v1/api/Every/one"].way == "fast path"
    assert table["*", "/static"].kind == "StaticFiles"


def test_as_text(app: FastAPI) -> None:
    """Columns, one line a route, and a last line that counts."""
    lines = str(audit(app)).splitlines()
    assert lines[0].split() == ["verb", "path", "guard", "kind", "way", "module", "stranger"]
    shown = ["GET", "/api/Every/one", "signed", "in", "unary", "fast", "path", "Every", "2"]
    assert any(line.split() == shown for line in lines)
    assert lines[-1] == f"{len(audit(app).rows)} routes, 16 of them methods; no errors, no warnings"
