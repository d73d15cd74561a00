"""The decoder of server-sent events, apart from any connection."""

import re

import pytest
from httpx_sse import ServerSentEvent
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastapi_poto import Event
from fastapi_poto.client.sse import EventDecoder, ServerEvent
from fastapi_poto.streaming.frames import CLOSE, PING, event_frame

names = st.text(st.characters(blacklist_characters="\r\n\0", codec="utf-8"), min_size=1, max_size=8)
payloads = st.binary(max_size=40).map(lambda raw: re.sub(rb"[\r\n\0]", b"", raw.decode(errors="replace").encode()))
events = st.builds(
    ServerEvent,
    st.lists(payloads, min_size=1, max_size=3).map(b"\n".join),
    names,
    st.none() | names,
)


# A machine that is busy with other tests is no failure.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def written(event: ServerEvent, end: bytes = b"\n") -> bytes:
    lines = [b"event: " + event.event.encode()]
    if event.id is not None:
        lines.append(b"id: " + event.id.encode())
    if event.data is not None:
        lines += [b"data: " + line for line in event.data.split(b"\n")]
    return b"".join(line + end for line in [*lines, b""])


def decoded(wire: bytes, cuts: list[int] = []) -> list[ServerEvent]:  # noqa: B006
    decoder, found, at = EventDecoder(), [], 0
    for cut in [*sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]:
        found += decoder.feed(wire[at:cut])
        at = cut
    return found


@unhurried
@given(st.lists(events, max_size=5), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0), max_size=8))
def test_what_was_written_is_read_however_it_was_cut(sent: list[ServerEvent], end: bytes, cuts: list[int]) -> None:
    """Any chunking of any of the three line ends gives the same events."""
    wire = b"".join(written(event, end) for event in sent)
    assert decoded(wire, cuts) == sent


@unhurried
@given(st.binary(max_size=200), st.lists(st.integers(0), max_size=12))
def test_any_bytes_are_read_the_same_however_they_were_cut(wire: bytes, cuts: list[int]) -> None:
    """Nothing that comes raises, and where chunks end does not matter."""
    assert decoded(wire, cuts) == decoded(wire)


@unhurried
@given(st.lists(events, max_size=5), st.sampled_from(["\n", "\r\n", "\r"]))
def test_it_agrees_with_httpx_sse(sent: list[ServerEvent], end: str) -> None:
    """For events that have data, httpx-sse reads the same."""
    wire = b"".join(written(event, end.encode()) for event in sent)
    lines, decoder = SSELineDecoder(), SSEDecoder()
    theirs: list[ServerSentEvent] = []
    for line in [*lines.decode(wire.decode()), *lines.flush()]:
        if (event := decoder.decode(line)) is not None:
            theirs.append(event)
    assert [(one.event, one.data.encode()) for one in theirs] == [(one.event, one.data) for one in decoded(wire)]


@unhurried
@given(st.lists(names, min_size=1, max_size=4), st.lists(st.integers(0), max_size=6))
def test_the_servers_own_frames(texts: list[str], cuts: list[int]) -> None:
    """Items, keep-alives and the end, as our server writes them."""
    frame = event_frame(str.encode)
    frames = [frame(Event(text, id=str(n))) for n, text in enumerate(texts)]
    wire = PING + PING.join(frames) + PING + CLOSE
    found = decoded(wire, cuts)
    assert [(event.id, event.event) for event in found[:-1]] == [(str(n), "message") for n in range(len(texts))]
    assert found[-1] == ServerEvent(None, "close")


@pytest.mark.parametrize("keep_alive", [b": ping\n", b": ping\n\n", b"\n\n", b":\r\n\r\n"])
def test_keep_alives_are_no_events(keep_alive: bytes) -> None:
    """Not even after an id was seen, where httpx-sse makes one of each blank line."""
    wire = keep_alive + b"id: 7\ndata: a\n\n" + keep_alive + b"data: b\n\n" + keep_alive
    assert [(event.data, event.id) for event in decoded(wire)] == [(b"a", "7"), (b"b", None)]


def test_what_is_incomplete_is_no_event() -> None:
    """A stream that was cut in an event, even after its data line, has not sent it."""
    assert decoded(b"data: a\n\ndata: b\n") == [ServerEvent(b"a")]


def test_the_small_print() -> None:
    """A byte order mark, fields without a colon, one space only, ids with NUL, unknown fields, `retry`."""
    wire = b"\xef\xbb\xbfdata\nid: a\0b\nother: x\ndata:  y\nretry: 2500\n\nretry: -1\nretry: \xd9\xa3\n\n"
    decoder = EventDecoder()
    found = [event for at in range(len(wire)) for event in decoder.feed(wire[at : at + 1])]
    assert found == [ServerEvent(b"\n y")]
    assert decoder.retry_ms == 2500


def test_a_long_line_in_small_chunks_takes_linear_time() -> None:
    """8 MiB in 1 KiB chunks are joined once, not once a chunk."""
    decoder = EventDecoder()
    decoder.feed(b"data: ")
    for _ in range(8192):
        assert decoder.feed(b"x" * 1024) == []
    (event,) = decoder.feed(b"\n\n")
    assert event.data is not None
    assert len(event.data) == 8192 * 1024
