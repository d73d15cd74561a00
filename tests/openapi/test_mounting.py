"""The document of whole applications: what is ours is refined wherever it is mounted, and nothing else is touched."""

import copy
from collections.abc import AsyncIterator
from typing import Any, Generic, Literal, TypeVar

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator, OpenAPIV32SpecValidator
from pydantic import BaseModel, computed_field

from fastapi_poto import Poto, PotoModule, poto_router, public, roles
from fastapi_poto.openapi import openapi_3_2, refine_openapi
from tests.secret import SECRET

from .conftest import Document, app_of, document_of, ref

T = TypeVar("T")


class Line(BaseModel):
    sku: str
    quantity: int = 1


class Picture(BaseModel):
    kind: Literal["picture"] = "picture"
    data: bytes
    line: Line


class Album(BaseModel):
    pictures: list[Picture]


class Shop(PotoModule):
    """Orders."""

    async def add_line(self, line: Line) -> Line: ...

    async def show(self, album: Album) -> Picture: ...

    @public
    async def get_status(self) -> str: ...

    @roles("admin")
    async def close(self) -> None: ...

    async def watch(self) -> AsyncIterator[Line]:
        yield Line(sku="a")


class Admin(PotoModule):
    async def act(self) -> Line: ...


def plain_routes(app: FastAPI) -> None:
    @app.post("/plain")
    async def plain(line: Line, album: Album, size: int = 3) -> Album: ...

    @app.get("/plain/{number}", tags=["Own"])
    async def get_plain(number: int) -> dict[str, Line]: ...

    @app.webhooks.post("hook")
    async def hook(line: Line) -> None: ...


def test_security() -> None:
    """Operations that need a caller show the bearer scheme beside the password flow; public ones an empty list."""
    document = document_of(Shop)
    schemes = document.content["components"]["securitySchemes"]
    assert schemes["PotoBearer"]["type"] == "http"
    assert (schemes["PotoBearer"]["scheme"], schemes["PotoBearer"]["bearerFormat"]) == ("bearer", "JWT")
    assert schemes["PotoPassword"]["flows"]["password"]["tokenUrl"] == "auth/login"
    for name in ("Shop_add_line", "Shop_close", "Shop_watch", "Auth_me", "Auth_logout"):
        assert document.operations[name]["security"] == [{"PotoBearer": []}, {"PotoPassword": []}], name
    for name in ("Shop_get_status", "Auth_visitor", "Auth_login", "Auth_refresh"):
        assert document.operations[name]["security"] == [], name


def test_applications_without_modules_are_untouched() -> None:
    """Their document is FastAPI's own, though this package is installed."""
    app, again = FastAPI(), FastAPI()
    plain_routes(app)
    plain_routes(again)
    expected = get_openapi(title="FastAPI", version="0.1.0", routes=again.routes, webhooks=again.webhooks.routes)
    assert app.openapi() == expected


@pytest.mark.parametrize("separate", [True, False])
def test_other_routes_stay_as_they_are(separate: bool) -> None:
    """Paths, webhooks and components of other routes are what FastAPI makes without us."""
    alone, app = (FastAPI(separate_input_output_schemas=separate) for _ in range(2))
    plain_routes(alone)
    plain_routes(app)
    expected, document = alone.openapi(), Document(app_of(Shop, app=app))
    for path, item in expected["paths"].items():
        assert document.content["paths"][path] == item
    assert document.content["webhooks"] == expected["webhooks"]
    for name, schema in expected["components"]["schemas"].items():
        assert document.schemas[name] == schema, name


