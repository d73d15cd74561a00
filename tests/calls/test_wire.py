"""Types on the wire, apart from any call."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from fastapi_poto.wire import WireType


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
