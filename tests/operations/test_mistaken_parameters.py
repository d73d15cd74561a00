"""Mistakes in parameters, types and constructors: each is one error that names Class.method and the cure."""

import sys
from collections.abc import Callable
from typing import Annotated, Any, Generic, NotRequired, Optional, TypedDict, TypeVarTuple

import pytest
from fastapi import Body, Depends, Header, UploadFile, WebSocket
from pydantic import BaseModel, Field

from fastapi_poto import ConfigurationError, Poto, PotoModule, Session, poto_router, rpc
from tests.operations.models import Model, T, Unfilled, tenant_of

Ts = TypeVarTuple("Ts")


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


class NoSchema(PotoModule):
    def act(self, thing: Callable[[], int] | memoryview) -> int:
        return 1


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


class OldTypedDict(TypedDict):
    number: int


class PathOfNobody(PotoModule):
    @rpc(path="items/{number}")
    def get_act(self, name: str) -> int:
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


class Several(PotoModule, Generic[*Ts]):
    def act(self, things: tuple[*Ts]) -> int:
        return 1


class FilledSeveral(Several[int, str]): ...


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


class TakesWebSocket(PotoModule):
    async def act(self, socket: WebSocket) -> int:
        return 1


class WebSocketOfTheConstructor(PotoModule):
    def __init__(self, socket: WebSocket | None = None) -> None: ...

    async def act(self) -> int:
        return 1


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


MISTAKES: list[tuple[type, str]] = [
    (FunctionForAType, r"FunctionForAType\.act: the type of 'tenant' is tenant_of, which is a function.*Depends\(ten"),
    (FunctionInsideAType, r"FunctionInsideAType\.get_act: the type of 'tenants' is tenant_of, which is a function"),
    (FunctionOfAHeader, r"FunctionOfAHeader\.act: the type of 'tenant' is tenant_of, which is a function"),
    (TakesFunctionInAModel, r"TakesFunctionInAModel\.act: 'model' has a type.*tenant_of is a function and no type"),
    (TakesWebSocket, r"TakesWebSocket\.act: 'socket' is a WebSocket, but calls come by HTTP\. Take a `Request`"),
    (WebSocketOfTheConstructor, r"WebSocketOfTheConstructor\.__init__: 'socket' is a WebSocket"),
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
    (Constructor, r"Constructor\.__init__: the constructor's 'size' is not a dependency.*Depends"),
    (ConstructorWithoutAnnotation, r"ConstructorWithoutAnnotation\.__init__: 'size' has no annotation"),
    (Unresolvable, r"Unresolvable\.act: the annotation names 'Missing'.*Import or define it"),
    (Unfilled, r"Unfilled\.act: nothing says what ~T of 'thing' stands for.*Unfilled\[int\]"),
    (NoSchema, r"NoSchema\.act: .*cannot go over the wire.*Use a Pydantic model"),
    (ShapeWithoutDefault, r"ShapeWithoutDefault\.act: 'kept' is a Session\[Model\]: number needs a default"),
    (ShapeThatIsNoModel, r"ShapeThatIsNoModel\.act: 'kept' is a Session\[.*int.*\]: .*Pydantic model"),
    (ShapeOfAConstructor, r"ShapeOfAConstructor\.act: 'kept' is a Session\[Model\]: number needs a default"),
    (NoFunctions, r"NoFunctions\.act: 'then' has a type that cannot go over the wire: JSON has no functions\. Use"),
    (PathOfNobody, r"PathOfNobody\.get_act: the path .* has \{number\}, but no parameter has that name"),
    (HiddenDependency, r"HiddenDependency\.act: the Depends\(…\) of 'size' stands inside.*Write it around"),
    (HiddenHeader, r"HiddenHeader\.act: the Header\(…\) of 'sizes' stands inside.*Write it around"),
    (FactoryOfOthers, r"FactoryOfOthers\.act: the default_factory of 'other' takes the other values.*Take None"),
    (MemberOfAClass, r"MemberOfAClass\.act: 'thing' is typing\.NotRequired\[int\], which no parameter can be"),
    (BadConstraint, r"BadConstraint\.act: 'thing' has a type that cannot go over the wire: .*unclosed group"),
    (TakesUndefined, r"TakesUndefined\.act: 'thing' has a type that cannot go over the wire: Nowhere is not defined"),
    (NoJsonSchema, r"NoJsonSchema\.act: 'thing' has a type that cannot go over the wire: .*JsonSchema"),
    (FilledSeveral, r"FilledSeveral\.act: nothing says what Ts of 'things' stands for"),
]


@pytest.mark.parametrize(("module", "message"), MISTAKES, ids=lambda value: getattr(value, "__name__", ""))
def test_mistake(module: Any, message: str, poto: Poto) -> None:
    """poto_router refuses the class with one error."""
    with pytest.raises(ConfigurationError, match=message):
        poto_router(module, poto=poto)


def test_a_local_name_cannot_be_resolved(poto: Poto) -> None:
    """A string annotation of a class that only the function knows names the cure."""

    class Local(BaseModel):
        number: int

    class Uses(PotoModule):
        def act(self, thing: "Local") -> int:
            return 1

    with pytest.raises(ConfigurationError, match=r"Uses\.act: the annotation names 'Local'.*nor in a function"):
        poto_router(Uses, poto=poto)


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


def test_what_fastapi_refuses_is_named(poto: Poto) -> None:
    """An error of FastAPI's own at registration names the method too."""

    class Odd(PotoModule):
        def act(self, value: Annotated[int, Depends("nothing callable")]) -> int:  # type: ignore[arg-type]
            return 1

    with pytest.raises(ConfigurationError, match=r"Odd\.act: FastAPI refuses the route"):
        poto_router(Odd, poto=poto)


if sys.version_info >= (3, 12):  # which has the statement

    def test_a_type_alias_of_what_is_not_there(poto: Poto) -> None:
        """Its name is looked up when the application starts."""
        names: dict[str, Any] = {"PotoModule": PotoModule}
        exec(
            "type Things = list[Missing]\nclass Late(PotoModule):\n    def act(self, things: Things) -> int: ...", names
        )
        with pytest.raises(ConfigurationError, match=r"Late\.act: 'things' .*Missing"):
            poto_router(names["Late"], poto=poto)
