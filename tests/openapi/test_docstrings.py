"""Rule 11: what docstrings say."""

from typing import Annotated

import pytest
from fastapi import UploadFile
from pydantic import Field

from fastapi_poto import PotoModule
from fastapi_poto.openapi.docstrings import Docstring, parse_docstring

from .conftest import app_of, document_of

Note = Annotated[str, Field(description="Own words.")]


class Base(PotoModule):
    """What every shop can do.

    *Really* every one.
    """

    async def buy(self, sku: str, count: int = 1, note: Note = "") -> int:
        """Buy an article.

        It is **yours** then.

        Args:
            sku: The article,
                by its number.
            count (int): How many.
            note: Not this.

        Returns:
            int: What it costs.

        Raises:
            SoldOut: There is none.
        """

    async def get_price(self, sku: str, currency: str = "EUR") -> float:
        """What an article costs

        Args:
            sku: The article.
            currency: ISO 4217.
        """

    async def upload(self, file: UploadFile, name: str) -> None:
        """Upload.

        Args:
            file: The picture.
            name: Its name.
        """

    async def no_words(self) -> None: ...


class Shop(Base):
    async def buy(self, sku: str, count: int = 1, note: Note = "") -> int: ...


class Other(Base):
    """Another one."""

    async def buy(self, sku: str, count: int = 1, note: Note = "") -> int:
        """Buy otherwise"""


class Plain(PotoModule):
    async def act(self) -> None: ...


document = document_of(Shop, Other, Plain)


def test_a_module_describes_its_tag() -> None:
    """The class's docstring, or its base's, but never that of PotoModule; tags come in the order of the modules."""
    assert document.content["tags"] == [
        {"name": "Auth", "description": "Signing in and out."},
        {"name": "Shop", "description": "What every shop can do.\n\n*Really* every one."},
        {"name": "Other", "description": "Another one."},
        {"name": "Plain"},
    ]


def test_an_applications_tags_come_first() -> None:
    """What the application says of a tag stands."""
    from fastapi import FastAPI

    app = FastAPI(openapi_tags=[{"name": "Own"}, {"name": "Shop", "description": "Said"}])
    tags = app_of(Shop, app=app).openapi()["tags"]
    assert tags[:2] == [{"name": "Own"}, {"name": "Shop", "description": "Said"}]
    assert [tag["name"] for tag in tags] == ["Own", "Shop", "Auth"]


def test_a_method_describes_its_operation() -> None:
    """First line, rest, Args and Returns each have their place; an override without words takes its base's."""
    operation = document.operations["Shop_buy"]
    assert operation["summary"] == "Buy an article"
    assert operation["description"] == "It is **yours** then.\n\nRaises:\n    SoldOut: There is none."
    assert operation["responses"]["200"]["description"] == "What it costs."
    assert document.operations["Other_buy"]["summary"] == "Buy otherwise"
    assert "description" not in document.operations["Other_buy"]


def test_args_describe_members_and_parameters() -> None:
    """In a body, in a query and in a form; a description of the field itself goes before."""
    members = document.schemas["ShopBuyRequest"]["properties"]
    assert members["sku"]["description"] == "The article, by its number."
    assert members["count"]["description"] == "How many. Default: `1`."
    assert members["note"]["description"] == "Own words."
    parameters = document.parameters("Shop_get_price")
    assert parameters["sku"]["description"] == "The article."
    assert parameters["currency"]["description"] == "ISO 4217."
    form = document.schemas["ShopUploadRequest"]["properties"]
    assert form["file"]["description"] == "The picture."
    assert form["name"]["description"] == "Its name."


def test_without_words() -> None:
    """The summary is the method's name as words, and there is no description."""
    operation = document.operations["Plain_act"]
    assert operation["summary"] == "Act"
    assert "description" not in operation
    assert document.operations["Shop_no_words"]["summary"] == "No words"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Docstring()),
        ("One line.", Docstring("One line")),
        ("One\n\nTwo.", Docstring("One", "Two.")),
        ("One\n\nArgs:\n    a: b: c", Docstring("One", arguments={"a": "b: c"})),
        ("One\n\nArgs:\n    a (int): b\n\n        more\n    c: d", Docstring("One", "", {"a": "b more", "c": "d"})),
        ("One\n\nArgs:\n    no colon\n    a: b\n\nAfter.", Docstring("One", "After.", {"a": "b"})),
        ("One\n\nYields:\n    Line: Each line.", Docstring("One", result="Each line.")),
        ("One\n\nReturns:\n    The lines: all of them.", Docstring("One", result="The lines: all of them.")),
        ("One\n\nArgs:\n", Docstring("One")),
        ("One\n\nArgs: not a section", Docstring("One", "Args: not a section")),
    ],
)  # fmt: skip
def test_sections(text: str, expected: Docstring) -> None:
    """Google's sections, well and badly written."""
    assert parse_docstring(text) == expected
