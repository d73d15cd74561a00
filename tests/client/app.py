"""Modules of every kind, as a server has them and a client names them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, FastAPI, File, Form, Header, HTTPException, Query, Response, UploadFile
from pydantic import BaseModel, Field

from fastapi_poto import (
    CurrentUser,
    Event,
    Poto,
    PotoError,
    PotoModule,
    current_context,
    poto_router,
    public,
    roles,
    rpc,
)
from fastapi_poto.errors import Forbidden, TooManyRequests, Unauthenticated, Unavailable
from tests.secret import SECRET

T = TypeVar("T")


class Line(BaseModel):
    sku: str
    quantity: int = 1


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class SoldOutData(BaseModel):
    sku: str
    since: datetime


class SoldOut(PotoError):
    """The article is gone."""

    code = "sold_out"
    status = 409
    data: SoldOutData

    def __init__(self, sku: str) -> None:
        super().__init__(f"No {sku} is left", data=SoldOutData(sku=sku, since=datetime(2026, 1, 2, tzinfo=UTC)))


class Secret(PotoError):
    """Not declared by the method that raises it."""

    code = "secret"
    status = 418


def unit_price() -> int:
    return 7


class Crud(PotoModule, Generic[T]):
    async def echo(self, item: T) -> T:
        return item

    async def echo_all(self, items: list[T]) -> list[T]:
        return items


class Lines(Crud[Line]):
    """A generic base, filled."""


class Shop(PotoModule):
    closed: list[str] = []

    @public
    def get_status(self) -> str:
        return "open"

    async def whoami(self) -> str:
        return self.user.id

    async def add_line(self, line: Line, note: str | None = None) -> int:
        await self.session.set("note", note)
        return await self.session.increment("lines", line.quantity)

    @public
    async def get_typed(
        self,
        when: datetime,
        colours: list[Colour],
        ids: set[UUID] = frozenset(),  # type: ignore[assignment]
        price: Decimal = Decimal("1.10"),
        flag: bool = False,
        name: str | None = None,
        raw: bytes = b"",
    ) -> str:
        return (
            f"{when.isoformat()} {[one.name for one in colours]} {sorted(map(str, ids))} {price} {flag} {name} {raw!r}"
        )

    @roles("admin")
    async def delete_basket(self, user_id: str) -> None: ...

    @public
    async def nothing(self) -> None: ...

    @public
    async def reverse(self, blob: bytes) -> bytes:
        return blob[::-1]

    @public
    async def embedded(self, blobs: dict[str, bytes], number: float) -> tuple[dict[str, bytes], float]:
        return blobs, number

    @public
    async def measure(
        self, file: UploadFile, more: list[UploadFile] | None = None, title: str = "none"
    ) -> dict[str, str]:
        told = {file.filename or "": f"{len(await file.read())} {file.content_type}", "title": title}
        for one in more or []:
            told[one.filename or ""] = str(len(await one.read()))
        return told

    async def measure_mine(self, file: UploadFile) -> int:
        return len(await file.read())

    @public
    async def form(self, name: Annotated[str, Form()], raw: Annotated[bytes, File()], line: Line) -> str:
        return f"{name} {raw!r} {line.sku}"

    @public
    @rpc(path="items/{number}", method="PUT")
    async def solved(
        self,
        number: int,
        amount: int,
        x_tag: Annotated[str, Header()],
        page: Annotated[list[int], Query()] = [],  # noqa: B006
        price: int = Depends(unit_price),
    ) -> str:
        return f"{number} {amount} {x_tag} {page} {price}"

    async def with_user(self, user: CurrentUser) -> str:
        return user.id

    @public
    async def raw(self) -> Response:
        return Response("teapot", status_code=200, headers={"x-kind": "raw"})

    # Errors

    @public
    @rpc(errors=[SoldOut])
    async def buy(self, sku: str) -> None:
        raise SoldOut(sku)

    @public
    async def fail(self, how: str) -> int:
        match how:
            case "undeclared":
                raise Secret("hush", data={"a": 1})
            case "http":
                raise HTTPException(404, "no such line")
            case "teapot":
                raise HTTPException(418, {"any": "thing"})
            case "too many":
                raise TooManyRequests(retry_after=7)
            case "unavailable":
                raise Unavailable(retry_after=3)
            case "unauthenticated":
                raise Unauthenticated("the method says so")
            case "forbidden":
                raise Forbidden("not you")
        raise ZeroDivisionError("a secret detail")

    @public
    async def add_positive(self, a: Annotated[int, Field(ge=0)] = 0, line: Line | None = None) -> int:
        return a

    # Time

    @public
    async def sleep(self, seconds: float) -> float | None:
        await asyncio.sleep(seconds)
        return current_context().remaining

    @public
    async def remaining(self) -> float | None:
        return current_context().remaining

    # Streams

    async def watch(self, limit: int, then: str = "close") -> AsyncIterator[Line]:
        for number in range(limit):
            yield Line(sku=f"{self.user.id}-{number}", quantity=number)
        if then == "declared":
            raise SoldOut("a")
        if then == "unexpected":
            raise ZeroDivisionError("a secret detail")
        if then == "unavailable":
            raise Unavailable

    @public
    def get_count(self, limit: int) -> Iterator[int]:
        yield from range(limit)

    @public
    async def named(self) -> AsyncIterator[str]:
        yield Event("a", event="progress", id="1")  # type: ignore[misc]
        yield "b"

    @public
    async def progress(self) -> AsyncIterator[Event[Line]]:
        yield Event(Line(sku="a"), event="progress", id="1")
        yield Event(Line(sku="b"))

    @public
    async def mixed(self) -> AsyncIterator[Event[int] | Line]:
        yield Event(1, event="count")
        yield Line(sku="a")

    @public
    async def forever(self, key: str, pause: float = 0.001) -> AsyncIterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
                await asyncio.sleep(pause)
        finally:
            self.closed.append(key)

    @rpc(resumable=True, errors=[SoldOut])
    async def ticks(self, limit: int, pause: float = 0.0, then: str = "close") -> AsyncIterator[int]:
        for number in range(limit):
            yield number
            await asyncio.sleep(pause)
        if then == "declared":
            raise SoldOut("a")

    @public
    async def download(self, size: int, chunks: int, then: str = "end") -> AsyncIterator[bytes]:
        for _ in range(chunks):
            yield b"x" * size
        if then == "fail":
            raise ZeroDivisionError

    @public
    async def opened(self) -> AsyncIterator[int]:
        async def numbers() -> AsyncIterator[int]:
            yield 1
            yield 2

        return numbers()


def make_app(**options: object) -> FastAPI:
    app = FastAPI()
    app.state.poto = poto = Poto(SECRET, **options)  # type: ignore[arg-type]
    app.include_router(poto_router(Shop, Lines, poto=poto), prefix="/api")
    return app
