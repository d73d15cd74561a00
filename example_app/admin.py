"""Roles, guarding a whole class, and a constructor that takes FastAPI's dependencies."""

from decimal import Decimal
from typing import Annotated

from fastapi import Depends
from pydantic import BaseModel, Field

from fastapi_poto import PotoModule, roles, rpc

from .warehouse import Article, Sku, UnknownArticle, Warehouse, get_warehouse


class Worth(BaseModel):
    articles: int
    pieces: int
    value: Decimal


# What can be done next with an article: clients and test tools that follow links find it in the document.
NEXT = {
    "count": {"operationId": "Admin_patch_stock", "requestBody": {"sku": "$response.body#/sku", "by": 1}},
    "remove": {"operationId": "Admin_delete_article", "parameters": {"sku": "$response.body#/sku"}},
}


@roles("admin")
class Admin(PotoModule):
    """The stock, for those who keep it."""

    def __init__(self, warehouse: Annotated[Warehouse, Depends(get_warehouse)]) -> None:
        self._warehouse = warehouse

    @rpc(openapi_extra={"responses": {"200": {"links": NEXT}}})
    async def put_article(self, article: Article) -> Article:
        """Add an article, or replace the one with its sku."""
        self._warehouse.put(article)
        return article

    @rpc(errors=[UnknownArticle])
    async def patch_stock(
        self, sku: Sku, by: Annotated[int, Field(ge=-1_000_000, le=1_000_000, examples=[5])]
    ) -> Article:
        """Count pieces in, or out with a negative number."""
        article = self._warehouse.find(sku)
        changed = Article.model_validate({**article.model_dump(), "stock": min(1_000_000, max(0, article.stock + by))})
        self._warehouse.put(changed)
        return changed

    @rpc(errors=[UnknownArticle])
    async def delete_article(self, sku: Sku) -> None:
        """Sell it no longer."""
        self._warehouse.remove(sku)

    async def get_worth(self) -> Worth:
        """What lies in the warehouse."""
        articles = self._warehouse.articles()
        return Worth(
            articles=len(articles),
            pieces=sum(article.stock for article in articles),
            value=sum((article.price * article.stock for article in articles), start=Decimal(0)),
        )
