"""Rule 10: what a client may use beside the arguments stands in the document."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Header

from fastapi_poto import Event, Poto, PotoModule, rpc

from .conftest import SECRET, Document, document_of


class Live(PotoModule):
    async def act(self, number: int) -> int: ...

    async def get_ticks(self) -> AsyncIterator[int]:
        yield 1

    async def words(self) -> AsyncIterator[Event[str]]:
        yield Event(data="a")

    @rpc(resumable=True)
    async def story(self) -> AsyncIterator[Event[str] | str]:
        yield "a"

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b""

    async def own(self, last_event_id: Annotated[str, Header(alias="poto-timeout-ms")]) -> None: ...


def headers(document: Document, operation: str) -> list[str]:
    found: list[dict[str, Any]] = document.operations[operation].get("parameters", [])
    return [one["name"] for one in found if one["in"] == "header"]


def test_headers() -> None:
    """The deadline everywhere, the last event's id where a client reconnects; none twice."""
    document = document_of(Live)
    assert headers(document, "Live_act") == ["Poto-Timeout-Ms"]
    assert headers(document, "Live_get_ticks") == ["Poto-Timeout-Ms", "Last-Event-ID"]
    assert headers(document, "Live_words") == ["Poto-Timeout-Ms"]
    assert headers(document, "Live_story") == ["Poto-Timeout-Ms", "Last-Event-ID"]
    assert headers(document, "Live_chunks") == ["Poto-Timeout-Ms"]
    assert headers(document, "Live_own") == ["poto-timeout-ms"]
    assert headers(document, "Auth_login") == []


def test_cookie_mode() -> None:
    """Where sign-in by cookies is on, writes name the header that they need; reads do not."""
    document = document_of(Live, poto=Poto(SECRET, cookies=True))
    for operation in ("Live_act", "Live_words", "Auth_login", "Auth_visitor", "Auth_refresh"):
        assert headers(document, operation)[-1] == "X-Poto-Transport", operation
    for operation in ("Live_get_ticks", "Auth_me"):
        assert "X-Poto-Transport" not in headers(document, operation)


@pytest.mark.parametrize(
    ("operation", "named", "resumable"),
    [("Live_get_ticks", "have no name", False), ("Live_words", "have names", False), ("Live_story", "may have", True)],
)
def test_what_a_stream_is(operation: str, named: str, resumable: bool) -> None:
    """For machines an extension, for readers a description: ends, names, ids, lines of JSON."""
    shown = document_of(Live).operations[operation]
    assert shown["x-poto-stream"] == {"resumable": resumable, "ndjson": True}
    text = shown["responses"]["200"]["description"]
    for part in ("event: close", "event: error", "$error", "application/x-ndjson", named):
        assert part in text
    assert ("Last-Event-ID" in text) is resumable


def test_what_is_followed() -> None:
    """`GET /streams/{id}` is a stream as the others are, of whatever items."""
    document = document_of(Live)
    shown = document.operations["Streams_follow"]
    assert shown["x-poto-stream"] == {"resumable": True, "ndjson": False}
    answer = shown["responses"]["200"]
    item, failure = answer["content"]["text/event-stream"]["schema"]["anyOf"]
    assert item.keys() == {"description"}
    assert failure == {"$ref": "#/components/schemas/StreamsFollowStreamFailure"}
    assert "event: close" in answer["description"]
    assert headers(document, "Streams_follow") == ["Last-Event-ID"]
