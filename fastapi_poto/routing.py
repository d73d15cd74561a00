"""`PotoRouter`: module classes become routes, each with two paths into one pipeline."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property, partial
from http import HTTPStatus
from types import CoroutineType
from typing import Any, Final, Unpack, cast

from fastapi import APIRouter
from fastapi.datastructures import DefaultPlaceholder
from fastapi.exceptions import HTTPException
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from . import error_bodies
from ._compat import fastapi as _fastapi
from ._compat.datadog import tell_datadog
from ._compat.starlette import route_path
from .auth import ManagedCredentials, auth_router
from .auth.dependencies import current_user
from .calls.endpoints import check_dependencies, documented_endpoint, solved_endpoint
from .calls.pipeline import OperationPipeline
from .context import SCOPE_KEY
from .errors import ConfigurationError
from .module import PotoModule
from .openapi.install import install
from .openapi.openapi_3_2 import document_at
from .openapi.operation_ids import check_operation_ids
from .openapi.route_arguments import route_arguments
from .operations import Operation, compile_module
from .options import RouterOptions
from .pipeline import ObservedRoute
from .runtime import Poto, default_poto

_FOUND: Final = SCOPE_KEY
"""Where the ASGI scope has what `PotoRouter.matches` has found, until `handle` takes it; then the call's context."""


class MountedOperation:
    """One method where it is mounted: under one prefix, in one application."""

    def __init__(self, call: OperationPipeline, mount_point: _fastapi.MountPoint, inclusion: Any) -> None:
        self.inclusion = inclusion  # kept, so that its id is not given to another
        self.call = call.mounted(
            mount_point.response_class,
            strict_content_type=mount_point.strict_content_type,
            max_body_size=mount_point.max_body_size,
        )
        self.path = mount_point.path
        self.endpoint = mount_point.endpoint
        self._provider = mount_point.dependency_overrides_provider
        self._mount_point = mount_point
        self._is_fast = not call.operation.needs_dependencies and not mount_point.dependencies and "{" not in self.path
        self._told: dict[str, Any] | None = None
        self._direct = self._with_limit(partial(self.call.serve, self.call.direct))

    def tell_route(self, scope: Scope) -> None:
        """Tell whoever instruments the application what was found: they read it in the scope."""
        if self._told is None:
            self._told = {"endpoint": self.endpoint, "route": self._route}
        scope.update(self._told)
        if "fastapi.telemetry" in scope:
            _fastapi.tell_route(scope, self.path)
        if "datadog" in scope:
            tell_datadog(scope, self.path)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        self.tell_route(scope)
        if "path_params" not in scope:
            scope["path_params"] = {}
        overrides: Mapping[Any, Any] | None = getattr(self._provider, "dependency_overrides", None)
        if self._is_fast and not overrides:
            return self._direct(scope, receive, send)
        if overrides and current_user in overrides:
            return self._by_solver_alone(scope, receive, send)
        return self._by_solver(scope, receive, send)

    @cached_property
    def _by_solver(self) -> ASGIApp:
        return self._with_limit(partial(self.call.serve, partial(self.call.solved, self._route.app)))

    @cached_property
    def _by_solver_alone(self) -> ASGIApp:
        work = partial(self.call.solved, self._route.app)
        return self._with_limit(partial(self.call.serve, work, authenticate=False))

    def _with_limit(self, serve: Any) -> ASGIApp:
        if self._mount_point.max_body_size is None:
            return cast("ASGIApp", serve)
        return _fastapi.with_own_limit(serve)  # which the call enforces: FastAPI's answer would be plain text

    @cached_property
    def _route(self) -> APIRoute:
        mount_point = self._mount_point
        return ObservedRoute(
            mount_point.path,
            solved_endpoint(self.call),
            methods=[self.call.operation.verb],
            name=mount_point.name,
            dependencies=mount_point.dependencies,
            dependency_overrides_provider=self._provider,
            response_model=None,
            max_body_size=None if mount_point.max_body_size is None else sys.maxsize,
            form_limits=mount_point.form_limits,
        )


