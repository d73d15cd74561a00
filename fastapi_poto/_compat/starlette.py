"""What is read of Starlette without being published: where its middleware keeps the exception handlers."""

from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope

Handler = Callable[[Request, Exception], Any]


def exception_handler(scope: Scope, error: BaseException) -> Handler | None:
    """The application's handler for an error, as its exception middleware would choose it.

    Where the handlers cannot be found, none: what is raised then gets to the middleware itself.
    """
    return _choose(error, *scope.get("starlette.exception_handlers", ({}, {})))


def own_handler(scope: Scope, error: BaseException) -> Handler | None:
    """The same, as the application was given it: an error tracker may have wrapped it, and report each call of it."""
    handlers = getattr(scope.get("app"), "exception_handlers", {})
    return _choose(error, handlers, handlers)


def _choose(error: BaseException, handlers: Mapping[Any, Handler], by_status: Mapping[Any, Handler]) -> Handler | None:
    handler = by_status.get(error.status_code) if isinstance(error, HTTPException) else None
    if handler is None:
        handler = next((handlers[cls] for cls in type(error).__mro__ if cls in handlers), None)
    return handler


def is_default(handler: Handler) -> bool:
    """Whether a handler is the framework's own, and no application's."""
    return getattr(handler, "__module__", "").partition(".")[0] in ("fastapi", "starlette", "fastapi_poto")


async def handled(handler: Handler, error: Exception, scope: Scope, receive: Receive) -> Response | None:
    """What a handler makes of an error: a response, as a rule."""
    request = Request(scope, receive)
    if iscoroutinefunction(handler) or iscoroutinefunction(getattr(handler, "__call__", None)):  # noqa: B004
        response: Response | None = await handler(request, error)
        return response
    return await run_in_threadpool(handler, request, error)


def route_path(scope: Scope) -> str:
    """The request's path below the application's root."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not root or (path != root and not path.startswith(f"{root}/")):
        return path
    return path[len(root) :]
