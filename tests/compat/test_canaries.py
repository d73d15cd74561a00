"""What is read of others without being published: one canary each, that says what broke."""

import copy
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import HTTPException
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from pydantic import BaseModel, PrivateAttr, TypeAdapter, field_validator, model_validator
from pydantic_core import CoreConfig
from starlette.responses import Response

from fastapi_poto._compat import fastapi as compat
from fastapi_poto._compat import pydantic as compat_pydantic
from fastapi_poto._compat import starlette as compat_starlette
from fastapi_poto._compat.servers import cut_off

T = TypeVar("T")


def test_fastapis_records_of_inclusions() -> None:
    """`_IncludedRouter`, `_EffectiveRouteContext` and what reads them of the scope are where they were."""
    assert compat.ARE_INCLUSIONS_KNOWN, "fastapi.routing: the records of included routers have moved"


def test_what_a_record_says() -> None:
    """The inclusion's path, dependencies and limits are on the record of each of its routes."""
    seen: list[Any] = []

    class Asking(APIRouter):
        def matches(self, scope: Any) -> Any:
            seen.append(compat.included_router_in(scope))
            return super().matches(scope)

    router, app = Asking(), FastAPI()

    @router.get("/a")
    def a() -> None: ...

    app.include_router(router, prefix="/p", dependencies=[Depends(lambda: None)])
    TestClient(app).get("/p/a")
    assert compat.includes(seen[-1], router), "fastapi: the scope no longer says through which inclusion a request came"
    ((route, context),) = compat.included_routes(seen[-1])
    mount_point = compat.mount_point_of(route, context)  # type: ignore[arg-type]
    assert mount_point.path == "/p/a", "fastapi: a record's path lacks the prefix"
    assert len(mount_point.dependencies) == 1, "fastapi: a record lacks the inclusion's dependencies"
    assert mount_point.dependency_overrides_provider is app, "fastapi: a record does not know its application"


def test_hiding_one_inclusion() -> None:
    """One inclusion of a route can be left out of the document."""
    router, app = APIRouter(), FastAPI()

    @router.get("/a")
    def a() -> None: ...

    app.include_router(router)
    app.include_router(router, prefix="/p")
    (hidden,) = (one for one in iter_route_contexts(app.routes) if one.path == "/p/a")
    compat.hide(hidden)
    assert set(app.openapi()["paths"]) == {"/a"}, "fastapi: RouteContext._route_context has moved"


def test_fastapis_telemetry_and_limits() -> None:
    """The route is told to FastAPI's telemetry, and a route's own body limit goes before the application's."""
    assert compat._route_selected is not None, "fastapi.telemetry._api._route_selected has moved"
    assert compat._exception is not None, "fastapi.telemetry._asgi._exception has moved"
    assert compat._limit_body is not None, "fastapi._body_limit.wrap_app_with_body_limit has moved"


def test_starlettes_exception_handlers() -> None:
    """They are in the scope, by class and by status."""
    app = FastAPI()
    found: list[Any] = []

    @app.exception_handler(KeyError)
    def answer(_: Any, __: Any) -> Response:
        return Response()

    class Route(APIRouter):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            found.extend(compat_starlette.exception_handler(scope, error) for error in (KeyError(), HTTPException(400)))
            await Response()(scope, receive, send)

    app.mount("/m", Route())
    TestClient(app).get("/m/")
    assert found[0] is answer, "starlette: the exception handlers are no longer under starlette.exception_handlers"
    assert not compat_starlette.is_default(found[0])
    assert compat_starlette.is_default(found[1])
    assert compat_starlette.is_default(http_exception_handler)


def test_pydantics_nested_codecs() -> None:
    """A changed schema changes nested models, too."""

    class Inner(BaseModel):
        a: bytes

    class Outer(BaseModel):
        inner: Inner

    def change(schema: Any) -> None:
        if isinstance(schema, dict):
            if schema.get("type") == "bytes":
                schema["serialization"] = {"type": "function-plain", "function": lambda _: "changed"}
            for one in list(schema.values()):
                change(one)

    schema: Any = copy.deepcopy(TypeAdapter(Outer).core_schema)
    change(schema)
    encoder = compat_pydantic.serializer_of(schema, CoreConfig())
    assert b"changed" in encoder.to_json(Outer(inner=Inner(a=b"x"))), "pydantic_core: _use_prebuilt has another name"


def test_pydantics_generics_and_validators() -> None:
    """What a generic model was made of, private values, and which fields validators look at."""

    class Page(BaseModel, Generic[T]):
        item: T
        _seen: int = PrivateAttr(default=1)

        @field_validator("item")
        @classmethod
        def check(cls, value: Any) -> Any:
            return value

    class Whole(BaseModel):
        @model_validator(mode="after")
        def check(self) -> "Whole":
            return self

    assert compat_pydantic.generic_arguments(Page[int]) == (Page, (int,)), "pydantic: generic metadata has moved"
    assert compat_pydantic.generic_parameters(Page) == (T,), "pydantic: generic metadata has moved"
    assert compat_pydantic.has_private_values(Page[int](item=1)), "pydantic: private values have moved"
    assert compat_pydantic.validated_fields(Page) == {"item"}, "pydantic: __pydantic_decorators__ has changed"
    assert compat_pydantic.validated_fields(Whole) is None, "pydantic: __pydantic_decorators__ has changed"


def test_servers_logs_of_a_cut(caplog: pytest.LogCaptureFixture) -> None:
    """A response that was cut off on purpose is no error in the server's log; any other exception is."""
    log = logging.getLogger("uvicorn.error")
    with caplog.at_level(logging.ERROR, "uvicorn.error"):
        log.error("Exception in ASGI application", exc_info=cut_off())
        log.error("Exception in ASGI application", exc_info=ValueError("x"))
    assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [ValueError]


def test_without_fastapis_records() -> None:
    """Where they cannot be read there is one warning, and calls take FastAPI's own way."""
    script = Path(__file__).with_name("without_records.py")
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=script.parents[2])
    assert run.returncode == 0, run.stdout + run.stderr
