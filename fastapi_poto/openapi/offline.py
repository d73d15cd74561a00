"""`/docs` and `/redoc` without a network: their scripts and styles come from this server."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import BaseRoute, Route

from ..errors import ConfigurationError

_PATH = "/_docs"
_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js", "favicon.png")


def offline_docs(app: FastAPI) -> None:
    """Serve the pages that `app` has at `docs_url` and `redoc_url` without a CDN.

    Call it once, before the first request.
    Raises `ConfigurationError` without the extra `offline`.
    """
    files = _assets()
    urls = {app.docs_url, app.redoc_url, app.swagger_ui_oauth2_redirect_url if app.docs_url else None} - {None}
    if app.openapi_url is None or not urls:
        raise ConfigurationError("offline_docs(app): the application has no docs. Give it openapi_url and docs_url.")
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", None) not in urls]
    openapi_url = app.openapi_url

    async def swagger_ui(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        redirect = app.swagger_ui_oauth2_redirect_url
        return get_swagger_ui_html(
            openapi_url=root + openapi_url,
            title=f"{app.title} - Swagger UI",
            oauth2_redirect_url=root + redirect if redirect else None,
            init_oauth=app.swagger_ui_init_oauth,
            swagger_ui_parameters=app.swagger_ui_parameters,
            swagger_js_url=f"{root}{_PATH}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{_PATH}/swagger-ui.css",
            swagger_favicon_url=f"{root}{_PATH}/favicon.png",
        )

    async def redirect(request: Request) -> HTMLResponse:
        return get_swagger_ui_oauth2_redirect_html()

    async def redoc(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        return get_redoc_html(
            openapi_url=root + openapi_url,
            title=f"{app.title} - ReDoc",
            redoc_js_url=f"{root}{_PATH}/redoc.standalone.js",
            redoc_favicon_url=f"{root}{_PATH}/favicon.png",
            with_google_fonts=False,
        )

    async def asset(request: Request) -> FileResponse:
        return FileResponse(files / request.url.path.rpartition("/")[2], headers={"Cache-Control": "max-age=3600"})

    # Not a mount: behind a proxy that strips the root path, StaticFiles would not find its files.
    routes: list[BaseRoute] = [Route(f"{_PATH}/{name}", asset, include_in_schema=False) for name in _ASSETS]
    if app.docs_url:
        routes.append(Route(app.docs_url, swagger_ui, include_in_schema=False))
        if app.swagger_ui_oauth2_redirect_url:
            routes.append(Route(app.swagger_ui_oauth2_redirect_url, redirect, include_in_schema=False))
    if app.redoc_url:
        routes.append(Route(app.redoc_url, redoc, include_in_schema=False))
    app.router.routes[:0] = routes  # where FastAPI's own were: before whatever catches all paths


def _assets() -> Path:
    try:
        import fastapi_offline
    except ImportError:
        raise ConfigurationError("offline_docs(app) needs the extra: pip install 'fastapi-poto[offline]'.") from None
    return Path(fastapi_offline.__file__).parent / "static"
