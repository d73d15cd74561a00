"""Which methods are exposed, and where."""

from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import pytest
import typing_extensions
from pydantic import BaseModel

from fastapi_poto import ConfigurationError, PotoModule, public, roles, rpc
from fastapi_poto.operations import Operation, compile_module

T = TypeVar("T")
D = typing_extensions.TypeVar("D", default=str)


def by_name(cls: type[PotoModule]) -> dict[str, Operation]:
    return {operation.name: operation for operation in compile_module(cls)}


class Stock(PotoModule):
    """Things on shelves."""

    secret = "an attribute"

    @property
    def size(self) -> int:
        return 1

    @staticmethod
    def helper() -> int:
        return 1

    @classmethod
    def maker(cls) -> int:
        return 1

    class Nested:
        def method(self) -> int:
            return 1

    def _private(self) -> int:
        return 1

    def get_item(self, sku: str) -> str:
        return sku

    def put_item(self, sku: str) -> str:
        return sku

    def patch_item(self, sku: str) -> str:
        return sku

    def delete_item(self, sku: str) -> None: ...

    def post_item(self, sku: str) -> str:
        return sku

    def count(self) -> int:
        return 1

    def get(self) -> int:
        return 1

    def getter(self) -> int:
        return 1

    @rpc(expose=False)
    def internal(self) -> int:
        return 1

    @rpc(method="PUT", path="shelves/by-name")
    def shelve(self, name: str) -> str:
        return name


@pytest.mark.parametrize(
    ("name", "verb", "path"),
    [
        ("get_item", "GET", "/Stock/item"),
        ("post_item", "POST", "/Stock/item"),
        ("put_item", "PUT", "/Stock/item"),
        ("patch_item", "PATCH", "/Stock/item"),
        ("delete_item", "DELETE", "/Stock/item"),
        ("count", "POST", "/Stock/count"),
        ("get", "POST", "/Stock/get"),
        ("getter", "POST", "/Stock/getter"),
        ("shelve", "PUT", "/Stock/shelves/by-name"),
    ],
)
def test_the_name_says_verb_and_path(name: str, verb: str, path: str) -> None:
    """A leading verb is dropped from the path; without one it is POST; @rpc overrides both."""
    operation = by_name(Stock)[name]
    assert (operation.verb, operation.path) == (verb, path)


def test_only_public_methods_are_exposed() -> None:
    """Properties, attributes, nested classes, static helpers, private and hidden names are not methods."""
    assert set(by_name(Stock)) == {
        "get_item", "post_item", "put_item", "patch_item", "delete_item", "count", "get", "getter", "shelve",
    }  # fmt: skip


def test_methods_of_bases_belong_to_the_subclass() -> None:
    """An inherited method is published under the class that is mounted."""

    class Shop(Stock):
        route = "shop"

    operation = by_name(Shop)["count"]
    assert (operation.path, operation.operation_id, operation.cls) == ("/shop/count", "Shop_count", Shop)


def test_a_class_can_hide_names() -> None:
    """@rpc(expose=[names]) on a class keeps those names from the wire, inherited ones too."""

    @rpc(expose=["count", "getter"])
    class Quiet(Stock): ...

    assert {"count", "getter"}.isdisjoint(by_name(Quiet))
    assert "get_item" in by_name(Quiet)


def test_an_override_keeps_what_it_does_not_say_anew() -> None:
    """Verb, path and exposure of the overridden method hold for its override."""

    class Shop(Stock):
        def shelve(self, name: str) -> str:
            return name.upper()

        def internal(self) -> int:
            return 2

    operations = by_name(Shop)
    assert (operations["shelve"].verb, operations["shelve"].path) == ("PUT", "/Shop/shelves/by-name")
    assert "internal" not in operations


def test_an_override_without_a_docstring_takes_its_bases() -> None:
    """Documentation is inherited."""

    class Base(PotoModule):
        def act(self) -> int:
            """Do the thing."""
            return 1

    class Sub(Base):
        def act(self) -> int:
            return 2

    assert by_name(Sub)["act"].doc == "Do the thing."


class Item(Generic[T]):
    pass


class Crud(PotoModule, Generic[T]):
    def create(self, item: T, others: list[T] | None = None) -> dict[str, T]:
        return {}


class Middle(Crud[list[T]], Generic[T]): ...


class Numbers(Middle[int]): ...


class Texts(Crud[str]): ...


def test_type_variables_are_filled() -> None:
    """A generic base publishes the types of each subclass, through several steps."""
    numbers, texts = by_name(Numbers)["create"], by_name(Texts)["create"]
    assert numbers.result == dict[str, list[int]]
    assert [parameter.annotation for parameter in numbers.parameters] == [list[int], list[list[int]] | None]
    assert texts.result == dict[str, str]


