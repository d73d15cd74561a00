"""What mistaken modules share."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from fastapi_poto import PotoModule

T = TypeVar("T")


class Model(BaseModel):
    number: int


class Unfilled(PotoModule, Generic[T]):
    def act(self, thing: T) -> T:
        return thing


def tenant_of(name: str, admin: bool = False) -> dict[str, Any]:
    return {"name": name, "admin": admin}
