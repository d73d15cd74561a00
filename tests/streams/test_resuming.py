"""Resumable streams: cut, and picked up again."""

import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from httpx_sse import connect_sse

from fastapi_poto import CallContext, Settings
from fastapi_poto.errors import PastReplay, Unavailable
from fastapi_poto.stores.log import Appended, Entry
from fastapi_poto.stores.log_memory import MemoryLog
from fastapi_poto.stores.memory import MemoryStore
from fastapi_poto.streaming.streams import Streams
from fastapi_poto.streaming.writer import Writer
from fastapi_poto.testing import LiveApp, serve
from tests.processes import LiveProcess, serve_processes
from tests.servers import RedisServer, wait_until
from tests.streams.apps import make_app
from tests.streams.client import Connection
from tests.streams.conftest import Connect, sign_in
from tests.streams.probe import Probe, wait_parked


def read(url: str, path: str, last_id: str | None = None, **headers: str) -> list[tuple[str, str, Any]]:
    """All events from here to the end: name, id, data."""
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    with httpx.Client(timeout=10) as client, connect_sse(client, "GET", url + path, headers=headers) as source:
        return [(e.event, e.id, json.loads(e.data) if e.data else None) for e in source.iter_sse()]


def cut(connection: Connection, item: int) -> str:
    """Read up to an item, drop the connection, and give that item's id."""
    connection.read_until(f"data: {item}\n\n".encode())
    connection.reset()
    ids = [line[4:].decode() for line in connection.body.split(b"\n") if line.startswith(b"id: ")]
    return next(one for one in ids if one.endswith(f"-{item}"))


def numbers(events: list[tuple[str, str, Any]]) -> list[Any]:
    return [data for name, _, data in events if name == "message"]


def until_stored(live: LiveApp, stream: str) -> None:
    """Return when a stream has ended, and is only in the store."""

    async def is_live() -> bool:
        return stream in live.app.state.poto.streams.local.live

    wait_until(lambda: not live.run(is_live()), "it goes on")


@pytest.mark.parametrize("item", [1, 4])
def test_no_gap_and_no_duplicate(live: LiveApp, connect: Connect, item: int, tag: str, probe: Probe) -> None:
    """After a cut the rest comes, while the same generator goes on."""
    last = cut(connect("/Resuming/count", query={"tag": tag}), item)
    events = read(live.url, f"/Resuming/count?tag={tag}", last)
    assert numbers(events) == list(range(item + 1, 11))
    assert events[-1][:2] == ("close", "~end")
    assert [int(event[1].rpartition("-")[2]) for event in events[:-1]] == numbers(events)
    assert probe.count("started") == 1


def test_it_goes_on_meanwhile(live: LiveApp, connect: Connect, tag: str, probe: Probe) -> None:
    """The generator does not wait for the client: what it made in the meantime comes at once."""
    last = cut(connect("/Resuming/count", query={"tag": tag}), 2)
    probe.wait("closed")
    began = time.monotonic()
    assert numbers(read(live.url, f"/Resuming/count?tag={tag}", last)) == list(range(3, 11))
    assert time.monotonic() - began < 0.5


def test_again_and_again(live: LiveApp, connect: Connect, tag: str) -> None:
    """A bad line: every item comes once, whatever the number of cuts."""
    headers: dict[str, str] = {}
    for item in (2, 3, 6, 8):
        connection = connect("/Resuming/count", query={"tag": tag}, headers=headers)
        headers["Last-Event-ID"] = cut(connection, item)
    assert numbers(read(live.url, f"/Resuming/count?tag={tag}", headers["Last-Event-ID"])) == [9, 10]


def test_after_its_end_it_can_be_read_again(live: LiveApp, tag: str) -> None:
    """From any item that is still kept; from the last one there is nothing but the end."""
    events = read(live.url, f"/Resuming/count?tag={tag}&pause=0")
    assert numbers(events) == list(range(1, 11))
    stream = events[0][1].rpartition("-")[0]
    until_stored(live, stream)
    assert numbers(read(live.url, "/Resuming/count?tag=-", f"{stream}-7")) == [8, 9, 10]
    assert read(live.url, "/Resuming/count?tag=-", f"{stream}-10") == [("close", "~end", None)]


