"""The streams as a browser's `EventSource` reads them."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from fastapi_poto.testing import LiveApp
from tests.browsers import chromium

pytestmark = pytest.mark.browser

PAGE = (Path(__file__).parent / "browser.html").read_text()
FINAL = "seen.length && seen[seen.length - 1].event == 'closed'"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of Debian's Chromium."""
    with chromium() as browser:
        yield browser.new_page()


def read(page: Page, origin: str, path: str, until: str = FINAL) -> list[dict[str, Any]]:
    """What the page saw of a stream of its own origin."""
    page.route(f"{origin}/page", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto(f"{origin}/page")
    page.evaluate(f"open_stream('{path}')")
    page.wait_for_function(until, timeout=20_000)
    seen: list[dict[str, Any]] = page.evaluate("seen")
    return seen


def test_the_end_stops_reconnecting(one: LiveApp, page: Page) -> None:
    """Items, an end that the page is told of, and one reconnection that is answered 204: the source is closed."""
    seen = read(page, one.url, "/Wire/items?count=2")
    assert [event["event"] for event in seen] == ["open", "message", "message", "close", "reconnecting", "closed"]
    assert seen[3] == {"event": "close", "data": "", "id": "~end"}


def test_names_and_ids(one: LiveApp, page: Page) -> None:
    """A named event goes to its own listener, with its id."""
    seen = read(page, one.url, "/Wire/named")
    assert seen[1] == {"event": "progress", "data": '{"sku":"a","quantity":1}', "id": "one"}


def test_an_error_stops_reconnecting(one: LiveApp, page: Page) -> None:
    """The error's data arrives, and the stream that failed is not started again."""
    seen = read(page, one.url, "/Wire/late?kind=poto")
    assert [event["event"] for event in seen] == ["open", "message", "error", "reconnecting", "closed"]
    assert json.loads(seen[2]["data"])["$error"]["code"] == "sold_out"


def test_an_early_error_closes_at_once(one: LiveApp, page: Page) -> None:
    """A status that is not 200 is final for a browser."""
    assert read(page, one.url, "/Wire/early?kind=poto") == [{"event": "closed"}]


class Cutter:
    """A proxy that cuts its first connection after so many bytes of the answer."""

    def __init__(self, url: str, after: int) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._target = (host, int(port))
        self._after: int | None = after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            server.settimeout(10)
            request = b""
            while b"\r\n\r\n" not in request and (data := client.recv(65536)):
                request += data
            after, self._after = (self._after, None) if b"/Resuming/" in request else (None, self._after)
            server.sendall(request.replace(b"Connection: keep-alive", b"Connection: close"))
            sent = 0
            while data := server.recv(65536):
                client.sendall(data)
                sent += len(data)
                if after is not None and sent > after:
                    return

    def close(self) -> None:
        self._listener.close()


def test_a_cut_resumes(one: LiveApp, page: Page) -> None:
    """The connection is cut in the middle: the browser comes back and gets the rest, each item once."""
    cutter = Cutter(one.url, after=400)
    try:
        seen = read(page, cutter.url, "/Resuming/count?tag=browser&pause=0.05")
    finally:
        cutter.close()
    assert [int(event["data"]) for event in seen if event["event"] == "message"] == list(range(1, 11))
    assert [event["event"] for event in seen].count("open") == 2
    assert [event["event"] for event in seen][-2:] == ["reconnecting", "closed"]
