"""`/docs` with streams that play, and `/docs` and `/redoc` without a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import BaseRoute, Route

from ..errors import ConfigurationError

_PATH: Final = "/_docs"
_PLUGIN: Final = Path(__file__).with_name("docs_page.js")
_SWAGGER: Final = {
    "swagger_js_url": "swagger-ui-bundle.js",
    "swagger_css_url": "swagger-ui.css",
    "swagger_favicon_url": "favicon.png",
}
_REDOC: Final = {"redoc_js_url": "redoc.standalone.js", "redoc_favicon_url": "favicon.png"}


def poto_docs(app: FastAPI, *, offline: bool = True) -> None:
    """Serve the pages that `app` has at `docs_url` and `redoc_url`, with streams that show their items as they come.

    Scripts and styles come from this server, or with `offline=False` from the CDN that FastAPI uses.
    Call it once, before the first request. Raises `ConfigurationError` without the extra `offline`.
    """
    urls = {app.docs_url, app.redoc_url, app.swagger_ui_oauth2_redirect_url if app.docs_url else None} - {None}
    if app.openapi_url is None or not urls:
        raise ConfigurationError("poto_docs(app): the application has no docs. Give it openapi_url and docs_url.")
    files = {_PLUGIN.name: _PLUGIN} | (_assets() if offline else {})
    openapi_url = app.openapi_url

    def from_here(root: str, names: dict[str, str]) -> dict[str, Any]:
        return {argument: f"{root}{_PATH}/{name}" for argument, name in names.items()} if offline else {}

    async def swagger_ui(request: Request) -> HTMLResponse:
        root = _root(request)
        redirect = app.swagger_ui_oauth2_redirect_url
        page = get_swagger_ui_html(
            openapi_url=root + openapi_url,
            title=f"{app.title} - Swagger UI",
            oauth2_redirect_url=root + redirect if redirect else None,
            init_oauth=app.swagger_ui_init_oauth,
            swagger_ui_parameters=app.swagger_ui_parameters,
            **from_here(root, _SWAGGER),
        )
        # The first script of the page is Swagger UI, the second starts it.
        plugin = f'</script>\n    <script src="{root}{_PATH}/{_PLUGIN.name}"></script>'
        return HTMLResponse(bytes(page.body).decode().replace("</script>", plugin, 1))

    async def redirect(request: Request) -> HTMLResponse:
        return get_swagger_ui_oauth2_redirect_html()

    async def redoc(request: Request) -> HTMLResponse:
        root = _root(request)
        return get_redoc_html(
            openapi_url=root + openapi_url,
            title=f"{app.title} - ReDoc",
            with_google_fonts=not offline,
            **from_here(root, _REDOC),
        )

    async def asset(request: Request) -> FileResponse:
        name = request.url.path.rpartition("/")[2]
        return FileResponse(files[name], headers={"Cache-Control": "max-age=3600"})

    pages: dict[str | None, Callable[..., Any]] = {
        app.docs_url: swagger_ui,
        app.swagger_ui_oauth2_redirect_url if app.docs_url else None: redirect,
        app.redoc_url: redoc,
    }
    # Not a mount: behind a proxy that strips the root path, StaticFiles would not find its files.
    routes: list[BaseRoute] = [Route(f"{_PATH}/{name}", asset, include_in_schema=False) for name in files]
    routes += [Route(url, page, include_in_schema=False) for url, page in pages.items() if url]
    # Where FastAPI's own were: before whatever catches all paths.
    app.router.routes[:] = [
        *routes, *(route for route in app.router.routes if getattr(route, "path", None) not in urls)
    ]  # fmt: skip


def _root(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def _assets() -> dict[str, Path]:
    try:
        import fastapi_offline
    except ImportError:
        raise ConfigurationError(
            'poto_docs(app) needs a package that is not installed. Run: pip install "fastapi-offline>=1.7". '
            "Or write poto_docs(app, offline=False), for pages that load from a CDN."
        ) from None
    folder = Path(fastapi_offline.__file__).parent / "static"
    return {name: folder / name for name in {*_SWAGGER.values(), *_REDOC.values()}}
