"""Where modules are mounted: prefixes, nested routers, sub-applications, several routers and applications."""

from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.routing import APIRoute

from fastapi_poto import ConfigurationError, CurrentUser, Poto, PotoModule, User, poto_router, public
from fastapi_poto.auth.dependencies import current_user
from tests.secret import SECRET

from .conftest import Serve

pytestmark = pytest.mark.anyio


class Shop(PotoModule):
    @public
    async def get_status(self) -> str:
        return "open"

    async def whoami(self) -> str:
        return self.user.id

    @public
    async def route(self) -> list[Any]:
        scope, route = self.context.scope, self.context.scope["route"]
        return [route.path, scope["endpoint"].__qualname__, isinstance(route, APIRoute), scope["path_params"]]


class Admin(PotoModule):
    async def whoami(self) -> str:
        return self.user.id


class Base(PotoModule):
    @public
    async def who(self) -> str:
        return type(self).__name__


class S1(Base): ...


class S2(Base): ...


def client_of(app: Any, **arguments: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, **arguments), base_url="http://test")


async def test_prefix(serve: Serve) -> None:
    """The router's own prefix and that of its inclusion stand before the module's path."""
    client = serve(Shop, prefix="/v1", tags=["own"]).client
    assert (await client.get("/v1/Shop/status")).json() == "open"
    assert (await client.get("/Shop/status")).status_code == 404


async def test_nested_includes(serve: Serve) -> None:
    """A router inside routers is found, and its route shows its whole path."""
    app = FastAPI()
    inner, outer = APIRouter(prefix="/inner"), APIRouter()
    inner.include_router(poto_router(Shop, poto=Poto(SECRET)), prefix="/deep")
    outer.include_router(inner, prefix="/outer")
    app.include_router(outer)
    async with client_of(app) as client:
        assert (await client.get("/outer/inner/deep/Shop/status")).json() == "open"
        answer = (await client.post("/outer/inner/deep/Shop/route")).json()
        assert answer == ["/outer/inner/deep/Shop/route", "Shop.route", True, {}]
        assert (await client.post("/outer/inner/deep/auth/visitor")).status_code == 200


async def test_a_sub_application(serve: Serve) -> None:
    """A mounted FastAPI application serves its modules below the mount."""
    outer, served = FastAPI(), serve(Shop)
    outer.mount("/sub", served.app)
    async with client_of(outer) as client:
        assert (await client.get("/sub/Shop/status")).json() == "open"
        assert (await client.get("/Shop/status")).status_code == 404


async def test_root_path(serve: Serve) -> None:
    """Behind a proxy that strips or keeps the prefix, root_path changes nothing for the caller."""
    served = serve(Shop)
    async with client_of(served.app, root_path="/api") as client:
        assert (await client.get("/Shop/status")).json() == "open"
        assert (await client.get("/api/Shop/status")).json() == "open"


async def test_what_instrumentation_reads(serve: Serve) -> None:
    """scope has the route with its full path, the method's name, and the path's parameters, on both paths."""
    client = serve(Shop, prefix="/v1").client
    assert (await client.post("/v1/Shop/route")).json() == ["/v1/Shop/route", "Shop.route", True, {}]


async def test_other_verbs_and_paths(serve: Serve) -> None:
    """405 with Allow for another verb, 404 for what is not there; case and private names are not forgiven."""
    client = serve(Shop).client
    answer = await client.post("/Shop/status")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    for path in ("/shop/status", "/Shop/Status", "/Shop/_status", "/Shop/get_session_value", "/Shop/__init__",
                 "/Shop/user", "/Shop", "/Shop/status/x", "/Shop/is_request_cancelled"):  # fmt: skip
        assert (await client.get(path)).status_code == 404, path
        assert (await client.post(path)).status_code == 404, path


async def test_every_verb_of_a_path() -> None:
    """405 names all the verbs that a path has, not only the first (RFC 9110, 15.5.6)."""

    @public
    class Shelf(PotoModule):
        async def get_book(self) -> str:
            return "a book"

        async def put_book(self) -> None: ...

        async def delete_book(self) -> None: ...

    app = FastAPI()
    app.include_router(poto_router(Shelf, poto=Poto(SECRET)), prefix="/v1")
    async with client_of(app) as client:
        for verb in ("POST", "OPTIONS", "PATCH"):
            answer = await client.request(verb, "/v1/Shelf/book")
            assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
            assert answer.headers["allow"] == "DELETE, GET, PUT"
        assert (await client.get("/v1/Shelf/book")).json() == "a book"


