"""Rules 3 and 4: operation ids, tags, and the names of components."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from fastapi import FastAPI, UploadFile
from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType

from fastapi_poto import ConfigurationError, Poto, PotoModule, poto_router, rpc
from tests.secret import SECRET

from .conftest import Document, app_of, document_of, ref

T = TypeVar("T")


class Line(BaseModel):
    sku: str = Field(title="An SKU")


class Page(BaseModel, Generic[T]):
    items: list[T]


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


Pet = TypeAliasType("Pet", Annotated[Cat | Dog, Field(discriminator="kind")])


class Node(BaseModel):
    """A node of a tree."""

    value: int | Line
    children: "list[Node] | None" = None
    title: str
    pets: dict[str, Cat | Dog]


class Shop(PotoModule):
    async def add_line(self, line: Line, note: str | None = None) -> int: ...

    async def optional(self, note: str = "", size: int = 1) -> str: ...

    async def page(self, page: Page[Line]) -> Page[list[int]]: ...

    async def pets(self, pet: Pet, other: Cat | Dog | None = None) -> Cat | Dog | None: ...

    async def tree(self, node: Node) -> Node: ...

    async def upload(self, file: UploadFile, line: Line) -> dict[str, int]: ...

    async def get_it(self, a: int, b: str | None = None) -> tuple[int, Line]: ...

    async def stream(self) -> AsyncIterator[Page[Line]]:
        yield Page(items=[])


document = document_of(Shop)


def titles(schema: Any, *, is_schema: bool = True) -> Iterator[Any]:
    if isinstance(schema, dict):
        if is_schema and isinstance(schema.get("title"), str):
            yield schema["title"]
        for key, value in schema.items():
            yield from titles(value, is_schema=key != "properties")
    elif isinstance(schema, list):
        for item in schema:
            yield from titles(item)


def test_operation_ids_and_tags() -> None:
    """An operation is Class_method, its tag is Class, without dots."""
    assert set(document.operations) > {"Shop_add_line", "Shop_get_it", "Auth_visitor"}
    assert document.operations["Shop_get_it"]["tags"] == ["Shop"]
    assert all(name.replace("_", "").isalnum() for name in document.operations)


def test_two_operations_of_one_id_are_refused() -> None:
    """The document of an application with a clash is an error that names both places."""
    app, router = FastAPI(), poto_router(Shop, poto=Poto(SECRET))
    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2")
    with pytest.raises(ConfigurationError, match=r"/v1/Shop/add_line .* and /v2/Shop/add_line .* Shop_add_line"):
        app.openapi()


def test_a_function_of_the_router_makes_other_ids() -> None:
    """generate_unique_id_function of the router names its operations; that of the application does not."""

    def make(prefix: str) -> Any:
        return lambda route: f"{prefix}_{route.name}".replace(".", "_")

    app = FastAPI(generate_unique_id_function=lambda route: "other")
    app = app_of(Shop, app=app, generate_unique_id_function=make("V2"), prefix="/v2")
    app.include_router(poto_router(Shop, poto=Poto(SECRET), auth=False), prefix="/v1")
    operations = Document(app).operations
    assert set(operations) > {"V2_Shop_add_line", "Shop_add_line", "Auth_login"}


def test_bodies_are_components() -> None:
    """A body, a form too, is named after its operation, and is a plain reference even if it may be left out."""
    for operation, name in (
        ("Shop_add_line", "ShopAddLineRequest"),
        ("Shop_optional", "ShopOptionalRequest"),
        ("Shop_upload", "ShopUploadRequest"),
    ):
        (content,) = document.operations[operation]["requestBody"]["content"].values()
        assert content["schema"] == ref(name)
    assert document.operations["Shop_add_line"]["requestBody"]["required"] is True
    assert "required" not in document.operations["Shop_optional"]["requestBody"]


def test_generic_models_have_readable_names() -> None:
    """Page[Line] is PageLine."""
    assert document.schemas["ShopPageRequest"]["properties"]["page"] == ref("PageLine")
    assert document.answer("Shop_page")[1] == ref("PageListInt")
    assert document.answer("Shop_stream")[1]["oneOf"][0] == ref("PageLine")


def test_unions_are_components() -> None:
    """A union is named by its alias, by its members, or by where it stands; null stays outside."""
    members = document.schemas["ShopPetsRequest"]["properties"]
    assert members["pet"] == ref("Pet")
    assert members["other"] == {"anyOf": [ref("CatOrDog"), {"type": "null"}]}
    assert document.answer("Shop_pets")[1] == {"anyOf": [ref("CatOrDog"), {"type": "null"}]}
    node = document.resolve(document.schemas["ShopTreeRequest"]["properties"]["node"])["properties"]
    assert document.resolve(node["value"]) == {"anyOf": [{"type": "integer"}, ref("Line")]}
    assert node["pets"]["additionalProperties"] == ref("CatOrDog")


def test_answers_are_components() -> None:
    """An object or a tuple that is no model gets the name of its operation; plain values and lists need none."""
    assert document.answer("Shop_upload")[1] == ref("ShopUploadResponse")
    assert document.answer("Shop_get_it")[1] == ref("ShopGetItResponse")
    assert document.answer("Shop_add_line")[1] == {"type": "integer"}


def test_no_titles() -> None:
    """No schema of ours has a title; a member that is called title stays."""
    assert list(titles({**document.content, "info": {}})) == []
    assert "title" in document.resolve(document.schemas["ShopTreeRequest"]["properties"]["node"])["properties"]


def test_the_names_are_identifiers() -> None:
    """Names of components need no quoting anywhere, with separate input and output schemas too."""

    class Both(BaseModel):
        blob: bytes
        size: "float | Page[Line]" = 1.5
        inner: "list[Both]" = Field(default_factory=list)

    class Uses(PotoModule):
        async def both(self, both: Both) -> Both: ...

    for separate in (True, False):
        names = set(Document(app_of(Uses, app=FastAPI(separate_input_output_schemas=separate))).schemas)
        assert all(name.isidentifier() for name in names)
        assert ("BothInput" in names) is separate


def test_fastapis_validation_error_is_replaced() -> None:
    """A 422 is ValidationError, a list of ValidationErrorItem; FastAPI's HTTPValidationError is gone."""
    assert document.answer("Shop_add_line", "422") == ("application/json", ref("ValidationError"))
    assert document.schemas["ValidationError"]["properties"]["detail"]["items"] == ref("ValidationErrorItem")
    assert "HTTPValidationError" not in document.schemas