class PotoRoute(ObservedRoute):
    """A method as FastAPI knows it: what it documents, and the way to the mounted method."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **arguments: Any) -> None:
        super().__init__(path, endpoint, **arguments)
        self.poto_spec: Operation = endpoint.poto_spec  # type: ignore[attr-defined]
        self.call: OperationPipeline = endpoint.poto_pipeline  # type: ignore[attr-defined]
        self.poto = self.call.poto
        self._mounted: dict[int, MountedOperation] = {}

    def mounted(self, context: Any = None) -> MountedOperation:
        """The method as one inclusion of this route has mounted it; `context` is FastAPI's record of it."""
        mounted = self._mounted.get(id(context))
        if mounted is None:
            mount_point = _fastapi.mount_point_of(self, context)
            mounted = self._mounted[id(context)] = MountedOperation(self.call, mount_point, context)
        return mounted

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != self.poto_spec.verb:
            await super().handle(scope, receive, send)  # 405
        elif _fastapi.ARE_INCLUSIONS_KNOWN:
            await self.mounted(_fastapi.context_in(scope, self))(scope, receive, send)
        else:
            overrides = getattr(scope.get("app"), "dependency_overrides", None) or {}
            work = partial(self.call.solved, super().handle)
            await self.call.serve(work, scope, receive, send, authenticate=current_user not in overrides)


class PotoRouter(APIRouter):
    """An `APIRouter` of module classes. Finds a method by one look-up, however many there are."""

    def __init__(
        self,
        *modules: type[PotoModule],
        poto: Poto,
        auth: APIRouter | None,
        streams: bool,
        visitors: bool = True,
        **arguments: Unpack[RouterOptions],
    ) -> None:
        if "route_class" in arguments:
            raise ConfigurationError(
                "poto_router(route_class=…): methods have a class of routes of their own. Wrap them in a decorator, or "
                "write a middleware or a dependency."
            )
        lifespan = arguments.pop("lifespan", None)
        super().__init__(lifespan=self._lifespan(poto, lifespan), **arguments)  # type: ignore[misc] # popped above
        self.poto = poto
        self.operations: tuple[Operation, ...] = ()
        self._tables: dict[int, _Table] = {}
        self._adds_streams = streams
        self._visitors = visitors
        if auth is not None:
            self.include_router(auth)  # first: it is found without a look at the methods
        for module in modules:
            self.add_module(module)

    def add_module(self, module: type[PotoModule]) -> None:
        """Mount one more module class. Raises `ConfigurationError` for every mistake that can be seen now."""
        taken = {(operation.verb, operation.path): operation for operation in self.operations}
        ids = {operation.operation_id: operation for operation in self.operations}
        if any(operation.cls is module for operation in self.operations):
            raise ConfigurationError(f"{module.__qualname__} was given twice. Mount it once.")
        for operation in self._compiled(module):
            other = taken.setdefault((operation.verb, operation.path), operation)
            if other is not operation:
                raise ConfigurationError(
                    f"{operation.where} and {other.where} are both {operation.verb} {operation.path}. Rename one, "
                    'give it another `@rpc(path="…")`, or give its class another `route`.'
                )
            other = ids.setdefault(operation.operation_id, operation)
            if other is not operation:
                raise ConfigurationError(
                    f"{operation.where} and {other.where} both have the operation id {operation.operation_id}. "
                    "Rename one of the two classes."
                )
            self._add(operation)
            self.operations += (operation,)
            if operation.resumable and self._adds_streams:
                from .stream_routes import stream_router

                self._adds_streams, self.poto.streams.has_routes = False, True
                self.include_router(stream_router(self.poto))

    def _compiled(self, module: type[PotoModule]) -> Iterator[Operation]:
        for operation in compile_module(module):
            if self._visitors or operation.guard.public:
                yield operation
            else:
                yield operation._replace(guard=operation.guard._replace(named=True))

    def _add(self, operation: Operation) -> None:
        call = OperationPipeline(operation, self.poto)
        endpoint = documented_endpoint(call)
        endpoint.poto_pipeline = call  # type: ignore[attr-defined]
        arguments = dict(route_arguments(operation))
        if not isinstance(self.generate_unique_id_function, DefaultPlaceholder):
            arguments["operation_id"] = None  # the router's own function names its operations
        try:
            self.add_api_route(
                operation.path, endpoint, methods=[operation.verb], route_class_override=PotoRoute, **arguments
            )
        except Exception as error:  # FastAPI asserts, and raises errors of its own
            raise ConfigurationError(f"{operation.where}: FastAPI refuses the route: {error}") from error
        check_dependencies(operation, cast("APIRoute", self.routes[-1]).dependant)

    @staticmethod
    def _lifespan(poto: Poto, own: Any) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[Any]:
            check_operation_ids(app.routes)
            async with poto.running():
                if own is None:
                    yield
                else:
                    async with own(app) as state:
                        yield state

        return lifespan

    # Routing. FastAPI asks an included router `matches`, and on a match hands it the request to `handle`.

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return super().matches(scope)
        included = _fastapi.included_router_in(scope)
        table = self._tables.get(id(included))
        if table is None or table.size != len(self.routes):
            table = self._make_table(included)
            if table is None:
                return super().matches(scope)
        path = route_path(scope) if scope.get("root_path") else scope["path"]
        found = table.mounted.get((scope["method"], path)) or document_at(scope.get("app"), path)
        if found is not None:
            scope[_FOUND] = found  # FastAPI asks once more, with `handle`
            return Match.FULL, {}
        if table.others is None or path in table.paths:
            return super().matches(scope)
        for route in table.others:
            match, child = route.matches(scope)
            if match is not Match.NONE:
                return match, child
        return Match.NONE, {}

    def handle(self, scope: Scope, receive: Receive, send: Send) -> "CoroutineType[Any, Any, None]":
        found = scope.pop(_FOUND, None)
        if found is not None:
            return cast("CoroutineType[Any, Any, None]", found(scope, receive, send))
        if scope["type"] == "http":
            table = self._tables.get(id(_fastapi.included_router_in(scope)))
            if table is not None:
                table.refuse_verb(scope, route_path(scope))
        return cast("CoroutineType[Any, Any, None]", super().handle(scope, receive, send))

    def _make_table(self, included: Any) -> "_Table | None":
        """What is mounted by the inclusion through which a request comes; None if it comes through none."""
        if not _fastapi.includes(included, self):
            return None
        table = self._tables[id(included)] = _Table(included, len(self.routes))
        return table


