"""Each mistake that can be seen at start-up is one error that names Class.method and the cure."""

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import Depends, Header, Request

from fastapi_poto import ConfigurationError, Poto, PotoModule, named, poto_router, public, roles, rpc
from tests.operations.models import Unfilled, tenant_of


class ContextManager(PotoModule):
    @asynccontextmanager
    async def act(self) -> AsyncIterator[int]:
        yield 1


class TwoOnOneRoute(PotoModule):
    def get_act(self) -> int:
        return 1

    @rpc(method="GET", path="act")
    def find(self) -> int:
        return 1


class Hides(PotoModule):
    def session(self) -> int:  # type: ignore[override]
        return 1


class Empty(PotoModule):
    """No methods."""


class BadVerb(PotoModule):
    @rpc(method="FETCH")
    def act(self) -> int:
        return 1


class BadPath(PotoModule):
    @rpc(path="a b?c")
    def act(self) -> int:
        return 1


class NoSelf(PotoModule):
    def act() -> int:  # type: ignore[misc]
        return 1


class Static(PotoModule):
    @public
    @staticmethod
    def act(number: int) -> int:
        return number


class OfTheClass(PotoModule):
    @classmethod
    @rpc(summary="Act")
    def act(cls, number: int) -> int:
        return number


class Abstract(PotoModule, ABC):
    @abstractmethod
    def act(self) -> int: ...


class RouteIsNoText(PotoModule):
    route = 3  # type: ignore[assignment]

    def act(self) -> int:
        return 1


class ClimbingRoute(PotoModule):
    route = "../admin"

    def act(self) -> int:
        return 1


class BrokenPath(PotoModule):
    @rpc(path="items/{number")
    def get_act(self, number: int) -> int:
        return 1


class OneTag(PotoModule):
    @rpc(tags="shop")
    def act(self) -> int:
        return 1


class TakenName(PotoModule):
    def act(self, poto_io: Annotated[int, Depends(int)]) -> int:
        return 1


class AsyncConstructor(PotoModule):
    async def __init__(self) -> None: ...  # type: ignore[misc]

    def act(self) -> int:
        return 1


class DependsInTheClass(PotoModule):
    guard: None = Depends(tenant_of)

    def act(self) -> int:
        return 1


class AnnotatedInTheClass(PotoModule):
    guard: "Annotated[None, Depends(tenant_of)]"

    def act(self) -> int:
        return 1


class ListInTheClass(PotoModule):
    dependencies = [Depends(tenant_of)]

    def act(self) -> int:
        return 1


class HeaderOfAMixin:
    agent: str = Header("none")


class HeaderInTheClass(HeaderOfAMixin, PotoModule):
    def act(self) -> int:
        return 1


class Cached(PotoModule):
    @public
    @functools.lru_cache(maxsize=3)  # noqa: B019
    def act(self) -> int:
        return 1


class CachedAndNotDecorated(PotoModule):
    @functools.cache  # noqa: B019
    def act(self) -> int:
        return 1

    def other(self) -> int:
        return 1


class PartialMethod(PotoModule):
    def _add(self, one: int, two: int) -> int:
        return one + two

    act = functools.partialmethod(_add, 1)

    def other(self) -> int:
        return 1


class Adds:
    def __call__(self, one: int) -> int:
        return one + 1


class CallableObject(PotoModule):
    act = rpc(summary="Adds")(Adds())

    def other(self) -> int:
        return 1


class DecoratedClass(PotoModule):
    @public
    class Act:
        pass

    def other(self) -> int:
        return 1


class Singleton:
    _one: Any = None

    def __new__(cls) -> Any:
        cls._one = cls._one or super().__new__(cls)
        return cls._one


class SharesInstances(Singleton, PotoModule):
    def act(self) -> int:
        return 1


class ForgetsSelf(PotoModule):
    async def get_act(request: Request) -> str:  # type: ignore[misc]
        return str(request.url)


class ForgetsSelfAmongKeywords(PotoModule):
    def act(*, size: int) -> int:  # type: ignore[misc]
        return size


MISTAKES: list[tuple[type, str]] = [
    (DependsInTheClass, r"DependsInTheClass\.guard: Depends\(…\) as an attribute of a class never runs.*constructor"),
    (AnnotatedInTheClass, r"AnnotatedInTheClass\.guard: Depends\(…\) as an attribute"),
    (ListInTheClass, r"ListInTheClass\.dependencies: Depends\(…\) as an attribute.*poto_router\(dependencies="),
    (HeaderInTheClass, r"HeaderInTheClass\.agent: Header\(…\) as an attribute"),
    (Cached, r"Cached\.act is no plain function but a _lru_cache_wrapper.*a cache belongs on a function outside"),
    (CachedAndNotDecorated, r"CachedAndNotDecorated\.act is no plain function"),
    (PartialMethod, r"PartialMethod\.act is no plain function but a partialmethod.*Write a method that calls it"),
    (CallableObject, r"CallableObject\.act is no plain function but an Adds"),
    (DecoratedClass, r"DecoratedClass\.Act is no plain function but a type"),
    (SharesInstances, r"SharesInstances\.__new__: an instance belongs to one call.*Write `__init__`"),
    (ForgetsSelf, r"ForgetsSelf\.get_act: its first parameter is 'request'.*Write `self` first"),
    (ForgetsSelfAmongKeywords, r"ForgetsSelfAmongKeywords\.act: its first parameter is 'size'"),
    (ContextManager, r"ContextManager\.act is a context manager.* underscore before its name"),
    (TwoOnOneRoute, r"TwoOnOneRoute\.find and TwoOnOneRoute\.get_act are both GET /TwoOnOneRoute/act\. Rename"),
    (Hides, r"Hides\.session hides PotoModule\.session\. Give it another name"),
    (Empty, r"Empty has no method to call"),
    (BadVerb, r"BadVerb\.act: method='FETCH'\. Use one of GET"),
    (BadPath, r"BadPath\.act: '/BadPath/a b\?c' is not a path"),
    (NoSelf, r"NoSelf\.act takes no `self`"),
    (Static, r"Static\.act is a staticmethod.*takes self"),
    (OfTheClass, r"OfTheClass\.act is a classmethod.*takes self"),
    (Abstract, r"Abstract\.act is abstract.*Mount a class that implements it"),
    (RouteIsNoText, r"RouteIsNoText\.route is 3\. It is a text"),
    (ClimbingRoute, r"ClimbingRoute\.act: '/\.\./admin/act' is not a path"),
    (BrokenPath, r"BrokenPath\.get_act: '/BrokenPath/items/\{number' is not a path"),
    (OneTag, r"OneTag\.act: tags='shop' is one tag\. Write tags=\['shop'\]"),
    (TakenName, r"TakenName\.act: names like 'poto_io' are taken by the router\. Rename it"),
    (AsyncConstructor, r"AsyncConstructor\.__init__ is `async`.*Await in a dependency"),
    (PotoModule, r"PotoModule has no methods of its own"),
    (int, r"int is not a module class.*class int\(PotoModule\)"),
]


