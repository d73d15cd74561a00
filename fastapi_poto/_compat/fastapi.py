"""What is read of FastAPI without being published.

Its records of included routers: by them a router finds a method in one look-up, and knows the path, the dependencies
and the limits that hold where it is included. Where they cannot be read, `ARE_INCLUSIONS_KNOWN` is False and requests
take FastAPI's own way (`APIRouter.matches`): slower, and FastAPI validates what the call validates again.
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import fastapi.routing
from fastapi import APIRouter, Response, params
from fastapi.datastructures import DefaultPlaceholder
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Scope

_routing: Any = fastapi.routing
try:
    import fastapi._compat.v2 as _loaded

    _v2: Any = _loaded
except ImportError:
    _v2 = None
_RECORDS = {"_IncludedRouter": "effective_candidates", "_EffectiveRouteContext": "from_api_route"}
_READERS = ("_get_scope_included_router", "_get_scope_effective_route_context")
ARE_INCLUSIONS_KNOWN = all(hasattr(getattr(_routing, name, None), method) for name, method in _RECORDS.items()) and all(
    hasattr(_routing, name) for name in _READERS
)
if not ARE_INCLUSIONS_KNOWN:
    warnings.warn(
        "This release of FastAPI keeps its records of included routers where fastapi_poto does not find them: "
        "calls work, and take longer. Update fastapi_poto, or use an older FastAPI.",
        stacklevel=2,
    )

try:
    from fastapi._body_limit import wrap_app_with_body_limit as _limit_body
except ImportError:
    _limit_body = None  # type: ignore[assignment]

try:
    from fastapi.telemetry._api import _route_selected
except ImportError:
    _route_selected = None  # type: ignore[assignment]

try:
    from fastapi.telemetry._asgi import _exception
except ImportError:
    _exception = None  # type: ignore[assignment]


def _nothing(scope: Scope) -> Any:
    return None


included_router_in = getattr(_routing, "_get_scope_included_router", _nothing)
"""The inclusion of a router through which a request comes, or None."""


class MountPoint(NamedTuple):
    """Where a route is mounted, and what holds there: the route's own, and what each inclusion added."""

    path: str
    name: str
    endpoint: Any
    dependencies: Sequence[params.Depends]
    dependency_overrides_provider: Any
    max_body_size: int | None
    form_limits: Any
    response_class: type[Response]
    strict_content_type: bool


def mount_point_of(route: APIRoute, context: Any) -> MountPoint:
    """The mount point of one inclusion of a route; of the bare route if `context` is None."""
    source: Any = context if context is not None else route
    return MountPoint(
        path=source.path,
        name=source.name,
        endpoint=source.endpoint,
        dependencies=source.dependencies,
        dependency_overrides_provider=source.dependency_overrides_provider,
        max_body_size=getattr(source, "max_body_size", None),
        form_limits=getattr(route, "form_limits", None) or None,
        response_class=_chosen(source.response_class),
        strict_content_type=_chosen(getattr(source, "strict_content_type", True)),
    )


def _chosen(value: Any) -> Any:
    """What stands in a placeholder by which FastAPI knows its own defaults from what somebody said."""
    return value.value if isinstance(value, DefaultPlaceholder) else value


def includes(included: Any, router: APIRouter) -> bool:
    """Whether this is an inclusion of the router, and its records can be read."""
    if not ARE_INCLUSIONS_KNOWN:
        return False
    return isinstance(included, _routing._IncludedRouter) and included.original_router is router


def context_in(scope: Scope, route: BaseRoute) -> Any:
    """FastAPI's record of the inclusion through which this request reached `route`, or None."""
    if not ARE_INCLUSIONS_KNOWN:
        return None
    context = _routing._get_scope_effective_route_context(scope)
    return context if context is not None and context.original_route is route else None


def included_routes(included: Any) -> Iterator[tuple[BaseRoute, Any]]:
    """What one inclusion of a router serves: routes with their records, and nested inclusions with None."""
    for candidate in included.effective_candidates():
        if isinstance(candidate, _routing._EffectiveRouteContext):
            yield candidate.original_route, candidate
        else:
            yield candidate, None


def hide(context: Any) -> None:
    """Leave one inclusion of a route out of the document."""
    record = getattr(context, "_route_context", None)
    if record is not None:
        record.include_in_schema = False


def tell_route(scope: Scope, path: str) -> None:
    """Tell FastAPI's telemetry, if it follows this request, which route was found."""
    if scope.get("fastapi.telemetry") is not None and _route_selected is not None:
        _route_selected(scope=scope, path=path)


def tell_exception(scope: Scope, error: BaseException) -> bool:
    """Tell FastAPI's telemetry of an exception before it is answered. False if it does not follow this request."""
    if scope.get("fastapi.telemetry") is None or _exception is None:
        return False
    _exception(scope=scope, exc=error)
    return True


def with_own_limit(app: ASGIApp) -> ASGIApp:
    """What has a limit of its own, before which that of the whole application steps back."""
    return app if _limit_body is None else _limit_body(app, sys.maxsize)


FLOAT_MARK = "x-poto-may-be-infinite"
"""Stands in the schema of a number that may be NaN or infinite, while `marked_schemas` holds."""
DEFAULT_MARK = "x-poto-has-default"
"""Stands in the schema of a member that has a default: FastAPI's documents leave out null, and what is made anew."""

_marks: ContextVar[bool] = ContextVar("poto_marks", default=False)


@contextmanager
def marked_schemas() -> Iterator[None]:
    """While FastAPI makes a document: mark what its JSON Schemas do not say and a client wants to know.

    Nothing is marked where FastAPI keeps its generator of schemas elsewhere.
    """
    generator = getattr(_v2, "GenerateJsonSchema", None)
    if generator is not None and not hasattr(generator, "__poto__"):
        _v2.GenerateJsonSchema = _marking(generator)
    token = _marks.set(True)
    try:
        yield
    finally:
        _marks.reset(token)


def _marking(generator: Any) -> Any:
    class MarkingJsonSchema(generator):  # type: ignore[misc]
        __poto__ = True

        def float_schema(self, schema: Any) -> Any:
            found = super().float_schema(schema)
            is_finite = schema.get("allow_inf_nan", self._config.allow_inf_nan) is False
            is_bounded = {"ge", "gt"} & schema.keys() and {"le", "lt"} & schema.keys()
            if _marks.get() and not is_finite and not is_bounded:
                found[FLOAT_MARK] = True
            return found

        def bytes_schema(self, schema: Any) -> Any:
            found = super().bytes_schema(schema)
            said = self._config.config_dict.get("ser_json_bytes") if _marks.get() else None
            if said == "hex":
                return {"type": "string", "contentEncoding": "base16"}  # limits count bytes, not digits
            return {"type": "string"} if said == "utf8" else found

        def default_schema(self, schema: Any) -> Any:
            found = super().default_schema(schema)
            if _marks.get():
                found[DEFAULT_MARK] = True
            return found

    return MarkingJsonSchema
