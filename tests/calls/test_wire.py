"""Types on the wire, apart from any call."""

import base64
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Base64Bytes, Base64UrlBytes, BaseModel, ConfigDict, Field

from fastapi_poto.wire import WireType, of_fields, of_texts, wire_type


class Delta(BaseModel):
    type: Literal["delta"] = "delta"
    default: bytes = b"\xff"
    metadata: float = 0.0


class Usage(BaseModel):
    type: Literal["usage"] = "usage"
    options: dict[str, Any] = {"type": "bytes"}


def test_fields_named_like_parts_of_a_schema() -> None:
    """Fields called `type`, `default` and `metadata` are fields, and follow the rules of the wire."""
    wire = WireType[Any](Annotated[Delta | Usage, Field(discriminator="type")])
    value = wire.validate_json(b'{"type": "delta", "default": "//8=", "metadata": "NaN"}')
    assert value.default == b"\xff\xff"
    assert wire.encode(value) == b'{"type":"delta","default":"//8=","metadata":"NaN"}'


def test_a_default_that_looks_like_a_schema() -> None:
    """Is given as it is."""
    assert WireType[Usage](Usage).validate_json(b"{}").options == {"type": "bytes"}


class Encoded(BaseModel):
    standard: Base64Bytes
    url: Base64UrlBytes
    anything: Any = None


class Hexadecimal(BaseModel):
    model_config = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex")

    data: bytes
    inner: Encoded | None = None


class HexadecimalOut(BaseModel):
    model_config = ConfigDict(ser_json_bytes="hex")

    data: bytes


@dataclass
class Blob:
    data: bytes


@given(st.binary())
def test_bytes_are_encoded_once(data: bytes) -> None:
    """In the standard alphabet; `Base64UrlBytes` in its own; and what was written is read again."""
    standard, url = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    plain = wire_type(dict[str, bytes])
    assert plain.encode({"data": data}) == b'{"data":"%b"}' % standard.encode()
    encoded = wire_type(Encoded)
    sent = {"standard": standard, "url": url}
    value = encoded.decode(b'{"standard":"%b","url":"%b"}' % (standard.encode(), url.encode()))
    assert (value.standard, value.url) == (data, data)
    assert wire_type(Any).decode(encoded.encode(value)) == {**sent, "anything": None}


@given(st.binary())
def test_a_model_may_have_its_own_way_with_bytes(data: bytes) -> None:
    """`ser_json_bytes` and `val_json_bytes` of a model hold for it, both ways, and not for the models inside."""
    for type_ in (Hexadecimal, HexadecimalOut):
        wire = wire_type(type_)
        text = wire.encode(type_(data=data))
        assert wire_type(Any).decode(text)["data"] == data.hex()
        assert wire.decode(text).data == data
    inner = Encoded.model_construct(standard=data, url=b"", anything=None)
    text = wire_type(Hexadecimal).encode(Hexadecimal.model_construct(data=b"", inner=inner))
    assert wire_type(Any).decode(text)["inner"]["standard"] == base64.b64encode(data).decode()


@given(st.binary(min_size=1))
def test_bytes_behind_any(data: bytes) -> None:
    """Wherever `Any` is, in whatever it holds, they are what they are elsewhere."""
    text = base64.b64encode(data).decode()
    value = {"a": [data, (data,)], "b": Blob(data), "c": Encoded.model_construct(standard=data, url=data), "d": {data}}
    told = wire_type(Any).decode(wire_type(dict[str, Any]).encode(value))
    assert told["a"] == [text, [text]]
    assert told["b"] == {"data": text}
    assert told["c"]["standard"] == text
    assert told["d"] == [text]


def test_bytes_in_texts() -> None:
    """A query has them as JSON has; a form as the UTF-8 that they are."""
    sent = base64.b64encode(b"hello").decode()
    for type_ in (bytes, Base64Bytes):
        assert WireType[Any](type_, rewire=of_texts).validate(sent) == b"hello"
    assert WireType[Any](bytes, rewire=of_fields).validate("hello") == b"hello"


@pytest.mark.parametrize(("one", "other"), [(int | str, str | int), (Literal[1], Literal[True])])
def test_equal_annotations_that_say_something_else(one: Any, other: Any) -> None:
    """Each has a codec of its own, though Python calls them equal, or nearly."""
    assert wire_type(one) is wire_type(one)
    assert wire_type(one) is not wire_type(other)
