"""What the annotations of a method mean, wherever they were written and whatever decorates it."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Depends
from pydantic import BaseModel

from fastapi_poto import PotoModule
from fastapi_poto.operations import Source, compile_module

B = TypeVar("B", bound=BaseModel)


class Line(BaseModel):
    number: int


class Envelope(BaseModel):
    data: Any


def enveloped(method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @functools.wraps(method)
    async def wrapper(*args: Any, **kwargs: Any) -> Envelope:
        return Envelope(data=[item async for item in method(*args, **kwargs)])

    changed = [one for one in signature.parameters.values() if one.name != "hidden"]
    wrapper.__signature__ = signature.replace(parameters=changed, return_annotation=Envelope)  # type: ignore[attr-defined]
    return wrapper


class Names(PotoModule):
    """Methods named like the types that stand in the annotations beside them."""

    def list(self) -> list[int]:
        return [1]

    def set(self, type: type_of_line) -> set[int]:
        return {1}

    def Line(self, line: Line) -> dict[str, Line]:
        return {"line": line}

    @property
    def int(self) -> Any:
        return 1

    def get_many(self, ids: list[int]) -> tuple[int, ...]:
        return tuple(ids)


type_of_line = Line


class Wrapped(PotoModule):
    @enveloped
    async def collect(self, count: int, hidden: int = 3) -> AsyncIterator[int]:
        yield count


class Bound(PotoModule):
    def act(self, model: B) -> B:
        return model


@dataclass
class OwnFields(PotoModule):
    line: Any = Depends(Line)  # noqa: RUF009 - as FastAPI users write it

    def act(self) -> int:
        return 1


def test_methods_are_never_types() -> None:
    """A method called `list`, or like a model, does not hide the type from the annotations of its class."""
    found = {one.name: one for one in compile_module(Names)}
    assert list(found) == ["list", "set", "Line", "get_many"]
    assert found["list"].result == list[int]
    assert found["set"].parameters[0].annotation is Line
    assert found["Line"].result == dict[str, Line]
    assert found["get_many"].parameters[0].annotation == list[int]


def test_a_signature_is_believed_whole() -> None:
    """`__signature__` says the parameters, their types and the result, as it does for FastAPI."""
    (collect,) = compile_module(Wrapped)
    assert [one.name for one in collect.parameters] == ["count"]
    assert (collect.kind, collect.result) == ("unary", Envelope)


def test_a_type_variable_of_the_method_stands_for_its_bound() -> None:
    """As in FastAPI: callers cannot fill it."""
    (act,) = compile_module(Bound)
    assert act.parameters[0].annotation is BaseModel


def test_the_fields_of_a_dataclass_are_its_constructor() -> None:
    """`Depends` as a field's default is FastAPI's classic style in the constructor that the dataclass makes."""
    (act,) = compile_module(OwnFields)
    assert [(one.name, one.source) for one in act.constructor] == [("line", Source.DEPENDENCY)]


if sys.version_info >= (3, 12):  # which has the syntax

    def test_type_parameters() -> None:
        """PEP 695's classes and methods, with annotations that are texts."""
        names: dict[str, Any] = {"__name__": __name__}
        exec(
            "from __future__ import annotations\n"
            "from fastapi_poto import PotoModule\n"
            "class Crud[T](PotoModule):\n"
            "    def save(self, thing: T, more: list[T]) -> dict[str, T]: ...\n"
            "    def first[U: int](self, things: list[U]) -> U: ...\n"
            "class Texts(Crud[str]): ...\n",
            names,
        )
        save, first = compile_module(names["Texts"])
        assert [one.annotation for one in save.parameters] == [str, list[str]]
        assert save.result == dict[str, str]
        assert (first.parameters[0].annotation, first.result) == (list[int], int)
