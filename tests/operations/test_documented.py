"""What would make a document impossible is found when the application starts."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header, Query
from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType

from fastapi_poto import ConfigurationError, Poto, PotoError, PotoModule, poto_router, rpc
from fastapi_poto.audit import audit
from tests.secret import SECRET

Tree = TypeAliasType("Tree", int | list["Tree"])  # type: ignore[misc]


class Odd(BaseModel):
    number: int

    @classmethod
    def __get_pydantic_json_schema__(cls, *_: Any) -> Any:
        raise ValueError("not to be described")


class OddData(PotoError):
    code = "odd_data"
    data: type


async def dependency(kind: Annotated[type, Query()] = int) -> int:
    return 1


class RecursiveQuery(PotoModule):
    async def get_act(self, tree: Tree) -> int:
        return 1


class OddModel(PotoModule):
    async def act(self, odd: Odd) -> int:
        return 1


class OddResult(PotoModule):
    async def act(self) -> list[Odd]:
        return []


class OddError(PotoModule):
    @rpc(errors=[OddData])
    async def act(self) -> int:
        return 1


class OddHeader(PotoModule):
    async def act(self, it: Annotated[Any, Header(json_schema_extra={"x": object()})]) -> int:
        return 1


class OddDependency(PotoModule):
    async def act(self, it: Annotated[int, Depends(dependency)]) -> int:
        return it


class OddField(PotoModule):
    async def act(self, it: Annotated[int, Field(json_schema_extra={"x": object()})]) -> int:
        return it


class OddExtra(PotoModule):
    @rpc(openapi_extra={"x": object()})
    async def act(self) -> int:
        return 1


class OddResponse(PotoModule):
    @rpc(responses={404: {"model": type}})
    async def act(self) -> int:
        return 1


MODULES = [
    (RecursiveQuery, r"RecursiveQuery\.get_act: 'tree' has the type Tree, which cannot be a query parameter"),
    (OddModel, r"OddModel\.act: 'odd' has a type that cannot go over the wire: not to be described"),
    (OddResult, r"OddResult\.act: the result has a type that cannot go over the wire: not to be described"),
    (OddError, r"OddError\.act: OddData\.data has a type that no document can have"),
    (OddHeader, r"OddHeader\.act: 'it' has a type that no document can have"),
    (OddDependency, r"OddDependency\.act: 'kind' has a type that no document can have"),
    (OddField, r"OddField\.act: 'it' has a type that cannot go over the wire"),
    (OddExtra, r"OddExtra\.act: what @rpc says of the document is no JSON"),
    (OddResponse, r"OddResponse\.act: responses\[404\] has a type that no document can have"),
]


@pytest.mark.parametrize(("module", "message"), MODULES, ids=lambda one: getattr(one, "__name__", ""))
def test_at_start_up(module: type[PotoModule], message: str) -> None:
    """The method is named; the first look at /openapi.json would be a 500."""
    with pytest.raises(ConfigurationError, match=message):
        poto_router(module, poto=Poto(SECRET))


def test_the_audit_makes_the_document() -> None:
    """It finds what the application's other routes do to it."""
    app = FastAPI()

    @app.get("/other", openapi_extra={"x": object()})
    async def other() -> int:
        return 1

    class Fine(PotoModule):
        async def act(self) -> int:
            return 1

    app.include_router(poto_router(Fine, poto=Poto(SECRET)))
    assert any("/openapi.json cannot be made" in finding.says for finding in audit(app).errors)