def test_a_sync_generator(live: LiveApp, connect: Connect) -> None:
    """Resumes like any other."""
    last = cut(connect("/Resuming/sync_count"), 2)
    assert numbers(read(live.url, "/Resuming/sync_count", last)) == [3, 4, 5]


def test_an_error_can_be_resumed_to(live: LiveApp) -> None:
    """A failure is the end of the replay, too."""
    events = read(live.url, "/Resuming/failing")
    assert [event[0] for event in events] == ["message", "error"]
    answer = httpx.get(f"{live.url}/Resuming/failing", headers={"Last-Event-ID": events[0][1]})
    assert (answer.status_code, answer.json()["code"]) == (409, "sold_out")


def test_an_error_before_the_first_item_is_a_response(live: LiveApp) -> None:
    """As for any stream."""
    answer = httpx.get(f"{live.url}/Resuming/failing_early")
    assert (answer.status_code, answer.json()["code"]) == (409, "sold_out")


def test_ids_are_not_the_methods_own(live: LiveApp, caplog: pytest.LogCaptureFixture) -> None:
    """A resumable stream numbers its items; an id of the method's is an error of the server."""
    answer = httpx.get(f"{live.url}/Resuming/own_id")
    assert answer.status_code == 500


@pytest.mark.parametrize(
    "last", ["7", "nonsense", "0123456789abcdef01234567-1", "-", "-1", "a-b", "a-1\u00b2", "a" * 3000 + "-1"]
)
def test_unknown_ids_are_refused(live: LiveApp, last: str) -> None:
    """409, never a silent restart."""
    answer = httpx.get(f"{live.url}/Resuming/count?tag=-", headers={"Last-Event-ID": last.encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (409, "past_replay")


def test_an_id_past_the_newest_item_is_refused(live: LiveApp, connect: Connect, tag: str) -> None:
    """Nobody can have seen what was not made."""
    last = cut(connect("/Resuming/count", query={"tag": tag}), 1)
    stream = last.rpartition("-")[0]
    answer = httpx.get(f"{live.url}/Resuming/count?tag=-", headers={"Last-Event-ID": f"{stream}-999"})
    assert answer.status_code == 409


def test_an_item_that_is_no_longer_kept_is_refused(live: LiveApp, tag: str) -> None:
    """A thousand items are kept: there would be a gap."""
    events = read(live.url, f"/Resuming/count?tag={tag}&count=1200&pause=0")
    stream = events[0][1].rpartition("-")[0]
    answer = httpx.get(f"{live.url}/Resuming/count?tag=-", headers={"Last-Event-ID": f"{stream}-100"})
    assert answer.status_code == 409
    assert numbers(read(live.url, "/Resuming/count?tag=-", f"{stream}-1190")) == list(range(1191, 1201))


@pytest.mark.anyio
async def test_what_was_dropped_before_the_first_read_is_refused() -> None:
    """A reader on its way while another one goes on finds a gap, and hears so; it is not an internal error."""

    async def count() -> AsyncIterator[int]:
        for number in range(100):
            yield number

    async def nothing() -> Any:
        raise AssertionError("the call is not left")

    streams = Streams(MemoryStore(), Settings(replay_items=4), address_of=lambda scope: "here")
    context = CallContext("Resuming.count", {"type": "http", "headers": []}, nothing)
    await streams.admit(context)
    writer = Writer(count(), context=context, encode=lambda item: b"%d" % item, ticket=context.ticket)
    streams.local.begin(writer)
    first = writer.read(0)
    await anext(first)
    late = await streams.resume(f"{writer.id}-1", context)
    for _ in range(20):
        await anext(first)
    with pytest.raises(PastReplay):
        await anext(late)
    assert b"data: 21" in await anext(first)
    writer.stop()
    await writer.finished()
    await streams.close()


def test_another_methods_stream_is_refused(live: LiveApp, connect: Connect, tag: str) -> None:
    """An id holds for its method."""
    last = cut(connect("/Resuming/count", query={"tag": tag}), 1)
    assert httpx.get(f"{live.url}/Resuming/other", headers={"Last-Event-ID": last}).status_code == 409


def test_another_users_stream_is_forbidden(live: LiveApp, connect: Connect) -> None:
    """Running or ended."""
    mine, other = sign_in(live.url), sign_in(live.url)
    last = None
    for is_running in (True, False):
        connection = connect("/Private/count", headers=mine)
        connection.read_until(b' 2"')
        connection.reset()
        last = next(line[4:].decode() for line in connection.body.split(b"\n") if line.startswith(b"id: "))
        if not is_running:
            until_stored(live, last.rpartition("-")[0])
        foreign = httpx.get(f"{live.url}/Private/count", headers={**other, "Last-Event-ID": last})
        assert (foreign.status_code, foreign.json()["code"]) == (403, "forbidden")
        assert 'error="insufficient_scope"' in foreign.headers["www-authenticate"]
        anonymous = httpx.get(f"{live.url}/Private/count", headers={"Last-Event-ID": last})
        assert anonymous.status_code == 401
        assert len(numbers(read(live.url, "/Private/count", last, **mine))) == 9


# What is kept, and for how long


class Failing(MemoryStore):
    """A store whose logs are away at times."""

    away = False

    def __init__(self) -> None:
        super().__init__()
        self.log = FailingLog(self)


class FailingLog(MemoryLog):
    def __init__(self, store: Failing) -> None:
        super().__init__(time.time)
        self._store = store

    async def append(self, entries: Sequence[Entry]) -> list[Appended | None]:
        if self._store.away:
            raise Unavailable("the store is away")
        return await super().append(entries)


@pytest.fixture(scope="module")
def short() -> Iterator[tuple[LiveApp, Failing]]:
    """A server that keeps 20 items, for a second without a reader."""
    store = Failing()
    with serve(make_app(store=store, replay_grace=1, replay_items=20)) as live:
        yield live, store


def test_nobody_comes_back(short: tuple[LiveApp, Failing], tag: str, probe: Probe) -> None:
    """After the grace time the generator is closed; who comes later gets what is kept, and the truth."""
    with Connection(short[0].url, "/Resuming/count", query={"tag": tag, "count": 1000}) as connection:
        last = cut(connection, 2)
    left = time.monotonic()
    assert 0.9 < probe.wait("closed") - left < 3
    assert probe.count("item") <= 20
    until_stored(short[0], last.rpartition("-")[0])
    events = read(short[0].url, "/Resuming/count?tag=-", last)
    assert numbers(events)[:3] == [3, 4, 5]
    assert (events[-1][0], events[-1][2]["$error"]["code"]) == ("error", "stream_lost")


def test_who_got_no_item_cannot_come_back(short: tuple[LiveApp, Failing], tag: str, probe: Probe) -> None:
    """There is no id to come back with, and no reason to wait."""
    with Connection(short[0].url, "/Resuming/slow_start", query={"tag": tag}) as connection:
        probe.wait("started")
        left = connection.leave()
    assert probe.wait("closed") - left < 0.9


def test_nothing_unseen_is_dropped(short: tuple[LiveApp, Failing], tag: str, probe: Probe) -> None:
    """A generator without a reader waits before it would push out what nobody has seen."""
    query = {"tag": tag, "count": 100, "pause": 0.02}
    with Connection(short[0].url, "/Resuming/count", query=query) as connection:
        last = cut(connection, 2)
    wait_parked(probe, at_least=8)
    assert probe.count("item") < 20
    events = read(short[0].url, f"/Resuming/count?tag={tag}", last)
    assert numbers(events) == list(range(3, 101))


def test_an_item_larger_than_all_that_is_kept_drops_nothing_unseen(live: LiveApp, connect: Connect) -> None:
    """Neither for a reader who keeps up, nor for one who was slow."""
    slow = connect("/Resuming/lumps", receive_buffer=4096)
    sizes = [len(item) for item in numbers(read(live.url, "/Resuming/lumps"))]
    assert sizes == [1024 * kibibytes for kibibytes in (80, 80, 80, 80, 3000, 1, 80, 1)]
    slow.read_all()
    assert slow.body.endswith(b"event: close\ndata\n\n")
    assert slow.body.count(b"data: ") == len(sizes)


def test_a_store_that_is_away_does_not_stop_the_stream(
    short: tuple[LiveApp, Failing], tag: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Readers of the generator's own process are served, cuts included, and the log says what is missing."""
    live, store = short
    store.away = True
    try:
        with Connection(live.url, "/Resuming/count", query={"tag": tag}) as connection:
            last = cut(connection, 3)
        assert numbers(read(live.url, f"/Resuming/count?tag={tag}", last)) == list(range(4, 11))
    finally:
        store.away = False
    assert any("could not be stored" in record.getMessage() for record in caplog.records)


# Several processes on one store


@pytest.fixture(scope="module", params=["redis", "sqlite"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LiveProcess, LiveProcess]]:
    """Two servers with one store."""
    folder: Path = tmp_path_factory.mktemp("store")
    with ExitStack() as stack:
        if request.param == "redis":
            url = stack.enter_context(RedisServer(folder, durable=False)).url
        else:
            url = f"sqlite:///{folder}/poto.db"
        servers = serve_processes("tests.streams.apps:make_stored_app", 2, factory=True, env={"TEST_STORE": url})
        one, other = stack.enter_context(servers)
        yield one, other


def test_another_worker_goes_on(pair: tuple[LiveProcess, LiveProcess]) -> None:
    """The generator runs in one process, the client comes back to the other."""
    one, other = pair
    with Connection(one.url, "/Resuming/count", query={"tag": "-", "pause": 0.1}) as connection:
        last = cut(connection, 3)
    events = read(other.url, "/Resuming/count?tag=-", last)
    assert numbers(events) == list(range(4, 11))
    assert events[-1][:2] == ("close", "~end")


def test_another_worker_takes_as_much_as_there_is(pair: tuple[LiveProcess, LiveProcess], tmp_path: Path) -> None:
    """More than is kept: the generator waits for the reader in the other process."""
    one, other = pair
    sign = tmp_path / "left"  # until the reader has left, nothing is sent that it would count as seen
    query = {"sign": str(sign), "count": 3000}
    with Connection(one.url, "/Resuming/count_on", query=query) as connection:
        last = cut(connection, 1)
    sign.touch()
    assert numbers(read(other.url, f"/Resuming/count_on?{urlencode(query)}", last)) == list(range(2, 3001))


def test_another_worker_goes_on_at_once(pair: tuple[LiveProcess, LiveProcess], tmp_path: Path) -> None:
    """Who comes back before its only item has been stored is no stranger."""
    one, other = pair
    for round_ in range(5):
        sign = tmp_path / f"left-{round_}"
        query = {"sign": str(sign), "count": 3}
        with Connection(one.url, "/Resuming/count_on", query=query) as connection:
            last = cut(connection, 1)
            sign.touch()
            assert numbers(read(other.url, f"/Resuming/count_on?{urlencode(query)}", last)) == [2, 3]


def test_another_worker_refuses_a_foreign_user(pair: tuple[LiveProcess, LiveProcess]) -> None:
    """The binding to the user is in the store."""
    one, other = pair
    mine, foreign = sign_in(one.url), sign_in(other.url)
    with Connection(one.url, "/Private/count", headers=mine) as connection:
        connection.read_until(b' 2"')
        last = next(line[4:].decode() for line in connection.body.split(b"\n") if line.startswith(b"id: "))
    answer = httpx.get(f"{other.url}/Private/count", headers={**foreign, "Last-Event-ID": last})
    assert answer.status_code == 403
    assert len(numbers(read(other.url, "/Private/count", last, **mine))) == 9


def test_a_stream_whose_worker_died_is_lost(tmp_path: Path) -> None:
    """What was stored is delivered, and then the truth: an error rather than silence."""
    with RedisServer(tmp_path, durable=False) as redis:
        environment = {"TEST_STORE": redis.url}
        with serve_processes("tests.streams.apps:make_stored_app", 2, factory=True, env=environment) as (one, other):
            with Connection(one.url, "/Resuming/count", query={"tag": "-", "pause": 0.2}) as connection:
                last = cut(connection, 1)
                with Connection(other.url, "/Resuming/count?tag=-", headers={"Last-Event-ID": last}) as follower:
                    follower.read_until(b"data: 2\n\n")  # it has been stored
                one.kill()
            events = read(other.url, "/Resuming/count?tag=-", last)
    assert numbers(events)[0] == 2
    assert events[-1][0] == "error"
    assert events[-1][2]["$error"]["code"] == "stream_lost"
