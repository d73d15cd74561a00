"""The frames, as pure functions."""

import json
from typing import Any

import pytest
from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError
from httpx_sse import ServerSentEvent
from httpx_sse._decoders import SSEDecoder
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from fastapi_poto.errors import Forbidden
from fastapi_poto.streaming import Event
from fastapi_poto.streaming.frames import (
    CLOSE,
    LAST_CLOSE,
    PING,
    error_frame,
    error_line,
    event_frame,
    line_frame,
    named_frame,
    retry_field,
)

frame = event_frame(to_json)


def decoded(data: bytes) -> list[ServerSentEvent]:
    """What httpx-sse makes of it."""
    decoder = SSEDecoder()
    events = (decoder.decode(line.rstrip("\r")) for line in data.decode().split("\n")[:-1])
    return [event for event in events if event is not None]


def test_an_item_is_one_data_line() -> None:
    """An item is an unnamed event with one line of JSON."""
    assert frame({"sku": "a", "quantity": 1}) == b'data: {"sku":"a","quantity":1}\n\n'


def test_the_end_has_no_data() -> None:
    """No line begins with `data:`, by which clients know an item; the bare name of the field shows it to a browser."""
    assert CLOSE == b"event: close\n\n"
    assert LAST_CLOSE == b"id: ~end\nevent: close\ndata\n\n"


def test_an_error_has_the_body_of_the_response() -> None:
    """A declared error travels with its detail."""
    assert error_frame(Forbidden("no")) == b'event: error\ndata: {"$error":{"code":"forbidden","detail":"no"}}\n\n'


@pytest.mark.parametrize(
    ("error", "body"),
    [
        (HTTPException(404, detail="gone"), {"detail": "gone"}),
        (HTTPException(404, detail={"any": ["thing"]}), {"detail": {"any": ["thing"]}}),
        (
            RequestValidationError([{"loc": ("body",), "msg": "m"}]),
            {"code": "validation_error", "detail": [{"loc": ["body"], "msg": "m"}]},
        ),
        (KeyError("password=hunter2"), {"code": "internal_error", "detail": "Internal Server Error"}),
    ],
)  # fmt: skip
def test_the_body_of_an_error(error: Exception, body: Any) -> None:
    """HTTP errors keep their detail, validation errors their list, any other says nothing of its inside."""
    assert json.loads(error_line(error)) == {"$error": body}


@pytest.mark.parametrize("field", ["event", "id"])
@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", "\r\n", "\n"])
def test_names_and_ids_are_one_line(field: str, bad: str) -> None:
    """CR, LF and NUL in an event's name or id are refused where the event is made."""
    with pytest.raises(ValueError, match=f"the {field} of a server-sent event"):
        Event(data=1, **{field: bad})  # type: ignore[arg-type]


def test_the_last_id_is_reserved() -> None:
    """An item cannot pass for the end of the stream."""
    with pytest.raises(ValueError, match="~end"):
        Event(data=1, id="~end")


def test_a_named_event() -> None:
    """Id, then name, then data."""
    assert frame(Event(data=[1], event="progress", id="7")) == b"id: 7\nevent: progress\ndata: [1]\n\n"


@given(st.text(), st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), min_size=1))
def test_any_data_arrives_as_it_was(text: str, name: str) -> None:
    """Newlines in the data are split into lines, and come together again."""
    data = text.encode("utf-8", "replace")
    (event,) = decoded(named_frame(data, name, "7"))
    assert event.data.splitlines() == data.decode().replace("\r\n", "\n").replace("\r", "\n").splitlines()
    assert event.id == "7"
    assert event.event == name


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=20))
def test_any_json_arrives_as_it_was(value: Any) -> None:
    """What is put into a frame is what is read from it, in events and in lines."""
    try:
        to_json(value)
    except ValueError:  # lone surrogates
        return
    events = decoded(frame(value) + CLOSE)
    assert [event.event for event in events] == ["message", "close"]
    assert json.loads(events[0].data) == value
    line = line_frame(to_json)(value)
    assert line.count(b"\n") == 1
    assert json.loads(line) == value


def test_indented_json_is_split() -> None:
    """An encoder that writes newlines breaks neither events nor lines."""

    def indented(value: Any) -> bytes:
        return json.dumps(value, indent=2).encode()

    assert json.loads(decoded(event_frame(indented)({"a": [1, 2]}))[0].data) == {"a": [1, 2]}
    assert json.loads(line_frame(indented)({"a": [1, 2]})) == {"a": [1, 2]}


def test_a_ping_is_no_event_even_after_an_id() -> None:
    """The trap: httpx-sse makes an event of an empty block once it has seen an id. One newline makes no block."""
    events = decoded(b"id: 7\ndata: 1\n\n" + PING + PING + b"id: 8\ndata: 2\n\n")
    assert [(event.id, event.data) for event in events] == [("7", "1"), ("8", "2")]
    assert len(decoded(b"id: 7\ndata: 1\n\n" + b": ping\n\n" + b"id: 8\ndata: 2\n\n")) == 3, "the trap is still there"


def test_retry_joins_the_next_frame() -> None:
    """The reconnection time is no event of its own."""
    (event,) = decoded(retry_field(2500) + frame(1))
    assert (event.retry, event.data) == (2500, "1")


@pytest.mark.parametrize("name", ["close", "error", "open", "gap"])
def test_names_of_the_streams_own_frames_are_refused(name: str) -> None:
    """An item that is called like a beginning, an end or a gap would be taken for it."""
    with pytest.raises(ValueError, match="last frame"):
        Event(data=1, event=name)
