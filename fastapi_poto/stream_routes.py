"""`/streams`: the resumable streams that run, found again, followed and stopped by their users."""

from functools import cached_property
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from starlette.types import Receive, Scope, Send

from .auth.routes import AuthRoute
from .calls.responses import activity_check, base_options
from .context import SCOPE_KEY, CallContext
from .errors import Forbidden, NotFound, PastReplay, PotoError, Unauthenticated, Unavailable
from .pipeline import Pipeline
from .runtime import Poto
from .streaming.frames import END_ID, last_event_id
from .streaming.stream_records import ITEM_ID
from .streaming.streams import RunningStream
from .users import Identity


class _StreamPipeline(Pipeline):
    """Callers are known if they say who they are: a stream of nobody in particular is found by its id alone."""

    def __init__(self, poto: Poto, name: str) -> None:
        super().__init__(poto, name, poto.settings.auth.max_body_size)
        self._authenticate = poto.authenticator.authenticate

    async def authenticate(self, scope: Scope) -> Identity | None:
        return await self._authenticate(scope)


class StreamRoute(AuthRoute):
    """A route of `/streams`."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()) and "{" in self.path:
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "DELETE, GET"})  # of both routes
        await super().handle(scope, receive, send)

    @cached_property
    def _pipeline(self) -> Any:
        return _StreamPipeline(self.poto, self.name)  # type: ignore[arg-type]


def stream_router(poto: Poto) -> APIRouter:
    """`/streams` for a `Poto`."""
    from .streaming.event_stream import ResumedStream  # slow to import, with uvicorn

    router = APIRouter(prefix="/streams", tags=["Streams"], route_class=StreamRoute)

    options = base_options(poto.settings)

    def context_of(request: Request) -> CallContext:
        context: CallContext = request.scope[SCOPE_KEY]
        return context

    async def list_streams(request: Request) -> list[RunningStream]:
        user = context_of(request).user
        if user is None:
            raise poto.authenticator.refuse()
        return await poto.streams.list(user.id)

    async def follow_stream(request: Request, stream_id: str) -> Response:
        context = context_of(request)
        last = last_event_id(context.headers)
        if last == END_ID:
            return Response(status_code=204)
        known = ITEM_ID.fullmatch(last)
        if last and (known is None or known[1] != stream_id):
            raise PastReplay
        frames = await poto.streams.follow(stream_id, context, after=int(known[2]) if known is not None else 0)
        is_active = activity_check(context, poto.authenticator.is_active)
        return ResumedStream(frames, context=context, options=options, is_active=is_active)

    async def stop_stream(request: Request, stream_id: str) -> None:
        await poto.streams.stop(stream_id, context=context_of(request))

    item = {"description": "An item, as the method that began the stream gives it."}
    events: dict[str, Any] = {"content": {"text/event-stream": {"schema": item}}}
    routes: list[tuple[Any, str, str, str, str, tuple[type[PotoError], ...], dict[str, Any]]] = [
        (list_streams, "GET", "", "list", "The caller's streams that run", (), {}),
        (follow_stream, "GET", "/{stream_id}", "follow", "Follow a stream", (Forbidden, NotFound, PastReplay),
         {"response_class": Response, "responses": {200: events}}),
        (stop_stream, "DELETE", "/{stream_id}", "stop", "Stop a stream, wherever it runs", (Forbidden, NotFound),
         {"status_code": 204}),
    ]  # fmt: skip
    for endpoint, verb, path, name, summary, errors, arguments in routes:
        router.add_api_route(
            path,
            endpoint,
            methods=[verb],
            operation_id=f"Streams_{name}",
            name=f"Streams.{name}",
            summary=summary,
            dependencies=[Depends(one) for one in poto.authenticator.security],
            **arguments,
        )
        route: Any = router.routes[-1]
        route.poto, route.poto_errors = poto, (Unauthenticated, Unavailable, *errors)
        route.guarded = endpoint is list_streams
    return router
