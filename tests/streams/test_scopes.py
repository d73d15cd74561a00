"""Timeouts, cancel scopes and task groups round a `yield` do what their author meant."""

import json

import httpx
import pytest

from fastapi_poto.testing import LiveApp
from tests.servers import wait_until
from tests.streams.conftest import Connect
from tests.streams.probe import Probe, wait_parked


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("timeout", ["before", "timed out", "after"]),
        ("anyio_scope", ["before", "after"]),
        ("fail_after", ["before", "timed out"]),
        ("failing_child", ["before", "after"]),
    ],
)
def test_inside_the_generator(live: LiveApp, name: str, items: list[str]) -> None:
    """They end what the generator awaits, are caught in it, and the stream goes on."""
    text = httpx.get(f"{live.url}/Scopes/{name}").text
    assert [line for line in text.splitlines() if line.startswith("data: ")] == [f'data: "{item}"' for item in items]
    assert text.endswith("event: close\ndata\n\n")


@pytest.mark.parametrize("name", ["timeout_at_yield", "scope_at_yield"])
def test_at_a_yield_while_the_reader_stalls(connect: Connect, name: str, tag: str, probe: Probe) -> None:
    """A timeout that strikes while the generator waits for its reader comes up at the `yield`, and hurts no write."""
    connection = connect(f"/Scopes/{name}", query={"tag": tag}, receive_buffer=8192)
    probe.wait("timed out")
    connection.read_all(20)
    assert connection.is_complete
    assert connection.body.endswith(b'data: "after"\n\nid: ~end\nevent: close\ndata\n\n')


@pytest.mark.parametrize("name", ["task_group", "anyio_group"])
def test_children_end_when_the_client_leaves(connect: Connect, name: str, tag: str, probe: Probe) -> None:
    """A task group in the generator cancels its children and waits for them."""
    connection = connect(f"/Scopes/{name}", query={"tag": tag})
    connection.read_until(b"data: 3")
    connection.leave()
    probe.wait("closed")
    assert probe.names == ["child closed", "closed"]


@pytest.mark.parametrize("kind", ["asyncio", "anyio"])
def test_children_end_when_a_stalled_client_leaves(
    connect: Connect, live: LiveApp, kind: str, tag: str, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when the group's body sits at a `yield`; and nothing of it is logged."""
    connection = connect("/Scopes/group_stalled", query={"tag": tag, "kind": kind}, receive_buffer=8192)
    wait_parked(probe, at_least=50)
    connection.reset()
    probe.wait("closed")
    assert [name for name in probe.names if name != "item"] == ["child closed", "closed"]
    wait_until(lambda: not live.server.server_state.tasks, "the end of the call", 5)
    assert [record for record in caplog.records if record.name == "fastapi_poto"] == []


def test_items_are_json(live: LiveApp) -> None:
    """The items before and after a scope are those of the generator, in their order."""
    text = httpx.get(f"{live.url}/Scopes/anyio_scope").text
    assert [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")] == ["before", "after"]
