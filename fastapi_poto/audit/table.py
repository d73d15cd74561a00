"""The table of an application's routes: who may call what, and which way a call takes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute, Mount, WebSocketRoute

from ..auth.dependencies import current_session, current_user
from ..auth.routes import AuthRoute
from ..module import PotoModule
from ..operations import Operation, Source
from ..routing import PotoRoute


class Row(NamedTuple):
    """One route."""

    verb: str
    path: str
    guard: str
    """Who may call: `public`, `signed in`, `named`, `roles: …`; of a plain route the dependencies that may guard it."""
    kind: str
    way: str
    """`fast path`, or `dependency path` and why."""
    module: str
    operation: Operation | None = None
    poto: Any = None
    """The runtime of a method, the sign-in service of its routes."""

    @property
    def where(self) -> str:
        return self.operation.where if self.operation is not None else f"{self.verb} {self.path}"


def rows(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[Row]:
    """The rows of routes, and of the applications that are mounted among them."""
    for context in iter_route_contexts(list(routes)):
        route: Any = context.original_route
        path = prefix + (context.path or "")
        if isinstance(route, Mount):
            inner = getattr(route.app, "routes", None)
            if inner:
                yield from rows(inner, path)
            else:
                yield Row("*", path, "its own", type(route.app).__name__, "mount", "")
        elif isinstance(route, PotoRoute):
            operation = route.poto_spec
            kind = f"{operation.kind}, resumable" if operation.resumable else operation.kind
            way = _way(operation, context, path)
            yield Row(
                operation.verb, path, str(operation.guard), kind, way, operation.module_name, operation, route.poto
            )
        elif isinstance(route, AuthRoute):
            guard = "signed in" if route.guarded else "public"
            module = str(route.tags[0])  # Auth, or Streams
            kind = "sign-in" if module == "Auth" else module.lower()
            yield Row(_verbs(context), path, guard, kind, "FastAPI", module, None, route.poto)
        elif isinstance(route, APIRoute):
            yield Row(_verbs(context), path, _guard(context), "plain route", "FastAPI", _module(context))
        elif isinstance(route, WebSocketRoute) or hasattr(route, "path"):
            verb = _verbs(context) or "WS"
            shown = "document" if getattr(route, "include_in_schema", True) is False else "plain route"
            yield Row(verb, path, "public" if shown == "document" else "its own", shown, "Starlette", _module(context))


def stranger(row: Row, potos: Sequence[Any]) -> str:
    """In how many requests a stranger gets there: 1, 2 as a visitor, 3 as who registered; or `no`, or `?`."""
    if row.guard == "public":
        return "1"
    if row.guard not in ("signed in", "named"):
        return "no" if "roles:" in row.guard else "?"
    open_to = [
        poto.settings.auth
        for poto in ([row.poto] if row.poto is not None else potos)
        if poto.signs_in and poto.settings.auth.visitors and poto.settings.auth.visitors_per_hour != 0
    ]
    if row.guard == "named":
        return "3" if any(auth.registration for auth in open_to) else "no"
    return "2" if open_to else "no"


def _verbs(context: Any) -> str:
    return ",".join(sorted(set(context.methods or ()) - {"HEAD"}))


def _module(context: Any) -> str:
    return getattr(context.endpoint, "__module__", "") or ""


def _way(operation: Operation, context: Any, path: str) -> str:
    reasons = []
    names = [one.name for one in (*operation.parameters, *operation.constructor) if one.source is Source.DEPENDENCY]
    if names:
        reasons.append(", ".join(names))
    if operation.carried_in == "form" and not names:
        reasons.append("form")
    if context.dependencies:
        reasons.append("dependencies of the router")
    if "{" in path and not names:
        reasons.append("parameters in the path")
    return f"dependency path ({'; '.join(reasons)})" if reasons else "fast path"


def _guard(context: Any) -> str:
    """Of a plain route: whether it asks for the caller, else what else it depends on."""
    calls = list(_calls(getattr(context, "dependant", None)))
    if any(call is current_user or call is current_session for call in calls):
        return "signed in"
    names = [getattr(call, "__name__", type(call).__name__) for call in calls]
    return f"its own: {', '.join(names)}" if names else "public"


def _calls(dependant: Any) -> Iterator[Any]:
    for inner in getattr(dependant, "dependencies", ()):
        yield inner.call
        yield from _calls(inner)


def modules_of(table: Iterable[Row]) -> list[type[PotoModule]]:
    """The module classes that are mounted, each once."""
    return list(dict.fromkeys(row.operation.cls for row in table if row.operation is not None))


def drawn(table: Sequence[Row]) -> str:
    """The table as text, in columns."""
    names = Row._fields[:6]
    potos = list({id(row.poto): row.poto for row in table if row.poto is not None}.values())
    lines = [[*names, "stranger"]]
    lines += [[*(str(getattr(row, name)) for name in names), stranger(row, potos)] for row in table]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    drawn_lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    drawn_lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in drawn_lines)
