"""Each mistake that can be seen at start-up is one error that names Class.method and the cure."""

import functools
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Generic, NotRequired, Optional, TypedDict, TypeVar, TypeVarTuple

import pytest
from fastapi import Body, Depends, Header, Request, Response, UploadFile, WebSocket
from pydantic import BaseModel, Field

from fastapi_poto import (
    ConfigurationError,
    Poto,
    PotoError,
    PotoModule,
    Session,
    named,
    poto_router,
    public,
    roles,
    rpc,
)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Model(BaseModel):
    number: int


class NoAnnotation(PotoModule):
    def act(self, thing) -> int:  # type: ignore[no-untyped-def]
        return 1


class Stars(PotoModule):
    def act(self, *things: int) -> int:
        return 1


class DoubleStars(PotoModule):
    def act(self, **things: int) -> int:
        return 1


class StarsInConstructor(PotoModule):
    def __init__(self, **things: Any) -> None: ...

    def act(self) -> int:
        return 1


class PositionalOnly(PotoModule):
    def act(self, thing: int, /) -> int:
        return 1


class ModelInQuery(PotoModule):
    def get_act(self, thing: Model) -> int:
        return 1


class DictInQuery(PotoModule):
    def delete_act(self, thing: dict[str, int]) -> None: ...


class UploadInQuery(PotoModule):
    def get_act(self, thing: UploadFile) -> int:
        return 1


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


class Constructor(PotoModule):
    def __init__(self, size: int = 3) -> None:
        self.size = size

    def act(self) -> int:
        return self.size


class ConstructorWithoutAnnotation(PotoModule):
    def __init__(self, size) -> None:  # type: ignore[no-untyped-def]
        self.size = size

    def act(self) -> int:
        return 1


class Unresolvable(PotoModule):
    def act(self, thing: "Missing") -> int:  # type: ignore[name-defined] # noqa: F821
        return 1


class Unfilled(PotoModule, Generic[T]):
    def act(self, thing: T) -> T:
        return thing


class NoSchema(PotoModule):
    def act(self, thing: Callable[[], int] | memoryview) -> int:
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


class ShapeWithoutDefault(PotoModule):
    async def act(self, kept: Session[Model]) -> int:
        return 1


class ShapeThatIsNoModel(PotoModule):
    async def act(self, kept: Session[int]) -> int:
        return 1


class ShapeOfAConstructor(PotoModule):
    def __init__(self, kept: Session[Model]) -> None:
        self.kept = kept

    async def act(self) -> int:
        return 1


class NoFunctions(PotoModule):
    def act(self, number: int, then: Callable[[int], int]) -> int:
        return 1


class NoSchemaOut(PotoModule):
    def act(self) -> memoryview:
        return memoryview(b"")


class OldTypedDict(TypedDict):
    number: int


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


class PathOfNobody(PotoModule):
    @rpc(path="items/{number}")
    def get_act(self, name: str) -> int:
        return 1


class BrokenPath(PotoModule):
    @rpc(path="items/{number")
    def get_act(self, number: int) -> int:
        return 1


class OneTag(PotoModule):
    @rpc(tags="shop")
    def act(self) -> int:
        return 1


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


class HiddenDependency(PotoModule):
    def act(self, size: Annotated[int, Depends(int)] | None = None) -> int:
        return 1


class HiddenHeader(PotoModule):
    def act(self, sizes: list[Annotated[int, Header()]]) -> int:
        return 1


class FactoryOfOthers(PotoModule):
    def act(self, one: int, other: Annotated[int, Field(default_factory=lambda values: 1)]) -> int:
        return 1


class MemberOfAClass(PotoModule):
    def act(self, thing: NotRequired[int]) -> int:  # type: ignore[valid-type]
        return 1


class BadConstraint(PotoModule):
    def act(self, fine: int, thing: Annotated[str, Field(pattern="(")]) -> int:
        return 1


class Undefined(BaseModel):
    thing: "Nowhere"  # type: ignore[name-defined] # noqa: F821


class TakesUndefined(PotoModule):
    def act(self, thing: Undefined) -> int:
        return 1


class NoJsonSchema(PotoModule):
    def act(self, fine: int, thing: type) -> int:
        return 1


class NoJsonSchemaOut(PotoModule):
    def act(self) -> type:
        return int


class TakenName(PotoModule):
    def act(self, poto_io: Annotated[int, Depends(int)]) -> int:
        return 1


class AsyncConstructor(PotoModule):
    async def __init__(self) -> None: ...  # type: ignore[misc]

    def act(self) -> int:
        return 1


class Several(PotoModule, Generic[*Ts]):
    def act(self, things: tuple[*Ts]) -> int:
        return 1


class FilledSeveral(Several[int, str]): ...