@pytest.mark.parametrize("separate", [True, False])
def test_other_routes_keep_the_names_of_their_components(separate: bool) -> None:
    """FastAPI names those of all routes together: a model that a method takes, too, would be split or renamed."""

    class Tree(BaseModel):
        children: list[Any]

        @computed_field  # type: ignore[prop-decorator]
        @property
        def size(self) -> int: ...

    class ForestPlantRequest(BaseModel):
        own: int

    class Forest(PotoModule):
        async def plant(self, tree: Tree) -> Tree: ...

    def routes(app: FastAPI) -> None:
        @app.get("/tree")
        async def get_tree() -> Tree: ...

        @app.post("/clash", callbacks=callbacks.routes)
        async def clash(body: ForestPlantRequest) -> None: ...

        @app.webhooks.post("hook")
        async def hook() -> list[Tree]: ...

    callbacks = APIRouter()

    @callbacks.post("{$callback_url}")
    async def call_back() -> dict[str, Tree]: ...

    alone, app = (FastAPI(separate_input_output_schemas=separate) for _ in range(2))
    routes(alone)
    routes(app)
    expected, document = alone.openapi(), Document(app_of(Forest, app=app))
    assert {path: document.content["paths"][path] for path in expected["paths"]} == expected["paths"]
    assert document.content["webhooks"] == expected["webhooks"]
    schemas = expected["components"]["schemas"]
    assert {name: document.schemas.get(name) for name in schemas} == schemas
    assert document.body("Forest_plant")["properties"]["tree"] == ref("TreeInput")


def test_components_that_others_use_too() -> None:
    """One that means the same is shared; one that the wire makes different gets a name of its own."""
    app = FastAPI()
    plain_routes(app)
    document = Document(app_of(Shop, app=app))
    assert document.schemas["ShopAddLineRequest"]["properties"]["line"] == ref("Line")
    assert document.schemas["ShopShowRequest"]["properties"]["album"] == ref("PotoAlbum")
    assert document.answer("Shop_show")[1] == ref("PotoPicture")
    assert document.schemas["PotoPicture"]["properties"]["data"]["contentEncoding"] == "base64"
    assert document.schemas["PotoPicture"]["properties"]["line"] == ref("Line")
    assert document.answer("Shop_add_line", "422")[1] == ref("PotoValidationError")
    assert document.schemas["ValidationError"]["properties"].keys() == {"loc", "msg", "type", "input", "ctx"}


def test_the_names_of_own_versions_are_identifiers() -> None:
    """What the wire makes different has a name that a generator can take as it is."""

    class Page(BaseModel, Generic[T]):
        items: list[T]

    class Gallery(PotoModule):
        async def get_page(self) -> Page[Picture]: ...

    app = FastAPI()

    @app.get("/page")
    async def get_page() -> Page[Picture]: ...

    document = Document(app_of(Gallery, app=app))
    assert "Page_Picture_" in document.schemas
    assert document.answer("Gallery_get_page")[1] == ref("PotoPagePicture")


def test_prefixes_tags_and_nested_routers() -> None:
    """Rules hold below any prefix; tags and responses of the inclusions are added; Authorize finds the sign-in."""
    app, outer = FastAPI(), APIRouter(prefix="/outer", tags=["Outer"])
    outer.include_router(poto_router(Shop, poto=Poto(SECRET), tags=["Own"], prefix="/v1"))
    app.include_router(outer, responses={418: {"description": "Tea", "model": Line}})
    document = Document(app)
    operation = document.content["paths"]["/outer/v1/Shop/add_line"]["post"]
    assert set(operation["tags"]) == {"Outer", "Own", "Shop"}
    assert operation["responses"]["418"]["description"] == "Tea"
    assert document.answer("Shop_watch")[1] == {"oneOf": [ref("Line"), ref("ShopWatchStreamFailure")]}
    assert document.answer("Shop_watch", "418") == ("application/json", ref("Line"))
    assert document.answer("Shop_add_line", "422")[1] == ref("ValidationError")
    flows = document.content["components"]["securitySchemes"]["PotoPassword"]["flows"]
    assert flows["password"]["tokenUrl"] == "outer/v1/auth/login"


