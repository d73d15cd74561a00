"""What streams give, and what they raise."""

from pydantic import BaseModel

from fastapi_poto import PotoError

KIBIBYTE = "x" * 1024


class Item(BaseModel):
    sku: str
    quantity: int = 1


class SoldOutData(BaseModel):
    sku: str


class SoldOut(PotoError):
    """The article is gone."""

    code = "sold_out"
    status = 409
    data: SoldOutData
