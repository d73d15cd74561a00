"""What goes over the wire, from a live server."""

import json
import logging
import time
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from fastapi_poto.testing import LiveApp
from tests.servers import wait_until
from tests.streams.conftest import Connect, sign_in

ITEMS = b'data: {"sku":"s0","quantity":0}\n\ndata: {"sku":"s1","quantity":1}\n\n'
INTERNAL = {"code": "internal_error", "detail": "Internal Server Error"}
SOLD_OUT = {"code": "sold_out", "detail": "nothing left", "data": {"sku": "a"}}


@pytest.mark.parametrize("name", ["items", "sync_items"])
def test_items_for_a_browser(live: LiveApp, name: str) -> None:
    """A GET stream: unnamed items, and a last frame whose id ends a browser's reconnecting."""
    answer = httpx.get(f"{live.url}/Wire/{name}?count=2")
    assert answer.status_code == 200
    assert answer.content == ITEMS + b"id: ~end\nevent: close\ndata\n\n"
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "connection" not in answer.headers
    assert "content-encoding" not in answer.headers


def test_items_for_a_program(live: LiveApp) -> None:
    """A POST stream, which nobody reconnects to, has no ids."""
    answer = httpx.post(f"{live.url}/Wire/items", json={"count": 2})
    assert answer.content == ITEMS + b"event: close\n\n"


def test_lines_of_json(live: LiveApp) -> None:
    """With `Accept: application/x-ndjson` the same items come as lines, and nothing else does."""
    headers = {"accept": "Application/X-NDJSON;q=0.9, */*;q=0.1"}
    answer = httpx.post(f"{live.url}/Wire/items", json={"count": 2}, headers=headers)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.text.splitlines()] == [
        {"sku": "s0", "quantity": 0},
        {"sku": "s1", "quantity": 1},
    ]
    answer = httpx.get(f"{live.url}/Wire/late?kind=poto", headers=headers)
    assert json.loads(answer.text.splitlines()[-1]) == {"$error": SOLD_OUT}
    answer = httpx.get(f"{live.url}/Wire/named", headers=headers)
    assert [json.loads(line)["sku"] for line in answer.text.splitlines()] == ["a", "b"]


def test_keep_alives_of_lines(live: LiveApp) -> None:
    """They are empty lines, which NDJSON has its readers skip."""
    answer = httpx.get(f"{live.url}/Quick/silent", headers={"accept": "application/x-ndjson"})
    assert [json.loads(line) for line in answer.text.split("\n") if line] == [1, 2]
    assert "\n\n" in answer.text


def test_names_and_ids(live: LiveApp) -> None:
    """`Event` gives an item a name and an id; an item without one keeps none."""
    with httpx.Client() as client, connect_sse(client, "GET", f"{live.url}/Wire/named") as source:
        events = [(event.event, event.id, event.data) for event in source.iter_sse()]
    assert events[0] == ("progress", "one", '{"sku":"a","quantity":1}')
    assert events[1] == ("message", "one", '{"sku":"b","quantity":1}')  # a client keeps the last id
    assert events[2] == ("close", "~end", "")


def test_an_event_among_plain_items(live: LiveApp) -> None:
    """A method may name some of its items only."""
    text = httpx.get(f"{live.url}/Wire/mixed").text
    assert text.startswith('data: {"sku":"a","quantity":1}\n\nevent: special\ndata: {"sku":"b","quantity":1}\n\n')


def test_a_stream_without_items(live: LiveApp) -> None:
    """Nothing, well ended."""
    assert httpx.get(f"{live.url}/Wire/empty").content == b"id: ~end\nevent: close\ndata\n\n"


def test_text_arrives_as_it_was(live: LiveApp) -> None:
    """Newlines, NUL and line separators inside of JSON are nothing special."""
    with httpx.Client() as client, connect_sse(client, "GET", f"{live.url}/Wire/unicode") as source:
        first = next(iter(source.iter_sse()))
    assert json.loads(first.data) == "line one\nline two\r\nüñí \u2028 \0 end"


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
def test_items_are_one_line_to_readers_of_lines(live: LiveApp, accept: str) -> None:
    """`iter_lines` of httpx ends a line at U+0085, U+2028 and U+2029: JSON has them escaped, in errors too."""
    with httpx.stream("GET", f"{live.url}/Wire/line_separators", headers={"accept": accept}) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines()]
    *items, error = [json.loads(line) for line in lines if line[:1] in ('"', "{")]
    text = "a\u2028b\u2029c\x85d é"
    assert items == [text] * 3
    assert error == {"$error": {"detail": text}}