class _Table:
    """What one inclusion of a router has mounted, by verb and path."""

    def __init__(self, included: Any, size: int) -> None:
        self.included = included  # kept, so that its id is not given to another
        self.size = size
        self.mounted: dict[tuple[str, str], MountedOperation] = {}
        self.others: list[BaseRoute] | None = []
        """Nested routers, to be asked where no method fits; None if there are routes that only FastAPI can match."""
        for route, context in _fastapi.included_routes(included):
            if context is None:
                if self.others is not None:
                    self.others.append(route)
            elif isinstance(route, PotoRoute) and "{" not in context.path:
                self.mounted.setdefault((route.poto_spec.verb, context.path), route.mounted(context))
            else:
                self.others = None
        self.paths = frozenset(path for _, path in self.mounted)

    def refuse_verb(self, scope: Scope, path: str) -> None:
        """Raise 405 with every verb that a path has (RFC 9110, 15.5.6), if nothing else can have it.

        Starlette's names only those of the first route.
        """
        if path not in self.paths or self.others is None:
            return
        if any(route.matches(scope)[0] is not Match.NONE for route in self.others):
            return
        verbs = sorted(verb for verb, other in self.mounted if other == path)
        self.mounted[verbs[0], path].tell_route(scope)
        raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(verbs)})


def poto_router(
    *modules: type[PotoModule],
    poto: Poto | None = None,
    auth: bool = True,
    streams: bool = True,
    visitors: bool = True,
    **arguments: Unpack[RouterOptions],
) -> PotoRouter:
    """An `APIRouter` that serves the public methods of `modules`, and the sign-in routes unless `auth=False`.

    Where a method is resumable, `/streams` lists, follows and stops what runs, unless `streams=False`. With
    `visitors=False` all that needs a caller is `@named` here.

    `arguments` are those of `APIRouter`. Without `poto=`, routers share a runtime made from the environment
    (`POTO_SECRET`, `POTO_STORE`, …). Raises `ConfigurationError`, naming `Class.method` and the cure.
    """
    if poto is not None and not isinstance(poto, Poto):
        raise ConfigurationError(f"poto_router(poto={poto!r}): it takes a Poto. Write poto=Poto(…).")
    poto = poto or default_poto()
    error_bodies.install()
    install()
    sign_in = _sign_in(poto) if auth else None
    return PotoRouter(*modules, poto=poto, auth=sign_in, streams=streams, visitors=visitors, **arguments)


def _sign_in(poto: Poto) -> APIRouter:
    from .health import add_health

    router = auth_router(poto)
    add_health(router, poto.stores, problems=poto.problems)
    if poto.keys.has_routes:
        from .auth.key_routes import add_key_routes

        add_key_routes(router, poto, poto.keys)
    managed = (one for one in poto.authenticator.credentials if isinstance(one, ManagedCredentials))
    if issuers := [issuer for one in managed for issuer in one.authorization_servers]:
        from .auth.oidc.metadata import with_resource_metadata

        router = with_resource_metadata(router, issuers)
    for context in iter_route_contexts(router.routes):
        context.original_route.poto = poto  # type: ignore[attr-defined] # by which two routers' sign-in is known to be one
    return router
