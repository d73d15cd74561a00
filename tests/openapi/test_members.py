"""Rules 6 to 9: members, null, bytes and big integers; and the types between."""

import datetime
import decimal
import enum
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import httpx
import pytest
from fastapi import FastAPI, File, Form, UploadFile
from pydantic import Base64UrlBytes, BaseModel, ConfigDict, Field, FiniteFloat
from typing_extensions import TypedDict

from fastapi_poto import BigInt, PotoModule, public

from .conftest import Document, app_of, document_of, ref

NULL = {"type": "null"}
BYTES = {"type": "string", "format": "byte", "contentEncoding": "base64"}
BINARY = {"type": "string", "format": "binary"}
BIG = {"type": "string", "pattern": "^-?[0-9]+$"}


class Circle(BaseModel):
    kind: Literal["circle"] = "circle"
    radius: float


class Square(BaseModel):
    kind: Literal["square", "box"] = "box"


class Settings(BaseModel):
    """What can be set."""

    size: int = 3
    name: str = Field("plain", description="The name.", examples=["fancy"])
    flag: bool = True
    tags: list[str] = Field(default_factory=list)
    note: str | None = None


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Piece:
    data: list[bytes]


class Loose(TypedDict, total=False):
    a: int


class Answer(BaseModel):
    size: int = 3
    blob: bytes = b""


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    big: BigInt
    wide: Annotated[int, Field(le=2**60)]


class Every(BaseModel):
    decimal: decimal.Decimal
    date: datetime.date
    time: datetime.datetime
    duration: datetime.timedelta
    set: set[int]
    tuple: tuple[int, str]
    blob: bytes
    blobs: dict[str, bytes | None]
    url_blob: Base64UrlBytes
    color: Color
    literal: Literal["x", "y"]
    point: Point
    piece: Piece
    loose: Loose
    big: BigInt
    bigs: list[BigInt]
    wide: Annotated[int, Field(ge=0, le=2**64)]
    safe: Annotated[int, Field(ge=0, le=2**53 - 1)]
    strict: "Strict"
    renamed: int = Field(alias="other-name", examples=[4])
    anything: Any
    default: int = 4


class Kinds(PotoModule):
    @public
    async def draw(self, shape: Annotated[Circle | Square, Field(discriminator="kind")], n: int = 3) -> str: ...

    @public
    async def set_all(self, settings: Settings, speed: Annotated[float, Field(gt=0)] = 1.5) -> None: ...

    @public
    async def get_answer(self) -> Answer: ...

    @public
    async def every(self, every: Every) -> Every:
        return every

    @public
    async def upload(
        self,
        file: UploadFile,
        many: list[UploadFile],
        settings: Settings,
        other: UploadFile | None = None,
        color: Color = Color.RED,
        size: int | None = None,
    ) -> bytes:
        return b"%d %d" % (settings.size, len(many))

    @public
    async def form(self, data: Annotated[bytes, File()], note: Annotated[str, Form()] = "") -> None: ...

    @public
    async def get_query(
        self,
        number: BigInt,
        wide: Annotated[int, Field(le=2**60)] = 5,
        colors: list[Color] | None = None,
        day: datetime.date | None = None,
        size: int = 7,
        limited: Annotated[str, Field(max_length=3, examples=["abc"])] = "",
    ) -> BigInt:
        return number + wide


document = document_of(Kinds)


def members(name: str) -> Any:
    return document.schemas[name]["properties"]


def test_discriminators_are_required() -> None:
    """The member that tells a union's members apart is required in each, and has no default."""
    for name in ("Circle", "Square"):
        assert "kind" in document.schemas[name]["required"]
        assert "default" not in members(name)["kind"]
        assert "description" not in members(name)["kind"]
    assert document.schemas["CircleOrSquare"]["discriminator"]["mapping"] == {
        "circle": ref("Circle")["$ref"],
        "square": ref("Square")["$ref"],
        "box": ref("Square")["$ref"],
    }


def test_defaults_of_inputs() -> None:
    """Members with a default are not required, and have no default keyword: the description says it, and an example."""
    settings = document.schemas["Settings"]
    assert "required" not in settings
    assert not any("default" in member for member in settings["properties"].values())
    assert settings["properties"]["size"] == {"type": "integer", "description": "Default: `3`.", "examples": [3]}
    assert settings["properties"]["flag"]["description"] == "Default: `true`."
    assert settings["properties"]["name"]["description"] == "The name. Default: `plain`."
    assert settings["properties"]["name"]["examples"] == ["fancy"]
    assert members("KindsSetAllRequest")["speed"]["description"] == "Default: `1.5`."
    assert document.schemas["KindsSetAllRequest"]["required"] == ["settings"]


