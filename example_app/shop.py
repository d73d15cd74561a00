"""Plain methods: what is public, what needs a caller, what a session keeps, and errors with data."""

from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from fastapi_poto import PotoError, PotoModule, public, rpc

from .warehouse import Article, Sku, SkuData, SoldOut, UnknownArticle, warehouse


class Line(BaseModel):
    sku: Sku
    quantity: int = Field(default=1, ge=1, le=100)


class Basket(BaseModel):
    lines: list[Line]
    total: Decimal


class Receipt(BaseModel):
    number: int
    paid: Decimal


class Shop(PotoModule):
    """Articles, and a basket for each user."""

    @public
    def get_articles(self, search: Annotated[str, Field(max_length=100)] = "") -> list[Article]:
        """What is on sale.

        A plain `def` runs in a worker thread, so it may block.

        Args:
            search: Part of a name; empty for everything.
        """
        return [article for article in warehouse.articles() if search.lower() in article.name.lower()]

    @rpc(errors=[UnknownArticle])
    async def add_line(self, line: Line) -> Basket:
        """Put something into this user's basket."""
        warehouse.find(line.sku)
        # One step: two tabs that add at once lose nothing.
        kept = await self.session.update("basket", lambda kept: _together(kept, {line.sku: line.quantity}), {})
        return _basket(kept)

    async def get_basket(self) -> Basket:
        """This user's basket."""
        return _basket(await self.session.get("basket", {}))

    @rpc(errors=[UnknownArticle])
    async def delete_line(self, sku: Sku) -> None:
        """Take something out of the basket again."""
        if sku not in await self.session.get("basket", {}):
            raise UnknownArticle("That is not in your basket", data=SkuData(sku=sku))
        await self.session.update("basket", lambda kept: {key: kept[key] for key in kept if key != sku}, {})

    @rpc(errors=[SoldOut, UnknownArticle])
    async def checkout(self) -> Receipt:
        """Buy what is in the basket, all of it or nothing."""
        bought: dict[str, int] = {}

        def take_out(kept: dict[str, int]) -> dict[str, int]:
            nonlocal bought
            bought = kept
            return {}

        # Empty the basket first: of two checkouts at once, one finds it empty.
        await self.session.update("basket", take_out, {})
        try:
            paid = warehouse.take(bought)
        except PotoError:
            await self.session.update("basket", lambda kept: _together(kept, bought), {})
            raise
        return Receipt(number=await self.session.increment("receipts"), paid=paid)

    @public
    @rpc(errors=[UnknownArticle])
    async def watch_article(self, sku: Sku, changes: int = 10) -> AsyncIterator[Article]:
        """An article now and after each of its next changes, as a stream of events."""
        article = warehouse.find(sku)
        yield article
        while changes > 0:
            latest = warehouse.find(sku)
            if latest == article:
                await warehouse.wait_for_change()
            else:
                changes -= 1
                yield (article := latest)


def _together(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return dict(Counter(one) + Counter(other))


def _basket(kept: dict[str, int]) -> Basket:
    """What is no longer sold is left out."""
    sold = [(article, kept[article.sku]) for article in warehouse.articles() if article.sku in kept]
    return Basket(
        lines=[Line.model_construct(sku=article.sku, quantity=quantity) for article, quantity in sold],
        total=sum((article.price * quantity for article, quantity in sold), start=Decimal(0)),
    )
