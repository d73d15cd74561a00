"""Rules 1 and 2: what a stream is in the document."""

from collections.abc import AsyncIterator, Iterator

from fastapi.responses import FileResponse, HTMLResponse, Response
from pydantic import BaseModel

from fastapi_poto import Event, PotoError, PotoModule, rpc

from .conftest import document_of, ref


class Line(BaseModel):
    sku: str


class Cat(BaseModel):
    name: str


class SoldOut(PotoError):
    code = "sold_out"
    status = 409


class Live(PotoModule):
    @rpc(errors=[SoldOut])
    async def lines(self) -> AsyncIterator[Line]:
        yield Line(sku="a")

    async def counts(self) -> Iterator[int]:
        return iter(())

    async def events(self) -> AsyncIterator[Event[Line]]:
        yield Event(data=Line(sku="a"))

    async def either(self) -> AsyncIterator[Line | Cat]:
        yield Line(sku="a")

    async def maps(self) -> AsyncIterator[dict[str, int]]:
        yield {}

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b""

    @rpc(media_type="image/png")
    async def picture(self) -> bytes:
        return b""

    @rpc(media_type="text/csv")
    async def table(self) -> AsyncIterator[bytes]:
        yield b""

    async def file(self) -> FileResponse: ...

    async def page(self) -> HTMLResponse: ...

    @rpc(media_type="application/pdf")
    async def paper(self) -> Response: ...

    async def nothing(self) -> None: ...


document = document_of(Live)


def test_an_item_or_an_error() -> None:
    """The 200 of a stream is the payload of one event: an item, or its failure; no envelope, no itemSchema."""
    assert document.answer("Live_lines") == (
        "text/event-stream",
        {"oneOf": [ref("Line"), ref("LiveLinesStreamFailure")]},
    )
    assert document.answer("Live_events")[1]["oneOf"][0] == ref("Line")
    assert document.answer("Live_counts")[1]["oneOf"][0] == {"type": "integer"}
    assert "itemSchema" not in str(document.content)


def test_items_that_are_no_component_get_a_name() -> None:
    """A union of two models is named after them, another object after its method."""
    assert document.answer("Live_either")[1]["oneOf"][0] == ref("LineOrCat")
    assert document.schemas["LineOrCat"] == {"anyOf": [ref("Line"), ref("Cat")]}
    assert document.answer("Live_maps")[1]["anyOf"][0] == ref("LiveMapsItem")


def test_the_error_of_a_stream_is_the_body_of_an_error() -> None:
    """Under `$error` stands what the response would have had: what the method declares, what can occur, the rest."""
    failure = document.schemas["LiveLinesStreamFailure"]
    assert failure["required"] == ["$error"]
    inside = failure["properties"]["$error"]
    assert inside["oneOf"][0] == ref("SoldOutError")
    assert inside["oneOf"][-2:] == [ref("ValidationError"), ref("GeneralError")]
    assert inside["discriminator"]["mapping"]["sold_out"] == ref("SoldOutError")["$ref"]
    assert ref("UnavailableError") in inside["oneOf"]


def test_errors_of_streams_are_json() -> None:
    """Every response of a stream but the 200 is application/json, and no response has two media types."""
    for operation in document.operations.values():
        for status, response in operation["responses"].items():
            contents = response.get("content", {})
            assert len(contents) <= 1
            if status not in ("200", "204"):
                assert list(contents) == ["application/json"], operation["operationId"]


def test_bytes_have_their_media_type() -> None:
    """Octets are binary, in the media type that @rpc names; text is text."""
    binary = {"type": "string", "format": "binary"}
    assert document.answer("Live_chunks") == ("application/octet-stream", binary)
    assert document.answer("Live_picture") == ("image/png", binary)
    assert document.answer("Live_table") == ("text/csv", {"type": "string"})


def test_responses_pass_through() -> None:
    """A method that returns a Response is documented as its class and @rpc say."""
    binary = {"type": "string", "format": "binary"}
    assert document.answer("Live_file") == ("application/octet-stream", binary)
    assert document.answer("Live_paper") == ("application/pdf", binary)
    assert document.answer("Live_page") == ("text/html", {"type": "string"})


def test_nothing_is_204() -> None:
    """A method that returns None has a 204 without content, and no 200."""
    responses = document.operations["Live_nothing"]["responses"]
    assert "content" not in responses["204"]
    assert "200" not in responses
