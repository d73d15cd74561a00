"""The caller says how long it waits."""

import json
import time

import httpx
import pytest
from httpx_sse import connect_sse

from fastapi_poto.testing import LiveApp
from tests.streams.probe import Probe

GONE = {"code": "deadline_exceeded", "detail": "The caller's deadline has passed"}


@pytest.mark.parametrize("name", ["ticks", "sync_ticks"])
def test_a_stream_ends_at_its_deadline(live: LiveApp, name: str, tag: str, probe: Probe) -> None:
    """With `event: error` after what it made; the generator is closed."""
    headers = {"Poto-Timeout-Ms": "200"}
    began = time.monotonic()
    url = f"{live.url}/Deadlines/{name}?tag={tag}"
    with httpx.Client() as client, connect_sse(client, "GET", url, headers=headers) as source:
        events = list(source.iter_sse())
    assert 0.19 < time.monotonic() - began < 0.6
    assert len(events) > 3
    assert json.loads(events[-1].data) == {"$error": GONE}
    probe.wait("closed")


def test_it_is_visible_in_the_context(live: LiveApp, tag: str) -> None:
    """`context.remaining` counts down."""
    headers = {"Poto-Timeout-Ms": "150"}
    text = httpx.get(f"{live.url}/Deadlines/ticks?tag={tag}", headers=headers).text
    left = [float(line[6:]) for line in text.splitlines() if line.startswith("data: 0")]
    assert left == sorted(left, reverse=True)
    assert 0.1 < left[0] <= 0.15


def test_before_the_first_item_it_is_a_504(live: LiveApp, tag: str, probe: Probe) -> None:
    """The status line has not gone yet."""
    answer = httpx.get(f"{live.url}/Deadlines/nothing?tag={tag}", headers={"Poto-Timeout-Ms": "100"})
    assert (answer.status_code, answer.json()) == (504, GONE)
    probe.wait("closed")


def test_a_deadline_that_is_not_understood_is_refused(live: LiveApp, tag: str) -> None:
    """400, rather than a call without a deadline."""
    answer = httpx.get(f"{live.url}/Deadlines/ticks?tag={tag}", headers={"Poto-Timeout-Ms": "soon"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