def test_defaults_of_answers() -> None:
    """Members of what only comes out are all there, so they are required."""
    assert sorted(document.schemas["Answer"]["required"]) == ["blob", "size"]


def test_parameters_keep_their_defaults() -> None:
    """No generator makes a parameter required that has a default, and Swagger UI fills it in."""
    parameters = document.parameters("Kinds_get_query")
    assert parameters["size"]["schema"] == {"type": "integer", "default": 7}
    assert parameters["size"]["required"] is False
    assert parameters["limited"]["schema"]["examples"] == ["abc"]


def test_null() -> None:
    """Nullable is anyOf with null; where null cannot be sent, in a query or a form, it is not documented."""
    assert members("Settings")["note"] == {"anyOf": [{"type": "string"}, NULL]}
    assert members("EveryInput")["blobs"]["additionalProperties"] == {"anyOf": [BYTES, NULL]}
    parameters = document.parameters("Kinds_get_query")
    assert parameters["day"]["schema"] == {"type": "string", "format": "date"}
    assert parameters["colors"]["schema"] == {"type": "array", "items": ref("Color")}
    assert members("KindsUploadRequest")["size"] == {"type": "integer"}


def test_uploads() -> None:
    """Files of a form are binary, and a model in it is a part of JSON."""
    assert members("KindsUploadRequest")["file"] == BINARY
    assert members("KindsUploadRequest")["other"] == BINARY
    assert members("KindsUploadRequest")["many"] == {"type": "array", "items": BINARY}
    assert members("KindsFormRequest")["data"] == BINARY
    content = document.operations["Kinds_upload"]["requestBody"]["content"]["multipart/form-data"]
    assert content["encoding"] == {"settings": {"contentType": "application/json"}}
    assert members("KindsUploadRequest")["settings"] == ref("Settings")


def test_bytes() -> None:
    """Bytes inside JSON are base64, wherever they stand; a download is binary."""
    assert members("EveryInput")["blob"] == members("EveryOutput")["blob"] == BYTES
    assert members("Piece")["data"]["items"] == BYTES
    assert members("EveryInput")["url_blob"] == {**BYTES, "contentEncoding": "base64url"}
    assert document.answer("Kinds_upload") == ("application/octet-stream", BINARY)


def test_big_integers() -> None:
    """BigInt, and an int whose bounds pass 2^53, is a string; an int within them is an integer."""
    for name in ("EveryInput", "EveryOutput"):
        assert members(name)["big"] == members(name)["wide"] == members(name)["bigs"]["items"] == BIG
        assert members(name)["safe"]["type"] == "integer"
    parameters = document.parameters("Kinds_get_query")
    assert parameters["number"]["schema"] == BIG
    assert parameters["wide"]["schema"] == {**BIG, "default": "5"}
    assert document.answer("Kinds_get_query") == ("application/json", BIG)