class Page(BaseModel, Generic[T]):
    items: list[T]


class Pages(PotoModule, Generic[T, D]):
    def first(self, order: D) -> Page[T]:
        return Page(items=[])

    def all(self, like: Annotated[Page[Page[T]], "x"] | None = None) -> list[Page[T]]:
        return []


class IntPages(Pages[int]): ...  # type: ignore[type-arg]


def test_a_model_with_the_same_type_variable() -> None:
    """Pydantic makes `Page[T]` of a model with the same T the model itself: its items are as typed as others."""
    operations = by_name(IntPages)
    assert operations["first"].result == Page[int]
    assert operations["all"].result == list[Page[int]]
    assert operations["all"].parameters[0].annotation == Annotated[Page[Page[int]], "x"] | None


def test_a_type_variable_with_a_default() -> None:
    """What nothing fills is what the variable says (PEP 696)."""
    assert by_name(IntPages)["first"].parameters[0].annotation is str


class TestGuards:
    """Who may call: the method's word, else that of the method it overrides, else the nearest class's."""

    def test_secure_by_default(self) -> None:
        """Without a word a method needs a signed-in caller."""
        assert str(by_name(Stock)["count"].guard) == "signed in"

    def test_a_class_guard_is_inherited_and_a_method_overrides_it(self) -> None:
        """@roles on a base holds for what inherits; @public on a method opens that one."""

        @roles("admin", "owner")
        class Base(PotoModule):
            def one(self) -> int:
                return 1

            @public
            def two(self) -> int:
                return 2

        class Sub(Base):
            def three(self) -> int:
                return 3

        guards = {name: str(operation.guard) for name, operation in by_name(Sub).items()}
        assert guards == {"one": "roles: admin, owner", "two": "public", "three": "roles: admin, owner"}

    def test_an_override_does_not_drop_a_guard(self) -> None:
        """Only an explicit @public or @roles on the override changes the base method's guard."""

        class Base(PotoModule):
            @roles("admin")
            def wipe(self) -> None: ...

            @roles("admin")
            def look(self) -> None: ...

        class Sub(Base):
            def wipe(self) -> None: ...

            @public
            def look(self) -> None: ...

        guards = {name: str(operation.guard) for name, operation in by_name(Sub).items()}
        assert guards == {"wipe": "roles: admin", "look": "public"}

    def test_a_public_base_opens_no_other_base(self) -> None:
        """Whoever brings two bases together says who may call: @public on one was not said of the other's methods."""

        @public
        class Status(PotoModule):
            def get_status(self) -> str: ...

        class Plain(PotoModule):
            def mine(self) -> None: ...

        @roles("admin")
        class Office(PotoModule):
            def wipe(self) -> None: ...

        class Empty(Office):
            pass

        class Tick(PotoModule):
            @public
            def tick(self) -> None: ...

        class Tock(PotoModule):
            def tick(self) -> None: ...

        for bases in ((Status, Office), (Status, Plain), (Plain, Status), (Status, Empty)):
            with pytest.raises(
                ConfigurationError, match=r"Both\.\w+ would be open .*Say @public, @roles or @named on Both\."
            ):
                compile_module(type("Both", bases, {}))
        with pytest.raises(ConfigurationError, match=r"Both\.tick would be open .*Say .* on .*Tock\.tick\."):
            compile_module(type("Both", (Tock, Tick), {}))

        def of(bases: tuple[type, ...], guard: Callable[[Any], Any] = lambda cls: cls) -> dict[str, str]:
            return {name: str(operation.guard) for name, operation in by_name(guard(type("Both", bases, {}))).items()}

        assert of((Office, Status)) == {"get_status": "roles: admin", "wipe": "roles: admin"}
        assert of((Status, Office), roles("clerk")) == {"get_status": "roles: clerk", "wipe": "roles: clerk"}
        assert of((Status, Plain), public) == {"get_status": "public", "mine": "public"}
        assert of((Tick, Tock)) == {"tick": "public"}
        assert of((Tick, Office)) == {"tick": "public", "wipe": "roles: admin"}


def test_roles_takes_names() -> None:
    """A bare @roles, or one without names, is a mistake that would let everybody in."""
    with pytest.raises(TypeError, match="names of one or more roles"):
        roles()
    with pytest.raises(TypeError, match="names of one or more roles"):
        roles(lambda: None)  # type: ignore[arg-type]


def test_private_methods_cannot_be_decorated() -> None:
    """A decorator on a private method is a mistake: it says exposed, the name says not."""

    class Odd(PotoModule):
        @public
        def _hidden(self) -> int:
            return 1

    with pytest.raises(ConfigurationError, match=r"Odd\._hidden is private"):
        compile_module(Odd)
