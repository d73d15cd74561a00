"""What the shop sells. Kept in this process: a real shop asks its database here."""

import asyncio
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from fastapi_poto import PotoError

Sku = Annotated[str, Field(max_length=40, examples=["teapot"])]
"""With an example for which calls in /docs work."""


class Article(BaseModel):
    sku: str = Field(pattern=r"^[a-z0-9-]{1,40}$", examples=["teapot"])
    name: str = Field(min_length=1, max_length=200, examples=["Clay teapot"])
    price: Decimal = Field(ge=0, max_digits=8, decimal_places=2, examples=["49.00"])
    stock: int = Field(default=0, ge=0, le=1_000_000)


class SkuData(BaseModel):
    sku: str


class UnknownArticle(PotoError):
    """There is no such article."""

    code = "unknown_article"
    status = 404
    data: SkuData


class SoldOutData(SkuData):
    left: int


class SoldOut(PotoError):
    """There is not enough of the article."""

    code = "sold_out"
    status = 409
    data: SoldOutData


class Warehouse:
    """Articles and how many there are. Whoever waits for a change is told."""

    def __init__(self, *articles: Article) -> None:
        self._articles = {article.sku: article for article in articles}
        self._changed = asyncio.Event()

    def articles(self) -> list[Article]:
        """All of them, by sku. May be asked from a thread."""
        return sorted(self._articles.values(), key=lambda article: article.sku)

    def find(self, sku: str) -> Article:
        article = self._articles.get(sku)
        if article is None:
            raise UnknownArticle(data=SkuData(sku=sku))
        return article

    def put(self, article: Article) -> None:
        self._articles[article.sku] = article
        self._tell()

    def remove(self, sku: str) -> None:
        del self._articles[self.find(sku).sku]
        self._tell()

    def take(self, basket: dict[str, int]) -> Decimal:
        """Take all of it or nothing; the price of it. No await between the check and the change."""
        for sku, quantity in basket.items():
            if (left := self.find(sku).stock) < quantity:
                raise SoldOut(data=SoldOutData(sku=sku, left=left))
        total = Decimal(0)
        for sku, quantity in basket.items():
            article = self.find(sku)
            self._articles[sku] = article.model_copy(update={"stock": article.stock - quantity})
            total += article.price * quantity
        self._tell()
        return total

    async def wait_for_change(self) -> None:
        await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


warehouse = Warehouse(
    Article(sku="kettle", name="Enamel kettle", price=Decimal("34.90"), stock=12),
    Article(sku="teapot", name="Clay teapot", price=Decimal("49.00"), stock=3),
    Article(sku="cup", name="Cup without a handle", price=Decimal("7.50"), stock=40),
)


def get_warehouse() -> Warehouse:
    """A FastAPI dependency: tests and deployments replace it with `app.dependency_overrides`."""
    return warehouse