def test_models_that_are_called_like_ours() -> None:
    """They keep their names, and ours get others."""

    class OwnStreamStreamFailure(BaseModel):
        own: int

    class GeneralError(BaseModel):
        own: int

    class Own(PotoModule):
        async def act(self, error: OwnStreamStreamFailure) -> GeneralError: ...

        async def stream(self) -> AsyncIterator[OwnStreamStreamFailure]:
            yield OwnStreamStreamFailure(own=1)

    found = document_of(Own)
    assert "own" in found.schemas["OwnStreamStreamFailure"]["properties"]
    assert found.answer("Own_act")[1] == ref("GeneralError")
    assert found.schemas["PotoOwnStreamStreamFailure"]["properties"]["$error"]["oneOf"][-1] == ref("PotoGeneralError")
    assert found.answer("Own_stream")[1] == {
        "oneOf": [ref("OwnStreamStreamFailure"), ref("PotoOwnStreamStreamFailure")]
    }


def test_models_that_are_called_like_fastapis() -> None:
    """FastAPI puts its own in the place of models of these names, or names schemas that are not there."""

    class ValidationError(BaseModel):
        row: int

    class HTTPValidationError(BaseModel):
        url: str

    class Rows(PotoModule):
        async def load(self, rows: list[str]) -> list[ValidationError]: ...

        async def get_probe(self, number: int) -> HTTPValidationError: ...

        async def upload(self, file: UploadFile) -> None: ...

    found = document_of(Rows)
    assert list(found.schemas["ValidationError"]["properties"]) == ["row"]
    assert list(found.schemas["HTTPValidationError"]["properties"]) == ["url"]
    assert found.answer("Rows_load")[1]["items"] == ref("ValidationError")
    assert found.answer("Rows_get_probe")[1] == ref("HTTPValidationError")
    for operation in ("Rows_load", "Rows_get_probe", "Rows_upload", "Auth_refresh"):
        assert found.answer(operation, "422")[1] == ref("PotoValidationError")


def test_every_component_is_used() -> None:
    """Nothing is left over from what was replaced."""
    text = str(document.content)
    for name in document.schemas:
        assert f"'{ref(name)['$ref']}'" in text, name


def test_own_names_and_extras() -> None:
    """summary, tags, deprecated and openapi_extra of @rpc are what the document says."""

    class Own(PotoModule):
        @rpc(summary="Mine", tags=["one", "two"], deprecated=True, openapi_extra={"x-own": 1, "description": "Said"})
        async def act(self) -> int:
            """Not this.

            Nor this.
            """

    operation = document_of(Own).operations["Own_act"]
    assert (operation["summary"], operation["tags"], operation["deprecated"]) == ("Mine", ["one", "two"], True)
    assert (operation["x-own"], operation["description"]) == (1, "Said")
