"""What users of the package see, as type checkers understand it. Never run: `make types` reads it.

A `type: ignore` marks what must be refused; it is an error itself where nothing is refused.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnnecessaryIsInstance=false

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any, assert_type

from fastapi import Depends, FastAPI, UploadFile
from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyHeader
from pydantic import BaseModel

from fastapi_poto import (
    OIDC,
    ApiKeys,
    AuthSettings,
    CallContext,
    Credentials,
    CurrentSession,
    CurrentUser,
    Event,
    Identity,
    OwnSignIn,
    Poto,
    PotoError,
    PotoModule,
    PotoRouter,
    Session,
    Settings,
    Store,
    Topic,
    User,
    UserProvider,
    current_context,
    poto_router,
    public,
    roles,
    rpc,
)
from fastapi_poto.auth import ApiKey, Authenticator
from fastapi_poto.client import PotoClient, TokenPair, events, remote, stop


class Line(BaseModel):
    sku: str
    quantity: int = 1


class Cart(BaseModel):
    lines: list[Line] = []
    visits: int = 0


class SoldOutData(BaseModel):
    sku: str


class SoldOut(PotoError):
    """It is gone."""

    code = "sold_out"
    status = 409
    data: SoldOutData


class Database: ...


def get_database() -> Database:
    return Database()


def next_line(line: Line | None) -> Line:
    return Line(sku="a") if line is None else line


class Shop(PotoModule):
    """Decorated methods keep their signatures."""

    def __init__(self, database: Annotated[Database, Depends(get_database)]) -> None:
        self.database = database

    @public
    def get_status(self) -> str:
        assert_type(self.get_current_user(), User | None)
        return "open"

    @rpc(method="PUT", errors=[SoldOut], summary="Add")
    async def add(self, line: Line, note: str | None = None) -> int:
        assert_type(self.user, User)
        assert_type(self.user.id, str)
        assert_type(self.user.roles, frozenset[str])
        assert_type(self.user.visitor, bool)
        assert_type(self.context, CallContext)
        assert_type(current_context().user, User | None)
        assert_type(self.context.identity, Identity | None)
        assert_type(self.is_request_cancelled(), bool)
        await self.set_session_value("a", 1)
        assert_type(await self.get_session_value("a"), Any)
        if line.quantity > 3:
            raise SoldOut("nothing left", data=SoldOutData(sku=line.sku))
        assert_type(await self.session.increment("lines"), int)
        assert_type(await self.session.all(), dict[str, Any])
        assert_type(await self.session.get("name"), Any)
        assert_type(await self.session.get("name", "nobody"), str)
        assert_type(await self.session.get("lines", []), Any)
        assert_type(await self.session.get("cart", Cart()), Cart)
        assert_type(await self.session.update("line", next_line), Line)
        assert_type(self.session.typed(Cart), Session[Cart])
        return await self.session.increment("lines", by=2)

    async def visit(self, cart: Session[Cart]) -> int:
        assert_type(await cart.load(), Cart)
        return (await cart.load()).visits

    @roles("admin", "clerk")
    async def watch(self, limit: int) -> AsyncIterator[Line]:
        for _ in range(limit):
            yield Line(sku="a")

    async def progress(self) -> AsyncIterator[Event[Line]]:
        yield Event(data=Line(sku="a"), event="progress", id="7")

    def export(self) -> Iterator[bytes]:
        yield b""

    async def upload(self, file: UploadFile) -> str | None:
        return file.filename


@roles("admin")
class Admin(PotoModule):
    async def get_worth(self) -> float:
        return 0.0


async def calls(shop: Shop) -> None:
    assert_type(shop.get_status(), str)
    assert_type(await shop.add(Line(sku="a"), note="n"), int)
    await shop.add("a")  # type: ignore[arg-type]
    await shop.add(Line(sku="a"), nope=1)  # type: ignore[call-arg]
    assert_type(shop.watch(3), AsyncIterator[Line])
    async for line in shop.watch(3):
        assert_type(line, Line)
    async for event in shop.progress():
        assert_type(event.data, Line)
        assert_type(event.id, str | None)
    assert_type(await Admin().get_worth(), float)
    assert_type(SoldOut(data=SoldOutData(sku="a")).data, SoldOutData)


app = FastAPI()
assert_type(poto_router(Shop, Admin), PotoRouter)
app.include_router(poto_router(Shop, Admin, prefix="/v1", tags=["shop"]), prefix="/api")
poto = Poto("x" * 32, store="sqlite:///file.db", visitors_per_hour=None, strict=True)
Poto(["x" * 32, "y" * 32], settings=Settings(auth=AuthSettings(access_ttl=60)))
Poto({"2026": "x" * 32}, store="redis://localhost")
poto_router(Shop, poto=poto, auth=False)
assert_type(poto.users, UserProvider)
assert_type(poto.settings, Settings)
assert_type(poto.store, Store)
assert_type(poto.authenticator, Authenticator)


class Badge:
    """A way of one's own; not a subclass of anything."""

    security = (APIKeyHeader(name="X-Badge"),)

    async def authenticate(self, connection: HTTPConnection) -> Identity | None:
        return Identity(User("badge:1"), "badge")

    async def is_active(self, identity: Identity) -> bool:
        return True