@pytest.mark.parametrize(
    ("kind", "status", "body"), [("poto", 409, SOLD_OUT), ("http", 418, {"detail": "teapot"}), ("bug", 500, INTERNAL)]
)
def test_an_error_before_the_first_item_has_its_status(
    live: LiveApp, kind: str, status: int, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The status line waits for the first item, so an early failure is a plain response."""
    answer = httpx.get(f"{live.url}/Wire/early?kind={kind}")
    assert (answer.status_code, answer.json()) == (status, body)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("name", ["late", "sync_late"])
@pytest.mark.parametrize(
    ("kind", "body"), [("poto", SOLD_OUT), ("http", {"detail": "teapot"}), ("bug", INTERNAL)]
)  # fmt: skip
def test_a_later_error_is_the_last_frame(live: LiveApp, name: str, kind: str, body: Any) -> None:
    """The item before it is delivered, and the error has the body that the response would have had."""
    with httpx.Client() as client, connect_sse(client, "GET", f"{live.url}/Wire/{name}?kind={kind}") as source:
        events = list(source.iter_sse())
    assert [event.event for event in events] == ["message", "error"]
    assert json.loads(events[1].data) == {"$error": body}
    assert events[1].id == "~end"


@pytest.mark.parametrize("name", ["late", "sync_late"])
def test_a_bug_is_logged_with_its_request(live: LiveApp, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """What the client is not told stands in the log, with the traceback and the request's id."""
    with caplog.at_level(logging.ERROR, "fastapi_poto"):
        text = httpx.get(f"{live.url}/Wire/{name}?kind=bug", headers={"x-request-id": "r-42"}).text
    assert "secret" not in text
    (record,) = [record for record in caplog.records if record.name == "fastapi_poto"]
    assert f"Wire.get_{name}" in record.getMessage()
    assert "r-42" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_a_declared_error_is_not_logged(live: LiveApp, caplog: pytest.LogCaptureFixture) -> None:
    """What the client is told is no fault of the server."""
    with caplog.at_level(logging.INFO, "fastapi_poto"):
        httpx.get(f"{live.url}/Wire/late?kind=poto")
    assert [record for record in caplog.records if record.name == "fastapi_poto"] == []


@pytest.mark.parametrize("name", ["wrong", "self_cancelled"])
def test_broken_promises_are_internal_errors(live: LiveApp, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """An item that is not of the annotated type, or a generator that cancels itself, is a bug of the server."""
    with httpx.Client() as client, connect_sse(client, "GET", f"{live.url}/Wire/{name}") as source:
        events = list(source.iter_sse())
    assert [event.event for event in events] == ["message", "error"]
    assert json.loads(events[1].data) == {"$error": INTERNAL}


@pytest.mark.parametrize("name", ["no_exception", "sync_no_exception"])
@pytest.mark.parametrize("kind", ["cancelled", "generator exit", "system exit", "group"])
def test_what_is_no_exception_is_no_good_end(
    live: LiveApp, name: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A generator that raises any other `BaseException` has failed, and strikes neither the server nor its log."""
    answer = httpx.get(f"{live.url}/Wire/{name}", params={"kind": kind, "items": 0})
    assert (answer.status_code, answer.json()) == (500, INTERNAL)
    caplog.clear()
    text = httpx.get(f"{live.url}/Wire/{name}", params={"kind": kind, "items": 1}).text
    assert text.startswith("data: 0\n\nid: ~end\nevent: error\ndata: ")
    assert "secret" not in text
    (record,) = [record for record in caplog.records if record.name == "fastapi_poto"]
    assert f"Wire.get_{name}" in record.getMessage()


def test_what_a_generator_sets_goes_out_with_its_first_item(live: LiveApp) -> None:
    """Its status and its headers; behind the first item both are too late."""
    made = httpx.get(f"{live.url}/Wire/created")
    assert (made.status_code, made.headers["x-made"]) == (201, "yes")
    assert made.text == "data: 0\n\nid: ~end\nevent: close\ndata\n\n"
    assert httpx.get(f"{live.url}/Wire/created_bytes").status_code == 201
    late = httpx.get(f"{live.url}/Wire/created", params={"items_before": 1})
    assert (late.status_code, "x-made" in late.headers) == (200, False)
    assert late.text.count("data: ") == 2


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body(
    live: LiveApp, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest, status: int
) -> None:
    """204 and no item, which ends an EventSource, is a whole response; with an item it is an error before the first."""
    server = logging.getLogger("uvicorn.error")  # which may pass nothing on to others
    server.addHandler(caplog.handler)
    request.addfinalizer(lambda: server.removeHandler(caplog.handler))
    with httpx.Client(base_url=live.url) as client:
        nothing = client.get("/Wire/nothing", params={"status": status})
        assert (nothing.status_code, nothing.content) == (status, b"")
        assert "connection" not in nothing.headers
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
        wrong = client.get("/Wire/nothing", params={"status": status, "items": 1})
    assert (wrong.status_code, wrong.json()) == (500, INTERNAL)
    wait_until(lambda: f"set the status {status}" in caplog.text, "the server's record of the error", 5)


def test_headers_do_not_wait_for_ever(connect: Connect) -> None:
    """After `first_item_timeout`, a second unless said otherwise, the headers go with a ping."""
    began = time.monotonic()
    connection = connect("/Wire/slow_start", query={"seconds": 2.5})
    connection.read_until(b"\r\n\r\n")
    assert 0.95 < time.monotonic() - began < 2.2
    connection.read_until(b": ping\n")
    assert b"data" not in connection.received
    assert b"data: 1\n\n" in connection.read_all()


def test_a_failure_after_the_headers_is_a_frame(connect: Connect) -> None:
    """Once the headers have gone the status cannot change, first item or not."""
    connection = connect("/Wire/slow_failure")
    assert b'event: error\ndata: {"$error":{"code":"sold_out"' in connection.read_all()
    assert connection.status == 200


def test_a_channel_that_is_idle_by_nature_opens_at_once(connect: Connect) -> None:
    """`first_item_timeout=0`: a browser's `onopen` does not wait."""
    began = time.monotonic()
    connection = connect("/Wire/idle_by_nature")
    connection.read_until(b": ping\n")
    assert time.monotonic() - began < 0.5


def test_pings_and_retry(connect_one: Connect) -> None:
    """A silent stream pings at its interval; the reconnection time goes ahead of the first frame."""
    connection = connect_one("/Quick/silent")
    received = connection.read_all()
    body = received.split(b"\r\n\r\n", 1)[1]
    assert 2 <= body.count(b": ping\n") <= 3
    assert b"retry: 2500\ndata: 1\n\n" in body
    assert body.index(b"data: 1") < body.index(b": ping") < body.index(b"data: 2")


def test_httpx_sse_sees_no_phantoms(one: LiveApp) -> None:
    """Pings between items are nothing to a client."""
    with httpx.Client() as client, connect_sse(client, "GET", f"{one.url}/Quick/silent") as source:
        assert [(event.event, event.data) for event in source.iter_sse()] == [
            ("message", "1"), ("message", "2"), ("close", ""),
        ]  # fmt: skip


@pytest.mark.parametrize("name", ["/Wire/items", "/Resuming/count"])
def test_a_client_that_saw_the_end_is_told_there_is_no_more(live: LiveApp, name: str) -> None:
    """204 is what stops a browser's `EventSource`."""
    answer = httpx.get(f"{live.url}{name}?tag=-", headers={"last-event-id": "~end"})
    assert (answer.status_code, answer.content) == (204, b"")


def test_other_ids_mean_nothing_to_a_plain_stream(live: LiveApp) -> None:
    """A stream that is not resumable starts again."""
    answer = httpx.get(f"{live.url}/Wire/items?count=2", headers={"last-event-id": "one"})
    assert answer.content.startswith(ITEMS)


def test_bytes(live: LiveApp) -> None:
    """Chunks as they are, with the type that the method declares."""
    answer = httpx.get(f"{live.url}/Wire/csv")
    assert answer.content == b"a,b\n1,2\n"
    assert answer.headers["content-type"] == "text/csv"


def test_a_file(live: LiveApp) -> None:
    """Its name and its length, where the method knows them."""
    answer = httpx.get(f"{live.url}/Wire/report")
    assert answer.content == b"a,b\n1,2\n"
    assert answer.headers["content-length"] == "8"
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''Bericht%20f%C3%BCr%20M%C3%A4rz.csv"
    assert "transfer-encoding" not in answer.headers


def test_bytes_that_fail_early_are_a_response(live: LiveApp) -> None:
    """Before the first chunk an error has its status."""
    answer = httpx.get(f"{live.url}/Wire/early_broken_bytes")
    assert (answer.status_code, answer.json()["code"]) == (409, "sold_out")


def test_what_describes_a_download_does_not_describe_an_error(live: LiveApp) -> None:
    """The error has its own length, and is no file to save."""
    answer = httpx.get(f"{live.url}/Wire/missing_file")
    assert (answer.status_code, answer.json()["code"]) == (409, "sold_out")
    assert answer.headers["content-length"] == str(len(answer.content))
    assert "content-disposition" not in answer.headers


def test_bytes_that_fail_late_are_cut(live: LiveApp, caplog: pytest.LogCaptureFixture) -> None:
    """There is no other way to say that they are not all."""
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{live.url}/Wire/broken_bytes")


def test_a_large_download(live: LiveApp) -> None:
    """Every byte of it."""
    answer = httpx.get(f"{live.url}/Wire/download?megabytes=10")
    assert len(answer.content) == 10 * 1024 * 1024


def test_headers_of_the_call_go_out_with_the_stream(live: LiveApp) -> None:
    """A stream of a signed-in caller is a stream like any other."""
    answer = httpx.get(f"{live.url}/Whose/mine?count=2", headers=sign_in(live.url))
    assert answer.text.count("data: ") == 2
    answer = httpx.get(f"{live.url}/Whose/mine?count=2")
    assert answer.status_code == 401