@pytest.mark.parametrize(("module", "message"), MISTAKES, ids=lambda value: getattr(value, "__name__", ""))
def test_mistake(module: Any, message: str, poto: Poto) -> None:
    """poto_router refuses the class with one error."""
    with pytest.raises(ConfigurationError, match=message):
        poto_router(module, poto=poto)


def test_an_instance_is_not_a_module(poto: Poto) -> None:
    """The class is wanted: there is one instance per call."""

    class Fine(PotoModule):
        def act(self) -> int:
            return 1

    with pytest.raises(ConfigurationError, match="not a module class but a Fine"):
        poto_router(Fine(), poto=poto)  # type: ignore[arg-type]


def test_a_class_cannot_hide_what_it_does_not_have(poto: Poto) -> None:
    """A misspelt name in @rpc(expose=[…]) would expose the method."""

    @rpc(expose=["atc"])
    class Typo(PotoModule):
        def act(self) -> int:
            return 1

    with pytest.raises(ConfigurationError, match=r"Typo: @rpc\(expose=…\) names 'atc', which it does not have"):
        poto_router(Typo, poto=poto)


@pytest.mark.parametrize(
    "guards",
    [(public, roles("admin")), (roles("admin"), public), (roles("a"), roles("b")), (public, named), (named, public)],
)
def test_two_guards(guards: tuple[Any, Any]) -> None:
    """Which of two decorators counts must not depend on their order: one that lets everybody in is easily missed."""
    inner, outer = guards
    with pytest.raises(ConfigurationError, match=r"Office\.act has two guards.*Keep one"):

        class Office(PotoModule):
            @outer
            @inner
            def act(self) -> int:
                return 1

    with pytest.raises(ConfigurationError, match=r"Shop has two guards"):

        @outer
        @inner
        class Shop(PotoModule):
            def act(self) -> int:
                return 1


def test_a_decorated_property() -> None:
    """A property is never exposed: the decorator was meant for something else."""
    with pytest.raises(ConfigurationError, match=r"Shop\.act is a property.*remove the decorator"):

        class Shop(PotoModule):
            @public
            @property
            def act(self) -> int:
                return 1


def test_a_module_given_twice(poto: Poto) -> None:
    """It would be on every path twice."""

    class Shop(PotoModule):
        def act(self) -> int:
            return 1

    with pytest.raises(ConfigurationError, match=r"Shop was given twice"):
        poto_router(Shop, Shop, poto=poto)


def test_a_runtime_that_is_none() -> None:
    """The secret goes into a Poto."""
    with pytest.raises(ConfigurationError, match=r"poto_router\(poto='secret'\).*Write poto=Poto"):
        poto_router(Unfilled, poto="secret")  # type: ignore[arg-type]


def test_two_modules_of_one_name(poto: Poto) -> None:
    """Operation ids are unique over a router."""

    def make(segment: str) -> type[PotoModule]:
        class Same(PotoModule):
            route = segment

            def act(self) -> int:
                return 1

        return Same

    with pytest.raises(ConfigurationError, match=r"both have the operation id Same_act.*Rename one"):
        poto_router(make("one"), make("two"), poto=poto)


@pytest.mark.parametrize(
    ("option", "cure"),
    [
        ({"method": 5}, "a verb"),
        ({"path": 5}, "a text"),
        ({"expose": ("act",)}, "True or False"),
        ({"media_type": 5}, "a text"),
        ({"media_type": "text"}, "text/csv"),
        ({"media_type": "text/csv\r\nx-other: 1"}, "text/csv"),
        ({"media_type": "text/é"}, "text/csv"),
        ({"first_item_timeout": "1"}, "seconds"),
        ({"summary": 5}, "a text"),
        ({"openapi_extra": [1]}, "a dictionary"),
    ],
)
def test_options_that_mean_nothing(option: Any, cure: str, poto: Poto) -> None:
    """What @rpc is told has to be of its type, on a method that could have it."""

    class Told(PotoModule):
        @rpc(**option)
        def act(self) -> bytes:
            return b""

    with pytest.raises(ConfigurationError, match=rf"Told\.act: .*Write .*{cure}"):
        poto_router(Told, poto=poto)
