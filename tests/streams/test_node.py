"""The streams as Node's clients read them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fastapi_poto.testing import LiveApp

pytestmark = pytest.mark.conformance

FOLDER = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the locked packages."""
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "read.mjs"):
        shutil.copy(FOLDER / name, folder)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    return folder


def read(node: Path, kind: str, url: str) -> list[dict[str, Any]]:
    done = subprocess.run(["node", "read.mjs", kind, url], cwd=node, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_eventsource_parser(one: LiveApp, node: Path) -> None:
    """Items, names, ids, the error and the end come out; pings bring nothing, and the end has no data."""
    assert read(node, "parser", f"{one.url}/Wire/named") == [
        {"event": "progress", "id": "one", "data": '{"sku":"a","quantity":1}'},
        {"event": "message", "data": '{"sku":"b","quantity":1}'},
        {"event": "close", "id": "~end", "data": ""},
        {"event": "end"},
    ]
    events = read(node, "parser", f"{one.url}/Wire/late?kind=poto")
    assert [event["event"] for event in events] == ["message", "error", "end"]
    assert json.loads(events[1]["data"])["$error"]["code"] == "sold_out"
    assert read(node, "parser", f"{one.url}/Quick/silent") == [
        {"event": "retry", "data": "2500"},
        {"event": "message", "data": "1"},
        {"event": "message", "data": "2"},
        {"event": "close", "id": "~end", "data": ""},
        {"event": "end"},
    ]


def test_eventsource_stops_at_the_end(one: LiveApp, node: Path) -> None:
    """The client reconnects once, is told with 204 that there is no more, and gives up."""
    events = read(node, "eventsource", f"{one.url}/Wire/items?count=2")
    assert [event["event"] for event in events] == ["open", "message", "message", "reconnecting", "closed"]
    assert events[-1]["data"] == "204"


def test_eventsource_stops_at_an_error(one: LiveApp, node: Path) -> None:
    """It gets the error's data, and then no second run of a stream that failed."""
    events = read(node, "eventsource", f"{one.url}/Wire/late?kind=poto")
    assert [event["event"] for event in events] == ["open", "message", "error", "reconnecting", "closed"]
    assert json.loads(events[2]["data"])["$error"]["code"] == "sold_out"