badge: Credentials = Badge()
corp = OIDC("https://login.example", audience="shop", roles=lambda claims: claims["roles"])
Poto(credentials=[OwnSignIn(), corp, ApiKeys(routes=True), badge])
Poto(credentials=[object()])  # type: ignore[list-item]
OIDC("https://login.example")  # type: ignore[call-arg]


async def keys() -> None:
    assert_type(await poto.keys.create("ann", name="cron"), str)
    assert_type(await poto.keys.list("ann"), Sequence[ApiKey])
    assert_type(await poto.authenticator.authenticate({}), Identity | None)


class Notice(BaseModel):
    text: str


inbox = Topic("inbox:{user}", Notice, keep=500, life=300)
lines = Topic("lines", Line)
either: Topic[Notice | Line] = Topic("either", Notice | Line)
assert_type(inbox, Topic[Notice])


class Inbox(PotoModule):
    async def get_notices(self) -> AsyncIterator[Event[Notice]]:
        async for event in self.subscribe(inbox(user=self.user.id), policy="latest"):
            assert_type(event.data, Notice)
            yield event

    async def get_both(self) -> AsyncIterator[Event[Notice | Line]]:
        async for event in self.subscribe(inbox(user="ada"), lines()):
            assert_type(event, Event[Notice | Line])
            yield event

    async def get_either(self) -> AsyncIterator[Event[Notice | Line]]:
        async for event in self.subscribe(either()):
            assert_type(event, Event[Notice | Line])
            yield event

    async def get_texts(self) -> AsyncIterator[Event[str]]:
        async for event in self.subscribe(inbox(user="ada")):
            yield event.map(lambda notice: notice.text)

    async def wrong(self) -> None:
        self.subscribe(inbox(user="ada"), policy="drop")  # type: ignore[call-overload]
        self.subscribe("inbox:ada")  # type: ignore[call-overload]


async def topics(poto: Poto) -> None:
    assert_type(await poto.publish(inbox(user="ada"), Notice(text="hi")), str)
    await poto.publish(inbox(user="ada"), Line(sku="a"))  # type: ignore[misc]
    await poto.publish(inbox(user="ada"), "hi")  # type: ignore[misc]
    async for event in poto.subscribe(inbox(user="ada"), after="start"):
        assert_type(event.data.text, str)
    await poto.streams.stop("id")
    await stop(remote(Shop.get_status))  # type: ignore[arg-type]


@app.get("/plain")
async def plain(user: CurrentUser, session: CurrentSession) -> str:
    assert_type(user, User)
    assert_type(await session.increment("n"), int)
    return user.id


async def remote_calls() -> None:
    async with PotoClient("http://localhost:8000", timeout=5) as client:
        shop = client.module(Shop)
        assert_type(shop, Shop)
        assert_type(await shop.add(Line(sku="a")), int)
        assert_type(await remote(shop.get_status()), str)
        async for line in shop.watch(3):
            assert_type(line, Line)
        async for chunk in remote(shop.export()):
            assert_type(chunk, bytes)
        async for event in events(shop.watch(3)):
            assert_type(event.data, Line)
        async for progress in shop.progress():
            assert_type(progress, Event[Line])
        async for told in events(shop.progress()):
            assert_type(told, Event[Line])
        assert_type(client.tokens, TokenPair | None)
        await shop.add("a")  # type: ignore[arg-type]
        client.module(Database)  # type: ignore[type-var]


poto_router(Database)  # type: ignore[arg-type]
poto_router(Shop(Database()))  # type: ignore[arg-type]
Poto(1)  # type: ignore[arg-type]
Poto(acess_ttl=60)  # type: ignore[call-arg]
Poto(access_ttl="60")  # type: ignore[arg-type]
poto_router(Shop, prefxi="/v1")  # type: ignore[call-arg]
poto_router(Shop, prefix=1)  # type: ignore[arg-type]
roles(1)  # type: ignore[arg-type]
rpc(errors=[ValueError])  # type: ignore[list-item]
rpc("PUT")  # type: ignore[call-overload]
