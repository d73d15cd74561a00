"""Which operations of a document are poto routes: methods of modules, and sign-in routes."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute

from ..operations import Operation

Document = dict[str, Any]
OperationObject = dict[str, Any]


class PotoOperation(NamedTuple):
    """The operation object of one poto route."""

    shown: OperationObject
    route: Any
    operation: Operation | None
    """None for a sign-in route."""

    @property
    def has_cookies(self) -> bool:
        return self.route.poto.cookies is not None


def is_poto_route(context: RouteContext) -> bool:
    """Whether a route is a module's method or a sign-in route."""
    return getattr(context.original_route, "poto", None) is not None


def has_poto_routes(routes: Sequence[BaseRoute]) -> bool:
    """Whether an application serves any module."""
    return any(map(is_poto_route, iter_route_contexts(routes)))


def poto_operations(document: Document, routes: Sequence[BaseRoute]) -> list[PotoOperation]:
    """The poto routes that the document has."""
    found: dict[tuple[str, str], PotoOperation | None] = {}
    for context in iter_route_contexts(routes):
        route = context.original_route
        path = context.path_format
        if path is None or not isinstance(route, APIRoute) or not context.include_in_schema:
            continue
        for method in context.methods or ():
            shown = document.get("paths", {}).get(path, {}).get(method.lower())
            if shown is None:
                continue
            # Of two routes with one path FastAPI documents the later.
            is_poto = is_poto_route(context)
            found[path, method] = PotoOperation(shown, route, cast("Any", route).poto_spec) if is_poto else None
    return [one for one in found.values() if one is not None]