def tenant_of(name: str, admin: bool = False) -> dict[str, Any]:
    return {"name": name, "admin": admin}


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


class FunctionForAType(PotoModule):
    def act(self, tenant: tenant_of) -> int:  # type: ignore[valid-type]
        return 1


class FunctionInsideAType(PotoModule):
    def get_act(self, tenants: list[Optional[tenant_of]]) -> int:  # type: ignore[valid-type] # noqa: UP045
        return 1


class FunctionOfAHeader(PotoModule):
    def act(self, tenant: Annotated[tenant_of, Header()]) -> int:  # type: ignore[valid-type]
        return 1


class FunctionInAModel(BaseModel):
    tenant: tenant_of  # type: ignore[valid-type]


class TakesFunctionInAModel(PotoModule):
    def act(self, model: FunctionInAModel) -> int:
        return 1


class GivesFunction(PotoModule):
    def act(self) -> dict[str, tenant_of]:  # type: ignore[valid-type]
        return {}


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


class TakesWebSocket(PotoModule):
    async def act(self, socket: WebSocket) -> int:
        return 1


class WebSocketOfTheConstructor(PotoModule):
    def __init__(self, socket: WebSocket | None = None) -> None: ...

    async def act(self) -> int:
        return 1


class NoReturn(PotoModule):
    async def act(self):  # type: ignore[no-untyped-def]
        return Response("x")


class NotEmbedded(PotoModule):
    def act(self, line: Annotated[Model, Body(embed=False)]) -> int:
        return 1


class BodyOfAnotherKind(PotoModule):
    def act(self, line: str = Body(media_type="text/plain")) -> int:
        return 1


class UploadOfTheConstructor(PotoModule):
    def __init__(self, file: UploadFile) -> None: ...

    def act(self) -> int:
        return 1