def test_several_routers() -> None:
    """Routers of one runtime bring the sign-in routes once, and both are refined."""
    app, poto = FastAPI(), Poto(SECRET)
    app.include_router(poto_router(Shop, poto=poto))
    app.include_router(poto_router(Admin, poto=poto), prefix="/admin")
    document = Document(app)
    assert [path for path in document.content["paths"] if path.endswith("/visitor")] == ["/auth/visitor"]
    assert document.answer("Admin_act")[1] == document.answer("Shop_add_line")[1] == ref("Line")


def test_sub_applications() -> None:
    """A mounted application has a document of its own; the outer one stays plain."""
    outer, inner = FastAPI(), app_of(Shop)
    outer.mount("/sub", inner)
    client = TestClient(outer)
    document = client.get("/sub/openapi.json").json()
    assert document["servers"] == [{"url": "/sub"}]
    assert "ShopWatchStreamFailure" in document["components"]["schemas"]
    assert client.get("/openapi.json").json()["paths"] == {}
    assert client.get("/sub/openapi-3.2.json").json()["servers"] == [{"url": "/sub"}]


def test_hidden_and_deprecated_routers() -> None:
    """include_in_schema=False hides, deprecated=True marks."""
    assert not any(path.startswith("/Shop") for path in app_of(Shop, include_in_schema=False).openapi()["paths"])
    document = document_of(Shop, deprecated=True)
    assert all(one["deprecated"] for name, one in document.operations.items() if name.startswith("Shop"))


def test_parameters_of_dependencies() -> None:
    """Headers that dependencies of the router ask for are documented, without titles."""

    async def needs(x_key: str = Header(), x_size: int = Header(3)) -> None: ...

    parameters = document_of(Shop, dependencies=[Depends(needs)]).parameters("Shop_get_status")
    assert parameters["x-key"]["schema"] == {"type": "string"}
    assert parameters["x-size"]["schema"] == {"type": "integer", "default": 3}


def test_an_openapi_function_of_the_applications_own() -> None:
    """refine_openapi(app, document) refines any document of the application, and a refined one stays as it is."""
    app = app_of(Shop)
    document = get_openapi(title="Own", version="1", routes=app.routes)
    assert refine_openapi(app, document) is document
    assert document["info"]["title"] == "Own"
    OpenAPIV31SpecValidator(document).validate()
    assert document["paths"] == app.openapi()["paths"]
    assert document["components"] == app.openapi()["components"]
    assert refine_openapi(app, copy.deepcopy(document)) == document


def test_an_openapi_function_that_refines_nothing() -> None:
    """The document of OpenAPI 3.2 is made of a refined copy of what it gives."""
    app = app_of(Shop)
    plain = get_openapi(title="Own", version="1", routes=app.routes)
    app.openapi = lambda: plain  # type: ignore[method-assign]
    client = TestClient(app)
    assert client.get("/openapi.json").json() == plain
    document = client.get("/openapi-3.2.json").json()
    assert document["info"]["title"] == "Own"
    assert document["paths"] == openapi_3_2(app_of(Shop))["paths"]
    assert "StreamError" not in plain["components"]["schemas"]


def test_the_document_is_made_once() -> None:
    """It is cached where FastAPI caches it, and a new one is made when the application asks for it."""
    app = app_of(Shop)
    first = app.openapi()
    assert app.openapi() is first is app.openapi_schema
    app.openapi_schema = None
    assert app.openapi() == first


def test_routes_that_come_after_the_document() -> None:
    """A document that is made anew for them is refined as the first one was."""
    poto = Poto(SECRET)
    app = FastAPI()
    app.include_router(poto_router(Shop, poto=poto))
    app.openapi()
    plain_routes(app)
    app.include_router(poto_router(Admin, poto=poto))
    later = FastAPI()
    later.include_router(poto_router(Shop, poto=poto))
    plain_routes(later)
    later.include_router(poto_router(Admin, poto=poto))
    assert app.openapi() == later.openapi()
    assert app.openapi() is app.openapi_schema


