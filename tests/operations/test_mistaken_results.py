"""Mistakes in results, streams and declared errors: each is one error that names Class.method and the cure."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Response
from pydantic import BaseModel, Field

from fastapi_poto import ConfigurationError, Poto, PotoError, PotoModule, poto_router, rpc
from tests.operations.models import Model, tenant_of


class BadErrors(PotoModule):
    @rpc(errors=[ValueError])  # type: ignore[list-item]
    def act(self) -> int:
        return 1


class Declared(PotoError):
    """Declared."""


class ErrorsOfOneClass(PotoModule):
    @rpc(errors=Declared)  # type: ignore[arg-type]
    def act(self) -> int:
        return 1


class YieldsOther(PotoModule):
    async def act(self) -> list[int]:  # type: ignore[misc]
        yield 1


class YieldsOrNone(PotoModule):
    async def act(self) -> AsyncIterator[int] | None:  # type: ignore[misc]
        yield 1


class ResumesOne(PotoModule):
    @rpc(resumable=True)
    def act(self) -> int:
        return 1


class ResumesBytes(PotoModule):
    @rpc(resumable=True)
    async def act(self) -> AsyncIterator[bytes]:
        yield b""


class MediaTypeOfText(PotoModule):
    @rpc(media_type="text/csv")
    def act(self) -> str:
        return "a,b"


class NoSchemaOut(PotoModule):
    def act(self) -> memoryview:
        return memoryview(b"")


class EarlyFirst(PotoModule):
    @rpc(first_item_timeout=-1)
    async def act(self) -> AsyncIterator[int]:
        yield 1


class StatusText(PotoError):
    code = "status_text"
    status = "409"  # type: ignore[assignment]


class Other(PotoError):
    """Has the code of Declared."""


class ErrorsStatus(PotoModule):
    @rpc(errors=[StatusText])
    def act(self) -> int:
        return 1


class ErrorsOfOneCode(PotoModule):
    @rpc(errors=[Declared, Other])
    def act(self) -> int:
        return 1


class CodeIsNoText(PotoError):
    code = 7  # type: ignore[assignment]


class ErrorsCode(PotoModule):
    @rpc(errors=[CodeIsNoText])
    def act(self) -> int:
        return 1


class NoJsonSchemaOut(PotoModule):
    def act(self) -> type:
        return int


class GivesFunction(PotoModule):
    def act(self) -> dict[str, tenant_of]:  # type: ignore[valid-type]
        return {}


class NoReturn(PotoModule):
    async def act(self):  # type: ignore[no-untyped-def]
        return Response("x")


class Failing(BaseModel):
    failing: str = Field(alias="$error")


class ErrorItems(PotoModule):
    async def act(self) -> AsyncIterator[Model | Failing | None]:
        yield None


MISTAKES: list[tuple[type, str]] = [
    (GivesFunction, r"GivesFunction\.act: the result has a type.*tenant_of is a function and no type"),
    (NoReturn, r"NoReturn\.act has no return annotation\. Write the type .*-> None"),
    (BadErrors, r"BadErrors\.act: errors=.*ValueError.*Derive it from PotoError"),
    (ErrorsOfOneClass, r"ErrorsOfOneClass\.act: errors=Declared is one class\. Write errors=\[Declared\]"),
    (YieldsOther, r"YieldsOther\.act yields.* annotation is list\[int\]\. .*AsyncIterator"),
    (YieldsOrNone, r"YieldsOrNone\.act yields.* annotation is .*None\. .*AsyncIterator"),
    (ResumesOne, r"ResumesOne\.act: only a stream of items can be resumed.*remove resumable"),
    (ResumesBytes, r"ResumesBytes\.act: only a stream of items can be resumed.*not bytes"),
    (MediaTypeOfText, r"MediaTypeOfText\.act: media_type='text/csv'.* sent as JSON.*-> bytes"),
    (NoSchemaOut, r"NoSchemaOut\.act: the result has a type that cannot.*memoryview'>\. Use a Pydantic model"),
    (EarlyFirst, r"EarlyFirst\.act: first_item_timeout=-1\. It is in seconds"),
    (ErrorsStatus, r"ErrorsStatus\.act: StatusText\.status is '409'\. Write a number"),
    (ErrorsOfOneCode, r"ErrorsOfOneCode\.act: Other and Declared both have the code 'error'\. Give each"),
    (ErrorsCode, r"ErrorsCode\.act: CodeIsNoText\.code is 7\. Write a text"),
    (NoJsonSchemaOut, r"NoJsonSchemaOut\.act: the result has a type that cannot go over the wire: .*JsonSchema"),
    (ErrorItems, r"ErrorItems\.act: its items have a member '\$error'.*Give that member another name or alias"),
]


@pytest.mark.parametrize(("module", "message"), MISTAKES, ids=lambda value: getattr(value, "__name__", ""))
def test_mistake(module: Any, message: str, poto: Poto) -> None:
    """poto_router refuses the class with one error."""
    with pytest.raises(ConfigurationError, match=message):
        poto_router(module, poto=poto)