def test_types() -> None:
    """What Pydantic knows of a type is in the document, under the member's alias."""
    given = members("EveryInput")
    assert given["decimal"]["anyOf"][0] == {"type": "number"}
    assert members("EveryOutput")["decimal"]["type"] == "string"
    assert given["date"] == {"type": "string", "format": "date"}
    assert given["time"] == {"type": "string", "format": "date-time"}
    assert given["duration"] == {"type": "string", "format": "duration"}
    assert given["set"] == {"type": "array", "uniqueItems": True, "items": {"type": "integer"}}
    assert given["tuple"]["prefixItems"] == [{"type": "integer"}, {"type": "string"}]
    assert given["color"] == ref("Color")
    assert given["literal"] == {"type": "string", "enum": ["x", "y"]}
    assert given["other-name"]["examples"] == [4]
    assert given["anything"] == {}
    assert document.schemas["Loose"] == {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.anyio
@pytest.mark.parametrize("separate", [True, False])
async def test_values_are_as_documented(separate: bool) -> None:
    """What goes in and what comes out of a live call fits the document, and big integers keep every digit."""
    import jsonschema

    app = app_of(Kinds, app=FastAPI(separate_input_output_schemas=separate))
    found = Document(app)
    big = 2**63 + 1
    value = {
        "decimal": "1.50", "date": "2026-01-01", "time": "2026-01-01T00:00:00Z", "duration": "PT1S", "set": [1],
        "tuple": [1, "a"], "blob": "+/8=", "blobs": {"a": None}, "url_blob": "-_8=", "color": "red", "literal": "x",
        "point": [1, 2], "piece": {"data": ["AA=="]}, "loose": {}, "big": str(big), "bigs": ["1", "-2"],
        "wide": str(big), "safe": 1, "other-name": 4, "strict": {"big": "1", "wide": "2"}, "anything": {"a": [1]},
    }  # fmt: skip

    def check(schema: Any, instance: Any) -> None:
        components = {"components": found.content["components"]}
        jsonschema.Draft202012Validator({**schema, **components}).validate(instance)

    check(found.body("Kinds_every"), {"every": value})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.post("/Kinds/every", json={"every": value})
        assert answer.status_code == 200, answer.text
        check(found.answer("Kinds_every")[1], answer.json())
        assert answer.json()["big"] == answer.json()["wide"] == str(big)
        assert answer.json()["blob"] == "+/8="
        # A number is taken too.
        answer = await client.post("/Kinds/every", json={"every": {**value, "big": big, "wide": big, "bigs": [big]}})
        assert answer.json()["bigs"] == [str(big)]
        answer = await client.get("/Kinds/query", params={"number": str(big), "wide": 1})
        assert json.loads(answer.text) == str(big + 1)
        assert (await client.get("/Kinds/query", params={"number": "1.5"})).status_code == 422


@pytest.mark.anyio
async def test_parts_of_json_as_browsers_send_them() -> None:
    """A model in a form may be a part with text, as httpx sends it, or a Blob, which has a file name."""
    app = app_of(Kinds)
    files: list[Any] = [("file", ("a", b"a")), ("many", ("b", b"b")), ("many", ("c", b"c"))]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        for name in (None, "blob"):
            part = ("settings", (name, b'{"size": 5}', "application/json"))
            answer = await client.post("/Kinds/upload", files=[*files, part])
            assert answer.text == "5 2"
            part = ("settings", (name, b'{"size": "x"}', "application/json"))
            answer = await client.post("/Kinds/upload", files=[*files, part])
            assert answer.json()["detail"][0]["loc"] == ["body", "settings", "size"]


def test_recursive_models() -> None:
    """A model that contains itself is a component that names itself."""
    found = document_of(Forest)
    assert found.schemas["TreeInput"]["properties"]["children"]["items"] == ref("TreeInput")
    assert found.answer("Forest_grow")[1] == ref("TreeOutput")


class Tree(BaseModel):
    children: "list[Tree]" = Field(default_factory=list)


class Forest(PotoModule):
    async def grow(self, tree: Tree) -> Tree: ...


class Measured(BaseModel):
    plain: float
    finite: FiniteFloat
    bounded: float = Field(ge=0, le=1)
    half_bounded: float = Field(gt=0, description="How much.")
    maybe: float | None = None
    made: list[int] = Field(default_factory=list)


class Taken(BaseModel):
    plain: float
    made: list[int] = Field(default_factory=list)


def test_what_comes_out_is_documented_as_it_is() -> None:
    """A number that may be NaN or infinite is a text then; what is made anew by default is always there, too."""

    class Lab(PotoModule):
        async def measure(self, taken: Taken) -> Measured: ...

        async def get_one(self, above: float = 0) -> float: ...

        async def stream(self) -> AsyncIterator[float]:
            yield 1.0

    found = document_of(Lab)
    texts = {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}
    either = {"anyOf": [{"type": "number"}, texts]}
    members = found.schemas["Measured"]["properties"]
    assert members["plain"] == either
    assert members["finite"] == {"type": "number"}
    assert members["bounded"]["type"] == "number"
    assert members["half_bounded"] == {
        "anyOf": [{"type": "number", "exclusiveMinimum": 0}, texts],
        "description": "How much.",
    }
    assert found.schemas["Measured"]["required"] == list(members)
    assert found.schemas["Taken"] == {
        "type": "object",
        "properties": {"plain": {"type": "number"}, "made": {"type": "array", "items": {"type": "integer"}}},
        "required": ["plain"],
    }
    assert found.answer("Lab_get_one")[1] == either
    assert found.answer("Lab_stream")[1]["oneOf"][0] == either
    assert found.parameters("Lab_get_one")["above"]["schema"]["type"] == "number"
    assert "x-poto-may" not in str(found.content)


class Digest(BaseModel):
    model_config = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex")
    digest: bytes


class Sentence(BaseModel):
    model_config = ConfigDict(ser_json_bytes="utf8", val_json_bytes="utf8")
    text: bytes


class Notary(PotoModule):
    @public
    async def sign(self, sentence: Sentence, seal: bytes) -> Digest: ...


def test_bytes_of_models_that_say_how() -> None:
    """A model's own way of writing bytes is the document's too; those beside it stay base64."""
    schemas = app_of(Notary).openapi()["components"]["schemas"]
    assert schemas["Digest"]["properties"]["digest"] == {"type": "string", "contentEncoding": "base16"}
    assert schemas["Sentence"]["properties"]["text"] == {"type": "string"}
    assert schemas["NotarySignRequest"]["properties"]["seal"] == BYTES
