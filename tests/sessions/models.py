"""Classes that tests keep in sessions: at the top of a module, where a reader finds them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Generic, NamedTuple, TypeVar

from pydantic import (
    AnyUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PrivateAttr,
    RootModel,
    SecretStr,
    field_validator,
)

T = TypeVar("T")


class Colour(Enum):
    RED = "red"
    BLUE = 2


class Size(IntEnum):
    SMALL = 1


class Kind(StrEnum):
    BOOK = "book"


class Point(NamedTuple):
    x: int
    y: int


class Line(BaseModel):
    sku: str
    quantity: int = 1


class Gift(Line):
    message: str = ""


class Order(BaseModel):
    lines: list[Line] = []
    total: Decimal = Decimal(0)
    at: datetime | None = None
    colour: Colour = Colour.RED
    marks: frozenset[int] = frozenset()


class Aliased(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    inner: int = Field(alias="outer")


class Page(BaseModel, Generic[T]):
    items: list[T]


class Shelf(BaseModel):
    page: Page[Line] | None = None
    pages: Page[Page[int]] | None = None


class Numbers(RootModel[list[int]]):
    pass


class Link(BaseModel):
    url: AnyUrl
    address: IPv4Address


class Password(BaseModel):
    value: SecretStr


class Remembering(BaseModel):
    name: str
    _seen: int = PrivateAttr(default=0)


@dataclass(frozen=True)
class MountPoint:
    name: str
    at: datetime


class Home(MountPoint):
    """Inherits its fields; no dataclass decorator of its own."""


@dataclass
class Counted:
    """Is another one each time that it is made of its fields."""

    times: int

    def __post_init__(self) -> None:
        self.times += 1


@dataclass(eq=False)
class Unequal:
    number: int


class Hashed(BaseModel):
    """Its validator does not take what it gave for that."""

    password: str = ""

    @field_validator("password")
    @classmethod
    def hash(cls, value: str) -> str:
        return f"hash of {value}"


class Split(BaseModel):
    """Its validators only take what a form sends."""

    tags: Annotated[list[str], BeforeValidator(lambda value: value.split(","))] = []
    numbers: Json[list[int]] = Field(default="[]", validate_default=True)


class Measured(BaseModel):
    value: float


class Hidden(BaseModel):
    address: IPv4Address = Field(default=IPv4Address("127.0.0.1"), exclude=True)


class Settings(BaseModel):
    """A shape with types that only Pydantic knows."""

    model_config = ConfigDict(extra="allow")

    home: AnyUrl | None = None
    address: IPv4Address = IPv4Address("127.0.0.1")
    secret: SecretStr | None = None


class Cart(BaseModel):
    """A session's shape."""

    lines: list[Line] = []
    count: int = 0
    stock: int = 10
    discount: Annotated[Decimal, Field(ge=0, le=1)] = Decimal(0)
    note: str | None = None

    @field_validator("note")
    @classmethod
    def strip_note(cls, value: str | None) -> str | None:
        return value.strip() if value else value


class Tally(BaseModel):
    """Counters, of which some have a say in what they become."""

    free: int = 0
    checked: int = 0
    limited: Annotated[int, Field(le=2)] = 0
    started: int = 5

    @field_validator("checked")
    @classmethod
    def at_most_two(cls, value: int) -> int:
        if value > 2:
            raise ValueError("more than two")
        return value


class CartOfTomorrow(BaseModel):
    """The same session after a deployment that changed its shape."""

    lines: int = 7
    count: int = 0


class NeedsMore(BaseModel):
    sku: str
