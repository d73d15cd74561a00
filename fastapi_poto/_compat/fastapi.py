"""The only place that reads what FastAPI does not publish: its records of included routers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, params
from fastapi._body_limit import wrap_app_with_body_limit as _limit_body
from fastapi.routing import (
    APIRoute,
    _EffectiveRouteContext,
    _get_scope_effective_route_context,
    _get_scope_included_router,
    _IncludedRouter,
)
from starlette._utils import get_route_path
from starlette.routing import BaseRoute
from starlette.types import Scope


@dataclass(frozen=True, slots=True)
class MountPoint:
    """Where a route is mounted, and what holds there: the route's own, and what each inclusion added."""

    path: str
    name: str
    endpoint: Any
    dependencies: Sequence[params.Depends]
    dependency_overrides_provider: Any
    max_body_size: int | None
    form_limits: Any


def mount_point_of(route: APIRoute, context: Any) -> MountPoint:
    """The place of one inclusion of a route; of the bare route if `context` is None."""
    source: Any = context if context is not None else route
    return MountPoint(
        path=source.path,
        name=source.name,
        endpoint=source.endpoint,
        dependencies=source.dependencies,
        dependency_overrides_provider=source.dependency_overrides_provider,
        max_body_size=getattr(source, "max_body_size", None),
        form_limits=route.form_limits or None,
    )


def included_router_of(router: APIRouter, scope: Scope) -> Any:
    """The inclusion of `router` through which this request comes, or None."""
    included = _get_scope_included_router(scope)
    return included if isinstance(included, _IncludedRouter) and included.original_router is router else None


def context_in(scope: Scope, route: BaseRoute) -> Any:
    """FastAPI's record of the inclusion through which this request reached `route`, or None."""
    context = _get_scope_effective_route_context(scope)
    return context if context is not None and context.original_route is route else None


def included_routes(included: Any) -> Iterator[tuple[BaseRoute, Any]]:
    """What one inclusion of a router serves: routes with their records, and nested inclusions with None."""
    for candidate in included.effective_candidates():
        if isinstance(candidate, _EffectiveRouteContext):
            yield candidate.original_route, candidate
        else:
            yield candidate, None


def hide(context: Any) -> None:
    """Leave one inclusion of a route out of the document."""
    context._route_context.include_in_schema = False


def is_traced(scope: Scope) -> bool:
    """Whether FastAPI's telemetry follows this request."""
    return scope.get("fastapi.telemetry") is not None


def route_path(scope: Scope) -> str:
    """The request's path below the application's root."""
    if not scope.get("root_path"):
        path: str = scope["path"]
        return path
    return get_route_path(scope)


limit_body = _limit_body
