"""The same document as OpenAPI 3.2, which has words for streams, served beside FastAPI's 3.1."""

import copy
from typing import Any, Final
from weakref import WeakKeyDictionary

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .install import refine_openapi
from .poto_routes import Document, poto_operations

VERSION: Final = "3.2.0"
_EVENT_STREAM = "text/event-stream"
_MADE: WeakKeyDictionary[FastAPI, tuple[Document, Document]] = WeakKeyDictionary()
"""What was made for an application, and of which document."""


def openapi_3_2(app: FastAPI) -> Document:
    """The document of an application as OpenAPI 3.2: the streams of modules say what each event is."""
    source = app.openapi()
    made_of, made = _MADE.get(app, (None, {}))
    if made_of is not source:
        made = _converted(app, copy.deepcopy(source))
        _MADE[app] = source, made
    return made


def _converted(app: FastAPI, source: Document) -> Document:
    document = refine_openapi(app, source)  # a function of the application's own may not have
    document["openapi"] = VERSION
    for one in poto_operations(document, app.routes):
        content = one.shown["responses"].get("200", {}).get("content", {})
        schema = content.get(_EVENT_STREAM, {}).get("schema")
        if schema is not None and (one.operation is None or one.operation.kind == "stream"):
            *items, error = schema.get("oneOf") or schema["anyOf"]
            item = items[0] if len(items) == 1 else {"oneOf": items}
            content[_EVENT_STREAM] = {"itemSchema": _event(item, error)}
    return document


def _event(item: Any, error: Any) -> dict[str, Any]:
    """The fields of a server-sent event, parsed, as OpenAPI 3.2 describes them (section 4.14.3)."""
    text = {"type": "string"}
    return {
        "anyOf": [
            {
                "type": "object",
                "description": "An item.",
                "properties": {"data": _json(item), "event": text, "id": text, "retry": {"type": "integer"}},
                "required": ["data"],
            },
            {
                "type": "object",
                "description": "The stream failed.",
                "properties": {"event": {"type": "string", "const": "error"}, "data": _json(error), "id": text},
                "required": ["event", "data"],
            },
            {
                "type": "object",
                "description": "The stream ended well.",
                "properties": {"event": {"type": "string", "const": "close"}, "id": text},
                "required": ["event"],
            },
        ]
    }


def _json(schema: Any) -> dict[str, Any]:
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}


def path_of(app: Any) -> str | None:
    """Where an application serves it: `/openapi-3.2.json` beside `/openapi.json`.

    None if it serves no document, or by a route of its own, which may have a guard.
    """
    url: str | None = getattr(app, "openapi_url", None)
    if not url:
        return None
    route = next((route for route in app.router.routes if getattr(route, "path", None) == url), None)
    if getattr(getattr(route, "endpoint", None), "__module__", None) != FastAPI.__module__:
        return None
    folder, _, name = url.rpartition("/")
    stem, dot, suffix = name.partition(".")
    return f"{folder}/{stem}-3.2{dot}{suffix}"


def document_at(app: Any, path: str) -> ASGIApp | None:
    """The ASGI application that serves a document at this path, if there is one."""
    return _serve if "-3.2" in path and path == path_of(app) else None


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    app: FastAPI = scope["app"]
    request = Request(scope, receive)
    if request.method not in ("GET", "HEAD"):
        await JSONResponse({"detail": "Method Not Allowed"}, 405, {"Allow": "GET, HEAD"})(scope, receive, send)
        return
    document = openapi_3_2(app)
    root = scope.get("root_path", "").rstrip("/")
    servers = document.get("servers", [])
    if root and app.root_path_in_servers and root not in {server.get("url") for server in servers}:
        document = {**document, "servers": [{"url": root}, *servers]}  # as FastAPI does for its own
    await JSONResponse(document)(scope, receive, send)
