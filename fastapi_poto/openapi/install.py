"""Where the document is refined: in `FastAPI.openapi` of applications that include a poto router, or by hand."""

from functools import wraps
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from .._compat.fastapi import marked_schemas
from .operation_ids import check_operation_ids
from .poto_routes import Document, has_poto_routes, is_poto_route


def refine_openapi(app: FastAPI, document: Document) -> Document:
    """Refine a document of `app`, for an application with an `openapi` function of its own.

    Changes `document` in place and gives it back; refined before, it stays as it is.
    Raises `ConfigurationError` if two operations share an id.
    """
    check_operation_ids(app.routes)
    return _refine(app, document)


def _refine(app: FastAPI, document: Document, *, alone: Document | None = None) -> Document:
    from .document import refine  # slow to import, and only needed where somebody looks at the document

    return refine(document, app.routes, alone=alone)


def _of_others(app: FastAPI) -> Document:
    """The document of an application without the poto routes."""
    return get_openapi(
        title=app.title,
        version=app.version,
        routes=[context for context in iter_route_contexts(app.routes) if not is_poto_route(context)],
        webhooks=app.webhooks.routes,
        separate_input_output_schemas=app.separate_input_output_schemas,
    )


def install() -> None:
    """Let applications that include poto routers refine their documents."""
    # FastAPI gives a router no hook to the document of its application: only the class sees every one of them.
    original = FastAPI.openapi
    if hasattr(original, "__poto__"):
        return

    @wraps(original)
    def openapi(self: FastAPI) -> dict[str, Any]:
        if not has_poto_routes(self.routes):
            return original(self)
        check_operation_ids(self.routes)  # hides what two routers bring twice: before FastAPI looks
        before = self.openapi_schema
        with marked_schemas():
            document = original(self)  # the same one again, unless routes were added
        return document if document is before else _refine(self, document, alone=_of_others(self))

    openapi.__poto__ = True  # type: ignore[attr-defined]
    FastAPI.openapi = openapi  # type: ignore[method-assign]