def logged(method: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await method(*args, **kwargs)

    return wrapper


def unannotated(method: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args, **kwargs):  # type: ignore[no-untyped-def]
        return await method(*args, **kwargs)

    return wrapper


class WrappedAndUnannotated(PotoModule):
    @unannotated
    async def act(self, number: int) -> int:
        return number


class DecoratedWithoutWraps(PotoModule):
    @logged
    async def act(self, number: int) -> int:
        return number


class OfAnyType(PotoModule):
    def act(self, things: list[T]) -> int:
        return len(things)


class Failing(BaseModel):
    failing: str = Field(alias="$error")


class ErrorItems(PotoModule):
    async def act(self) -> AsyncIterator[Model | Failing | None]:
        yield None


MISTAKES: list[tuple[type, str]] = [
    (DependsInTheClass, r"DependsInTheClass\.guard: Depends\(…\) as an attribute of a class never runs.*constructor"),
    (AnnotatedInTheClass, r"AnnotatedInTheClass\.guard: Depends\(…\) as an attribute"),
    (ListInTheClass, r"ListInTheClass\.dependencies: Depends\(…\) as an attribute.*poto_router\(dependencies="),
    (HeaderInTheClass, r"HeaderInTheClass\.agent: Header\(…\) as an attribute"),
    (FunctionForAType, r"FunctionForAType\.act: the type of 'tenant' is tenant_of, which is a function.*Depends\(ten"),
    (FunctionInsideAType, r"FunctionInsideAType\.get_act: the type of 'tenants' is tenant_of, which is a function"),
    (FunctionOfAHeader, r"FunctionOfAHeader\.act: the type of 'tenant' is tenant_of, which is a function"),
    (TakesFunctionInAModel, r"TakesFunctionInAModel\.act: 'model' has a type.*tenant_of is a function and no type"),
    (GivesFunction, r"GivesFunction\.act: the result has a type.*tenant_of is a function and no type"),
    (Cached, r"Cached\.act is no plain function but a _lru_cache_wrapper.*a cache belongs on a function outside"),
    (CachedAndNotDecorated, r"CachedAndNotDecorated\.act is no plain function"),
    (PartialMethod, r"PartialMethod\.act is no plain function but a partialmethod.*Write a method that calls it"),
    (CallableObject, r"CallableObject\.act is no plain function but an Adds"),
    (DecoratedClass, r"DecoratedClass\.Act is no plain function but a type"),
    (SharesInstances, r"SharesInstances\.__new__: an instance belongs to one call.*Write `__init__`"),
    (ForgetsSelf, r"ForgetsSelf\.get_act: its first parameter is 'request'.*Write `self` first"),
    (ForgetsSelfAmongKeywords, r"ForgetsSelfAmongKeywords\.act: its first parameter is 'size'"),
    (TakesWebSocket, r"TakesWebSocket\.act: 'socket' is a WebSocket, but calls come by HTTP\. Take a `Request`"),
    (WebSocketOfTheConstructor, r"WebSocketOfTheConstructor\.__init__: 'socket' is a WebSocket"),
    (NoReturn, r"NoReturn\.act has no return annotation\. Write the type .*-> None"),
    (NotEmbedded, r"NotEmbedded\.act: 'line' is Body\(embed=False\).*Remove embed=False"),
    (BodyOfAnotherKind, r"BodyOfAnotherKind\.act: 'line' is Body\(media_type='text/plain'\), but a body is JSON"),
    (
        UploadOfTheConstructor,
        r"UploadOfTheConstructor\.__init__: the constructor's 'file' would give every method a form",
    ),
    (DecoratedWithoutWraps, r"DecoratedWithoutWraps\.act: \*args and \*\*kwargs .*functools\.wraps"),
    (OfAnyType, r"OfAnyType\.act: nothing says what ~T of 'things' stands for\. No caller can fill.*give it a bound"),
    (NoAnnotation, r"NoAnnotation\.act: 'thing' has no annotation. Write its type"),
    (Stars, r"Stars\.act: \*args and \*\*kwargs .* Name each parameter"),
    (
        StarsInConstructor,
        r"StarsInConstructor\.__init__: \*args and \*\*kwargs are filled by nobody\. Name each dependency",
    ),
    (WrappedAndUnannotated, r"WrappedAndUnannotated\.act: \*args and \*\*kwargs .*functools\.wraps"),
    (DoubleStars, r"DoubleStars\.act: \*args and \*\*kwargs .* Name each parameter"),
    (PositionalOnly, r"PositionalOnly\.act: 'thing' is positional-only.* Remove the '/'"),
    (ModelInQuery, r"ModelInQuery\.get_act: 'thing' has the type Model, .*query.*method=\"POST\""),
    (DictInQuery, r"DictInQuery\.delete_act: 'thing' has the type dict.*query"),
    (UploadInQuery, r"UploadInQuery\.get_act: GET has no body.*Use POST"),
    (ContextManager, r"ContextManager\.act is a context manager.* underscore before its name"),
    (TwoOnOneRoute, r"TwoOnOneRoute\.find and TwoOnOneRoute\.get_act are both GET /TwoOnOneRoute/act\. Rename"),
    (Constructor, r"Constructor\.__init__: the constructor's 'size' is not a dependency.*Depends"),
    (ConstructorWithoutAnnotation, r"ConstructorWithoutAnnotation\.__init__: 'size' has no annotation"),
    (Unresolvable, r"Unresolvable\.act: the annotation names 'Missing'.*Import or define it"),
    (Unfilled, r"Unfilled\.act: nothing says what ~T of 'thing' stands for.*Unfilled\[int\]"),
    (NoSchema, r"NoSchema\.act: .*cannot go over the wire.*Use a Pydantic model"),
    (Hides, r"Hides\.session hides PotoModule\.session\. Give it another name"),
    (Empty, r"Empty has no method to call"),
    (BadVerb, r"BadVerb\.act: method='FETCH'\. Use one of GET"),
    (BadPath, r"BadPath\.act: '/BadPath/a b\?c' is not a path"),
    (BadErrors, r"BadErrors\.act: errors=.*ValueError.*Derive it from PotoError"),
    (ErrorsOfOneClass, r"ErrorsOfOneClass\.act: errors=Declared is one class\. Write errors=\[Declared\]"),
    (NoSelf, r"NoSelf\.act takes no `self`"),
    (Static, r"Static\.act is a staticmethod.*takes self"),
    (OfTheClass, r"OfTheClass\.act is a classmethod.*takes self"),
    (YieldsOther, r"YieldsOther\.act yields.* annotation is list\[int\]\. .*AsyncIterator"),
    (YieldsOrNone, r"YieldsOrNone\.act yields.* annotation is .*None\. .*AsyncIterator"),
    (ResumesOne, r"ResumesOne\.act: only a stream of items can be resumed.*remove resumable"),
    (ResumesBytes, r"ResumesBytes\.act: only a stream of items can be resumed.*not bytes"),
    (MediaTypeOfText, r"MediaTypeOfText\.act: media_type='text/csv'.* sent as JSON.*-> bytes"),
    (ShapeWithoutDefault, r"ShapeWithoutDefault\.act: 'kept' is a Session\[Model\]: number needs a default"),
    (ShapeThatIsNoModel, r"ShapeThatIsNoModel\.act: 'kept' is a Session\[.*int.*\]: .*Pydantic model"),
    (ShapeOfAConstructor, r"ShapeOfAConstructor\.act: 'kept' is a Session\[Model\]: number needs a default"),
    (NoFunctions, r"NoFunctions\.act: 'then' has a type that cannot go over the wire: JSON has no functions\. Use"),
    (NoSchemaOut, r"NoSchemaOut\.act: the result has a type that cannot.*memoryview'>\. Use a Pydantic model"),
    (Abstract, r"Abstract\.act is abstract.*Mount a class that implements it"),
    (RouteIsNoText, r"RouteIsNoText\.route is 3\. It is a text"),
    (ClimbingRoute, r"ClimbingRoute\.act: '/\.\./admin/act' is not a path"),
    (PathOfNobody, r"PathOfNobody\.get_act: the path .* has \{number\}, but no parameter has that name"),
    (BrokenPath, r"BrokenPath\.get_act: '/BrokenPath/items/\{number' is not a path"),
    (OneTag, r"OneTag\.act: tags='shop' is one tag\. Write tags=\['shop'\]"),
    (EarlyFirst, r"EarlyFirst\.act: first_item_timeout=-1\. It is in seconds"),
    (ErrorsStatus, r"ErrorsStatus\.act: StatusText\.status is '409'\. Write a number"),
    (ErrorsOfOneCode, r"ErrorsOfOneCode\.act: Other and Declared both have the code 'error'\. Give each"),
    (ErrorsCode, r"ErrorsCode\.act: CodeIsNoText\.code is 7\. Write a text"),
    (HiddenDependency, r"HiddenDependency\.act: the Depends\(…\) of 'size' stands inside.*Write it around"),
    (HiddenHeader, r"HiddenHeader\.act: the Header\(…\) of 'sizes' stands inside.*Write it around"),
    (FactoryOfOthers, r"FactoryOfOthers\.act: the default_factory of 'other' takes the other values.*Take None"),
    (MemberOfAClass, r"MemberOfAClass\.act: 'thing' is typing\.NotRequired\[int\], which no parameter can be"),
    (BadConstraint, r"BadConstraint\.act: 'thing' has a type that cannot go over the wire: .*unclosed group"),
    (TakesUndefined, r"TakesUndefined\.act: 'thing' has a type that cannot go over the wire: Nowhere is not defined"),
    (NoJsonSchema, r"NoJsonSchema\.act: 'thing' has a type that cannot go over the wire: .*JsonSchema"),
    (NoJsonSchemaOut, r"NoJsonSchemaOut\.act: the result has a type that cannot go over the wire: .*JsonSchema"),
    (TakenName, r"TakenName\.act: names like 'poto_io' are taken by the router\. Rename it"),
    (AsyncConstructor, r"AsyncConstructor\.__init__ is `async`.*Await in a dependency"),
    (FilledSeveral, r"FilledSeveral\.act: nothing says what Ts of 'things' stands for"),
    (ErrorItems, r"ErrorItems\.act: its items have a member '\$error'.*Give that member another name or alias"),
    (PotoModule, r"PotoModule has no methods of its own"),
    (int, r"int is not a module class.*class int\(PotoModule\)"),
]


@pytest.fixture
def poto() -> Poto:
    return Poto("0f8e7d6c5b4a39281706f5e4d3c2b1a0-tests-only")


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


def test_a_local_name_cannot_be_resolved(poto: Poto) -> None:
    """A string annotation of a class that only the function knows names the cure."""

    class Local(BaseModel):
        number: int

    class Uses(PotoModule):
        def act(self, thing: "Local") -> int:
            return 1

    with pytest.raises(ConfigurationError, match=r"Uses\.act: the annotation names 'Local'.*nor in a function"):
        poto_router(Uses, poto=poto)


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


def test_a_typed_dict_that_pydantic_refuses(poto: Poto) -> None:
    """Before Python 3.12 it wants that of typing_extensions, and says so."""

    class Takes(PotoModule):
        def act(self, thing: OldTypedDict) -> int:
            return 1

    if sys.version_info >= (3, 12):
        poto_router(Takes, poto=poto)
        return
    with pytest.raises(ConfigurationError, match=r"Takes\.act: 'thing' has a type.*typing_extensions.TypedDict"):
        poto_router(Takes, poto=poto)


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


def test_what_fastapi_refuses_is_named(poto: Poto) -> None:
    """An error of FastAPI's own at registration names the method too."""

    class Odd(PotoModule):
        def act(self, value: Annotated[int, Depends("nothing callable")]) -> int:  # type: ignore[arg-type]
            return 1

    with pytest.raises(ConfigurationError, match=r"Odd\.act: FastAPI refuses the route"):
        poto_router(Odd, poto=poto)


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


if sys.version_info >= (3, 12):  # which has the statement

    def test_a_type_alias_of_what_is_not_there(poto: Poto) -> None:
        """Its name is looked up when the application starts."""
        names: dict[str, Any] = {"PotoModule": PotoModule}
        exec(
            "type Things = list[Missing]\nclass Late(PotoModule):\n    def act(self, things: Things) -> int: ...", names
        )
        with pytest.raises(ConfigurationError, match=r"Late\.act: 'things' .*Missing"):
            poto_router(names["Late"], poto=poto)
