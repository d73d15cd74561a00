"""Every type of value: in over the wire, checked to be the Python type it claims, and out again."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from fastapi_poto import PotoModule


class Colour(Enum):
    red = "red"
    green = "green"


class Level(IntEnum):
    low = 1
    high = 2


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Tree(BaseModel):
    value: int
    children: list["Tree"] = []


class Aliased(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    in_python: str = Field(alias="onTheWire")


class Rich(BaseModel):
    at: datetime
    price: Decimal
    id: UUID
    tags: set[str]
    blob: bytes
    pet: Pet
    ratio: float = 0.0
    note: str | None = None


@dataclass
class Point:
    x: int
    y: float = 0.0


class Movie(TypedDict):
    title: str
    year: int


class Span(NamedTuple):
    first: int
    last: int


def same(value: Any, kind: type | tuple[type, ...]) -> Any:
    assert isinstance(value, kind), f"{value!r} is a {type(value)}"
    return value


class Types(PotoModule):
    """Each method gives back what it got."""

    async def moment(self, value: datetime) -> datetime:
        return same(value, datetime)

    async def day(self, value: date) -> date:
        return same(value, date)

    async def clock(self, value: time) -> time:
        return same(value, time)

    async def duration(self, value: timedelta) -> timedelta:
        return same(value, timedelta)

    async def decimal(self, value: Decimal) -> Decimal:
        return same(value, Decimal)

    async def uuid(self, value: UUID) -> UUID:
        return same(value, UUID)

    async def numbers(self, value: set[int]) -> set[int]:
        return same(value, set)

    async def words(self, value: frozenset[str]) -> frozenset[str]:
        return same(value, frozenset)

    async def blobs(self, value: list[bytes]) -> list[bytes]:
        return [same(blob, bytes) for blob in value]

    async def colour(self, value: Colour) -> Colour:
        return same(value, Colour)

    async def level(self, value: Level) -> Level:
        return same(value, Level)

    async def pet(self, value: Pet) -> Pet:
        return same(value, (Cat, Dog))

    async def scalar(self, value: int | str | bool | None) -> int | str | bool | None:
        return value

    async def tree(self, value: Tree) -> Tree:
        return same(value, Tree)

    async def aliased(self, value: Aliased) -> Aliased:
        return same(value, Aliased)

    async def rich(self, value: Rich) -> Rich:
        same(value.blob, bytes), same(value.tags, set), same(value.pet, (Cat, Dog))
        return same(value, Rich)

    async def point(self, value: Point) -> Point:
        return same(value, Point)

    async def movie(self, value: Movie) -> Movie:
        return same(value, dict)

    async def span(self, value: Span) -> Span:
        return same(value, Span)

    async def pair(self, value: tuple[int, str]) -> tuple[int, str]:
        return same(value, tuple)

    async def integer(self, value: int) -> int:
        return same(value, int)

    async def number(self, value: float) -> float:
        return same(value, float)

    async def flag(self, value: bool) -> bool:
        return same(value, bool)

    async def text(self, value: str) -> str:
        return same(value, str)

    async def choice(self, value: Literal["a", 1]) -> Literal["a", 1]:
        return value

    async def address(self, value: IPv4Address) -> IPv4Address:
        return same(value, IPv4Address)

    async def by_number(self, value: dict[int, str]) -> dict[int, str]:
        return {same(key, int): text for key, text in value.items()}

    async def by_name(self, value: dict[str, list[int | None]]) -> dict[str, list[int | None]]:
        return same(value, dict)

    async def anything(self, value: Any) -> Any:
        return value

    async def optional(self, value: str | None = "unset") -> str | None:
        return value

    async def bounded(self, value: Annotated[int, Field(ge=1, le=10)]) -> int:
        return value

    async def several(self, first: Tree, second: Rich | None = None, *, third: list[Pet] = []) -> tuple[int, bool, int]:  # noqa: B006
        return first.value, second is None, len(third)

    async def stream(self, values: list[Rich]) -> AsyncIterator[Rich]:
        for value in values:
            yield value

    async def get_query(
        self, at: datetime, price: Decimal, id: UUID, colour: Colour, numbers: list[int], note: str | None = None
    ) -> tuple[datetime, Decimal, UUID, Colour, list[int], str | None]:
        return at, price, id, colour, numbers, note


RICH_VALUES: dict[str, Any] = {
    "moment": datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    "naive": datetime(2026, 1, 1, 12),
    "utc": datetime(2026, 1, 1, tzinfo=UTC),
    "day": date(1, 1, 1),
    "clock": time(23, 59, 59, 1),
    "duration": timedelta(days=-1, microseconds=1),
    "decimal": Decimal("0.10000000000000000000000000001"),
    "uuid": UUID(int=2**128 - 1),
    "numbers": {1, 2, 3},
    "words": frozenset({"a", "ß"}),
    "blob": bytes(range(256)),
    "colour": Colour.green,
    "level": Level.high,
    "pair": (1, "two", (3.0, None)),
    "integer": 2**80,
    "tree": Tree(value=1, children=[Tree(value=2)]),
    "point": Point(1, 2.5),
    "mixed": {"list": [1, "a", None, {"deep": (1, {2})}], "text": "\U0001f600 \u2028 \0"},
    "empty": [[], {}, "", set(), b""],
}


class Kept(PotoModule):
    """The same values in a session."""

    async def put(self) -> list[str]:
        for name, value in RICH_VALUES.items():
            await self.session.set(name, value)
        return sorted(RICH_VALUES)

    async def changed(self) -> list[str]:
        """The names of those that did not come back equal and of the same type."""
        kept = await self.session.all()
        return [
            f"{name}: {value!r} became {kept.get(name)!r}"
            for name, value in RICH_VALUES.items()
            if kept.get(name) != value or type(kept[name]) is not type(value)
        ]
