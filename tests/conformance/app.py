"""One app that has every kind of method: what each generator has to digest, and what its code then calls."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID

from fastapi import FastAPI, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from fastapi_poto import BigInt, Poto, PotoError, PotoModule, poto_router, public, roles, rpc
from tests.secret import SECRET

T = TypeVar("T")


class Colour(Enum):
    red = "red"
    green = "green"


class Cat(BaseModel):
    """It purrs."""

    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    """It barks."""

    kind: Literal["dog"] = "dog"
    name: str


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Tree(BaseModel):
    value: int
    children: list["Tree"] = []


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: str | None = None


class Renamed(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    in_python: str = Field(alias="onTheWire", examples=["a name"])


class Everything(BaseModel):
    """A member of every type."""

    at: datetime
    day: date
    lasting: timedelta
    price: Decimal
    id: UUID
    colour: Colour
    mode: Literal["fast", "slow"]
    tags: set[str]
    pair: tuple[int, str]
    blob: bytes
    pet: Pet
    tree: Tree
    renamed: Renamed
    big: BigInt
    counts: dict[str, int]
    ratio: float = 0.5
    note: str | None = None


class SkuData(BaseModel):
    sku: str


class UnknownArticle(PotoError):
    """There is no such article."""

    code = "unknown_article"
    status = 404
    data: SkuData


class SoldOut(PotoError):
    """The article is gone."""

    code = "sold_out"
    status = 409
    data: SkuData


class Price(BaseModel):
    price: int


class TooDear(PotoError):
    """More than there is in the purse."""

    code = "too_dear"
    status = 409
    data: Price


class Unheard(PotoError):
    """An error that no client has been generated for."""

    code = "unheard"
    status = 409


class Line(BaseModel):
    sku: str
    quantity: int = 1


class Note(BaseModel):
    """An item that looks like an error."""

    code: str
    detail: str


def refusal(sku: str) -> PotoError | None:
    """The error that an article stands for."""
    errors = {"gone": SoldOut(data=SkuData(sku=sku)), "gold": TooDear(data=Price(price=7)), "new": Unheard()}
    return errors.get(sku)


class Shop(PotoModule):
    """Calls with arguments of every kind, and their errors."""

    @public
    def get_status(self) -> str:
        """Whether the shop is open."""
        return "open"

    async def add_line(self, line: Line, note: str | None = None) -> int:
        """Add a line to the basket.

        Args:
            line: What to add.
            note: For the packer.
        """
        return await self.session.increment("lines", line.quantity) + (len(note) if note else 0)

    async def get_search(
        self,
        text: str,
        limit: int = 3,
        colours: Annotated[list[Colour] | None, Field(description="Any of them")] = None,
        since: date | None = None,
    ) -> Page[Line]:
        """Find articles."""
        colour = "".join(one.value for one in colours or ())
        items = [Line(sku=f"{text}{colour}{since or ''}-{number}", quantity=number) for number in range(limit)]
        return Page[Line](items=items, next=None if limit < 3 else "more")

    async def name_pet(self, pet: Pet, fallback: str | None = None) -> Pet:
        """A union in, a union out."""
        return Dog(name=fallback or "stray") if isinstance(pet, Cat) else Cat(lives=len(pet.name))

    async def find(self, sku: str) -> Line | None:
        """An article, or nothing."""
        return Line(sku=sku) if sku == "tea" else None

    async def echo(self, value: Everything) -> Everything:
        """Give it back as it came."""
        return value

    async def put_tree(self, tree: Tree) -> int:
        """How many nodes it has."""
        count, rest = 0, [tree]
        while rest:
            count += 1
            rest += rest.pop().children
        return count

    async def square(self, number: BigInt) -> BigInt:
        """An integer past what JavaScript can count."""
        return number * number

    async def delete_basket(self) -> None:
        """Empty the basket: 204."""
        await self.session.delete("lines")

    @rpc(errors=[UnknownArticle, SoldOut, TooDear])
    async def buy(self, sku: str) -> Line:
        """Declared errors, two of one status; and one that is not declared."""
        if (refused := refusal(sku)) is not None:
            raise refused
        if sku != "tea":
            raise UnknownArticle(data=SkuData(sku=sku))
        return Line(sku=sku)

    @roles("admin")
    async def close(self) -> None:
        """For admins."""

    @rpc(deprecated=True, summary="An old call")
    async def old(self, choice: Literal["a", "b"] = "a") -> Literal["a", "b"]:
        return choice


class Files(PotoModule):
    """Bytes in, bytes out."""

    async def upload(self, file: UploadFile, title: str = "untitled") -> str:
        """Take a file."""
        return f"{title}: {len(await file.read())} bytes"

    async def get_download(self, size: int) -> bytes:
        """Give one back, whole."""
        return bytes(range(256)) * (size // 256) + bytes(size % 256)

    @rpc(media_type="text/csv")
    async def export(self, rows: int) -> AsyncIterator[bytes]:
        """Give one back in chunks."""
        for row in range(rows):
            yield f"{row},tea\n".encode()


class Token(BaseModel):
    type: Literal["token"] = "token"
    text: str


class Done(BaseModel):
    type: Literal["done"] = "done"
    tokens: int


class Feed(PotoModule):
    """Streams."""

    async def talk(self, words: list[str]) -> AsyncIterator[Annotated[Token | Done, Field(discriminator="type")]]:
        """A stream that ends well."""
        for word in words:
            yield Token(text=word)
        yield Done(tokens=len(words))

    async def get_lines(self, count: int) -> AsyncIterator[Line]:
        """A stream that is got."""
        for number in range(count):
            yield Line(sku=f"tea-{number}")

    @rpc(errors=[SoldOut])
    async def fail(self, after: int) -> AsyncIterator[Line]:
        """A stream that fails: before its first item, or in the middle."""
        for number in range(after):
            yield Line(sku=f"tea-{number}")
            await asyncio.sleep(0.01)
        raise SoldOut(data=SkuData(sku="tea"))

    @rpc(errors=[SoldOut, TooDear])
    async def words(self, sku: str, after: int = 1) -> AsyncIterator[str]:
        """Texts, and then the error that an article stands for."""
        for number in range(after):
            yield f"word {number}"
        raise refusal(sku) or SoldOut(data=SkuData(sku=sku))

    @rpc(errors=[SoldOut, TooDear])
    async def lines(self, sku: str) -> AsyncIterator[Line]:
        """Models, and then an error."""
        yield Line(sku=sku)
        raise refusal(sku) or SoldOut(data=SkuData(sku=sku))

    @rpc(errors=[SoldOut, TooDear])
    async def notes(self, sku: str) -> AsyncIterator[Note]:
        """Models with the members of an error, and then an error."""
        yield Note(code=sku, detail="an item")
        raise refusal(sku) or SoldOut(data=SkuData(sku=sku))

    @rpc(resumable=True)
    async def count(self, to: int) -> AsyncIterator[int]:
        """A stream that can be picked up again."""
        for number in range(1, to + 1):
            yield number
            await asyncio.sleep(0.01)


def make_app() -> FastAPI:
    poto = Poto(SECRET, store="memory://", visitors_per_hour=10_000)
    app = FastAPI(title="Conformance", version="1.0")
    app.include_router(poto_router(Shop, Files, Feed, poto=poto))
    return app
