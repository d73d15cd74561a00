"""Modules that give back what they were given."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

from fastapi import BackgroundTasks, Body, Cookie, Depends, Header, Query, Request, Response, UploadFile
from pydantic import BaseModel, Field, Json
from typing_extensions import TypedDict

from fastapi_poto import PotoModule, public, rpc


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Line(BaseModel):
    sku: str
    quantity: int = 1


@dataclass
class Size:
    width: int


class Price(TypedDict):
    cents: int


def shelf() -> str:
    return "shelf"


done: list[str] = []


@public
class Echo(PotoModule):
    async def one(self, line: Line) -> Line:
        return line

    async def scalar(self, number: int) -> int:
        return number + 1

    def sync(self, number: int, word: str = "x") -> str:
        return word * number

    async def defaults(
        self,
        a: int = 1,
        b: list[int] = Field(default_factory=list),
        c: Annotated[int, Field(ge=3)] = 3,
        d: int | None = None,
        e: str = Field("e", max_length=3),
        f: int = Body(7),
    ) -> list[Any]:
        return [a, b, c, d, e, f]

    async def basket(self, sku: str, lines: list[Line] = [], prices: dict[str, int] = {}) -> int:  # noqa: B006
        lines.append(Line(sku=sku))
        prices[sku] = 1
        return len(lines) + len(prices)

    async def get_parsed(self, numbers: Json[list[int]], more: Json[list[int]] | None = None) -> int:
        return sum([*numbers, *(more or [])])

    async def get_numbers(self, n: int, numbers: list[int] = []) -> list[int]:  # noqa: B006
        numbers.append(n)
        return numbers

    async def watch(self, response: Response) -> AsyncIterator[int]:
        response.set_cookie("seen", "1")
        yield 1

    async def raw(self, data: bytes, lines: list[Line]) -> bytes:
        return data + lines[0].sku.encode()

    async def get_query(
        self,
        number: int,
        colours: list[Colour],
        day: date | None = None,
        ids: set[UUID] | None = None,
        flag: bool = False,
    ) -> dict[str, Any]:
        return {"number": number, "colours": colours, "day": day, "ids": ids, "flag": flag}

    async def delete_thing(self, name: str) -> None:
        assert name

    async def post_nothing(self) -> str:
        return "nothing"

    async def own_body(self, request: Request) -> str:
        return (await request.body()).decode()

    async def found(
        self,
        number: int,
        request: Request,
        response: Response,
        tasks: BackgroundTasks,
        shelf: Annotated[str, Depends(shelf)],
        agent: Annotated[str, Header(alias="X-Agent")] = "none",
        crumb: Annotated[str, Cookie()] = "none",
        page: int = Query(1),
    ) -> dict[str, Any]:
        response.headers["X-Answer"] = "yes"
        response.status_code = 202
        tasks.add_task(done.append, f"{number}")
        return {
            "number": number, "path": request.url.path, "shelf": shelf, "agent": agent, "crumb": crumb, "page": page,
        }  # fmt: skip

    async def upload(
        self, file: UploadFile, others: list[UploadFile], note: str = "", line: Line | None = None
    ) -> dict[str, Any]:
        return {
            "name": file.filename, "size": len(await file.read()), "others": len(others), "note": note, "line": line,
        }  # fmt: skip

    @rpc(method="GET", path="things/{thing_id}")
    async def thing(self, thing_id: int, deep: bool = False) -> dict[str, Any]:
        return {"id": thing_id, "deep": deep}

    @rpc(path="things/{line_id}/line")
    async def put_line(self, line_id: int, line: Line) -> dict[str, Any]:
        return {"id": line_id, "line": line}

    async def own_types(self, size: Size, price: Price) -> list[Any]:
        return [size, price]