async def test_other_routes_of_the_application(serve: Serve) -> None:
    """Routes before and after the router, and on the router, work as ever."""
    app = FastAPI()
    router = poto_router(Shop, poto=Poto(SECRET))

    @router.get("/own/{number}")
    async def own(number: int) -> int:
        return number

    @app.get("/before")
    async def before() -> str:
        return "before"

    app.include_router(router)

    @app.get("/after/{name}")
    async def after(name: str) -> str:
        return name

    async with client_of(app) as client:
        assert (await client.get("/before")).json() == "before"
        assert (await client.get("/after/x")).json() == "x"
        assert (await client.get("/own/3")).json() == 3
        assert (await client.get("/Shop/status")).json() == "open"


async def test_two_routers_share_one_sign_in() -> None:
    """Routers of one runtime accept each other's tokens, and document the sign-in routes once."""
    app, poto = FastAPI(), Poto(SECRET)
    app.include_router(poto_router(Shop, poto=poto))
    app.include_router(poto_router(Admin, poto=poto))
    async with client_of(app) as client:
        token = (await client.post("/auth/visitor")).json()
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        for path in ("/Shop/whoami", "/Admin/whoami"):
            assert (await client.post(path, headers=headers)).json() == token["user_id"]
    assert "/auth/visitor" in app.openapi()["paths"]


async def test_one_module_in_two_applications() -> None:
    """Each application has its own runtime: a token of one is nothing to the other."""
    apps = [FastAPI(), FastAPI()]
    for app, secret in zip(apps, (SECRET, SECRET[::-1]), strict=True):
        app.include_router(poto_router(Shop, poto=Poto(secret)))
    async with client_of(apps[0]) as one, client_of(apps[1]) as two:
        token = (await one.post("/auth/visitor")).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert (await one.post("/Shop/whoami", headers=headers)).status_code == 200
        assert (await two.post("/Shop/whoami", headers=headers)).status_code == 401


async def test_two_subclasses_of_one_base(serve: Serve) -> None:
    """They never share an endpoint."""
    client = serve(S1, S2).client
    assert (await client.post("/S1/who")).json() == "S1"
    assert (await client.post("/S2/who")).json() == "S2"


async def test_one_router_twice_is_a_clash() -> None:
    """Two operations with one id are an error at start-up, with the cure."""
    app, router = FastAPI(), poto_router(Shop, poto=Poto(SECRET))
    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2")
    clash = r"/v1/Shop/status .*Shop\.get_status.* and /v2/Shop/status .* Shop_get_status"
    with pytest.raises(ConfigurationError, match=clash):
        async with app.router.lifespan_context(app):
            pass


async def test_router_dependencies_run_after_authentication(serve: Serve) -> None:
    """Dependencies of the router, of its inclusion and of the application hold for every method."""
    seen: list[str] = []

    async def note(request: Request) -> None:
        seen.append(request.url.path)
        if "stop" in request.query_params:
            raise HTTPException(409, "stopped")

    app = FastAPI(dependencies=[Depends(note)])
    app.include_router(poto_router(Shop, poto=Poto(SECRET), dependencies=[Depends(note)]), dependencies=[Depends(note)])
    async with client_of(app) as client:
        assert (await client.post("/Shop/whoami?stop=1")).status_code == 401
        assert (await client.get("/Shop/status")).json() == "open"
        assert (await client.get("/Shop/status?stop=1")).json() == {"detail": "stopped"}
    assert seen.count("/Shop/status") >= 2


async def test_dependency_overrides(serve: Serve) -> None:
    """app.dependency_overrides of a method's dependency and of current_user hold, and end when they are removed."""

    def place() -> str:
        return "real"

    class Local(PotoModule):
        async def act(self, place: Annotated[str, Depends(place)]) -> list[str]:
            return [place, self.user.id]

        async def plain(self) -> str:
            return self.user.id

    served = serve(Local)
    served.app.dependency_overrides[place] = lambda: "fake"
    served.app.dependency_overrides[current_user] = lambda: User(id="tester")
    assert (await served.client.post("/Local/act")).json() == ["fake", "tester"]
    assert (await served.client.post("/Local/plain")).json() == "tester"
    served.app.dependency_overrides.clear()
    assert (await served.client.post("/Local/plain")).status_code == 401


async def test_plain_routes_know_the_user(serve: Serve) -> None:
    """CurrentUser works in a route that is no module's."""
    served = serve(Shop)

    @served.app.get("/plain")
    async def plain(user: CurrentUser) -> str:
        return user.id

    assert (await served.client.get("/plain")).status_code == 401
    client = await served.signed_in()
    assert (await client.get("/plain")).json() == (await client.post("/Shop/whoami")).json()


async def test_middleware_and_head(serve: Serve) -> None:
    """The application's middleware sees calls, and may answer in their place."""
    app = FastAPI()

    @app.middleware("http")
    async def mark(request: Request, call_next: Any) -> Any:
        answer = await call_next(request)
        answer.headers["X-Route"] = getattr(request.scope.get("route"), "path", "none")
        return answer

    client = serve(Shop, app=app, prefix="/v1").client
    assert (await client.get("/v1/Shop/status")).headers["X-Route"] == "/v1/Shop/status"
