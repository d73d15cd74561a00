"""Operation ids are unique over an application, and no operation hides another."""

from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from .._compat import fastapi as _fastapi
from ..errors import ConfigurationError


def check_operation_ids(routes: list[BaseRoute]) -> None:
    """Raise `ConfigurationError` if two operations of an application share an id, or one hides another.

    Routers that share one `Poto` may each bring its sign-in routes: they are documented once.
    """
    seen: dict[str, Any] = {}
    paths: dict[tuple[str, str | None], Any] = {}
    for context in iter_route_contexts(routes):
        original: Any = context.original_route
        poto = getattr(original, "poto", None)
        if poto is None or not context.include_in_schema:
            continue
        other = seen.setdefault(context.unique_id, context)
        if other is not context:
            if original.poto_spec is None and other.original_route.poto is poto:
                _fastapi.hide(context)
                continue
            if original.poto_spec is None and other.original_route.poto_spec is None:
                raise ConfigurationError(
                    f"{other.path} and {context.path} are the sign-in routes of two runtimes. Share one, "
                    "poto_router(…, poto=poto), or let one router go without: poto_router(…, auth=False)."
                )
            raise ConfigurationError(
                f"{_named(other)} and {_named(context)} both have the operation id {context.unique_id}. "
                "Mount a subclass with a name of its own, or give one of the routers a generate_unique_id_function."
            )
        for method in context.methods or ():
            other = paths.setdefault((method, context.path), context)
            if other is not context:
                raise ConfigurationError(
                    f"{context.unique_id} and {other.unique_id} are both {method} {context.path}. "
                    "Include one of them under another prefix, or give its class another `route`."
                )


def _named(context: Any) -> str:
    operation = context.original_route.poto_spec
    return context.path if operation is None else f"{context.path} ({operation.cls.__module__}.{operation.where})"