def test_a_subclass_of_fastapi() -> None:
    """An openapi method that calls FastAPI's gets a refined document."""

    class Own(FastAPI):
        def openapi(self) -> dict[str, Any]:
            document = super().openapi()
            document["info"]["x-own"] = True
            return document

    app = app_of(Shop, app=Own())
    assert app.openapi()["info"]["x-own"] is True
    assert "ShopWatchStreamFailure" in app.openapi()["components"]["schemas"]


@pytest.mark.parametrize("nested", [False, True])
def test_openapi_3_2(nested: bool) -> None:
    """/openapi-3.2.json stands beside /openapi.json, whatever the router's prefix, and has itemSchema."""
    app, outer = FastAPI(), APIRouter(prefix="/outer")
    router = poto_router(Shop, poto=Poto(SECRET), prefix="/v1")
    if nested:
        outer.include_router(router)
        app.include_router(outer)
    else:
        app.include_router(router)
    client = TestClient(app)
    document = client.get("/openapi-3.2.json").json()
    assert document == openapi_3_2(app)
    OpenAPIV32SpecValidator(document).validate()
    assert document["openapi"] == "3.2.0"
    path = f"{'/outer' if nested else ''}/v1/Shop/watch"
    content = document["paths"][path]["post"]["responses"]["200"]["content"]["text/event-stream"]
    item, error, close = content["itemSchema"]["anyOf"]
    assert item["properties"]["data"]["contentSchema"] == ref("Line")
    assert error["properties"]["data"]["contentSchema"] == ref("ShopWatchStreamFailure")
    assert close["properties"]["event"] == {"type": "string", "const": "close"}
    assert "schema" not in content
    plain = client.get("/openapi.json").json()
    assert plain["openapi"] == "3.1.0"
    assert "/openapi-3.2.json" not in plain["paths"]
    assert client.post("/openapi-3.2.json").status_code == 405


def test_openapi_3_2_is_made_once() -> None:
    """As the application's own document is; a new one of it makes a new one."""
    app = app_of(Shop)
    made = openapi_3_2(app)
    assert openapi_3_2(app) is made
    app.openapi_schema = None
    assert openapi_3_2(app) is not made
    assert openapi_3_2(app) == made


def test_openapi_3_2_is_not_served_past_a_guard() -> None:
    """An application that serves its document by a route of its own serves the other one itself, too, or not."""
    app = app_of(Shop)
    app.router.routes[:] = [route for route in app.routes if getattr(route, "path", "") != "/openapi.json"]

    @app.get("/openapi.json", include_in_schema=False)
    async def guarded() -> None:
        raise HTTPException(403)

    client = TestClient(app)
    assert client.get("/openapi.json").status_code == 403
    assert client.get("/openapi-3.2.json").status_code == 404


def test_openapi_3_2_follows_the_applications_url() -> None:
    """It has the name of the application's own document, and is gone where that is."""
    client = TestClient(app_of(Shop, app=FastAPI(openapi_url="/api/schema.json")))
    assert client.get("/api/schema-3.2.json").json()["openapi"] == "3.2.0"
    assert client.get("/openapi-3.2.json").status_code == 404
    assert TestClient(app_of(Shop, app=FastAPI(openapi_url=None))).get("/openapi-3.2.json").status_code == 404
    assert TestClient(FastAPI()).get("/openapi-3.2.json").status_code == 404


def test_the_response_class_of_the_application_is_not_that_of_signing_in() -> None:
    """Sign-in routes answer JSON, and say so, whatever the application's own routes and its methods answer."""
    app = app_of(Shop, app=FastAPI(default_response_class=HTMLResponse))
    found, usual = Document(app).operations, Document(app_of(Shop)).operations
    assert {name: one for name, one in found.items() if name.startswith("Auth_")} == {
        name: one for name, one in usual.items() if name.startswith("Auth_")
    }
    assert list(found["Shop_show"]["responses"]["200"]["content"]) == ["text/html"]
    client = TestClient(app)
    visitor = client.post("/auth/visitor").json()
    me = client.get("/auth/me", headers={"Authorization": f"Bearer {visitor['access_token']}"})
    assert me.json()["user_id"] == visitor["user_id"]
