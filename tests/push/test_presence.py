"""Who is on a channel: joins, leaves, reloads and dead processes."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.processes import LiveProcess, serve_processes
from tests.push.conftest import sign_in
from tests.push.listener import Listener
from tests.servers import wait_until


def who(url: str, headers: dict[str, str], name: str) -> list[str]:
    found: list[str] = httpx.post(f"{url}/Push/who", json={"name": name}, headers=headers).raise_for_status().json()
    return found


def test_joins_and_leaves(pair: tuple[LiveProcess, LiveProcess]) -> None:
    """Seen from another process: a user joins once with however many connections, and leaves a while after the last."""
    one, other = pair
    ada, hers = sign_in(one.url)
    bob, his = sign_in(other.url)
    name = f"room-{time.monotonic_ns()}"
    watching = Listener(other.url, f"/Push/presence?name={name}", his)
    path = f"/Push/room?name={name}"
    with httpx.Client(timeout=20) as client:
        with client.stream("GET", one.url + path, headers=hers):
            assert watching.wait(1) == [{"kind": "join", "user": ada}]
            assert who(other.url, his, name) == [f"{ada} 1"]
            with (
                client.stream("GET", other.url + path, headers=his),
                client.stream("GET", other.url + path, headers=hers),
            ):
                assert watching.wait(2) == [{"kind": "join", "user": ada}, {"kind": "join", "user": bob}]
                wait_until(
                    lambda: who(one.url, hers, name) == sorted([f"{ada} 2", f"{bob} 1"]),
                    "not all connections are counted",
                )
        # A page that is loaded again is no leave and no join.
        with client.stream("GET", one.url + path, headers=hers):
            assert watching.wait(3)[2:] == [{"kind": "leave", "user": bob}]
            wait_until(lambda: who(other.url, his, name) == [f"{ada} 1"], "connections that were closed are counted")
        assert watching.wait(4)[3:] == [{"kind": "leave", "user": ada}]
    assert who(other.url, his, name) == []


def test_several_come_at_once(pair: tuple[LiveProcess, LiveProcess]) -> None:
    """Whoever comes with several tabs at the same moment, in several processes, has come: everybody hears so, once."""
    ada, hers = sign_in(pair[0].url)
    name = f"at-once-{time.monotonic_ns()}"
    watching = [Listener(server.url, f"/Push/presence?name={name}", hers) for server in pair]
    with ThreadPoolExecutor(8) as threads:
        listeners = list(
            threads.map(lambda number: Listener(pair[number % 2].url, f"/Push/room?name={name}", hers), range(8))
        )
    for listener in listeners:
        listener.opened()
    wait_until(lambda: who(pair[0].url, hers, name) == [f"{ada} 8"], "not all connections are counted")
    for watcher in watching:
        assert watcher.wait(1) == [{"kind": "join", "user": ada}]
    for listener in listeners:
        listener.leave()


def test_a_watcher_is_told_who_is_there_already(pair: tuple[LiveProcess, LiveProcess]) -> None:
    """As joins, before anything else."""
    one, other = pair
    ada, hers = sign_in(one.url)
    name = f"there-{time.monotonic_ns()}"
    listening = Listener(one.url, f"/Push/room?name={name}", hers).opened()
    assert Listener(other.url, f"/Push/presence?name={name}", hers).wait(1) == [{"kind": "join", "user": ada}]
    listening.leave()


def test_users_of_a_killed_process_are_gone(tmp_path: Path) -> None:
    """Within 10 s, for who asks and for who watches."""
    url = f"sqlite:///{tmp_path}/poto.db"
    servers = serve_processes("tests.push.apps:make_stored_app", 2, factory=True, env={"TEST_STORE": url})
    with servers as (one, other):
        ada, hers = sign_in(one.url)
        _, his = sign_in(one.url)
        client = httpx.Client(timeout=20)
        with client.stream("GET", f"{one.url}/Push/room?name=dead", headers=hers):
            watching = Listener(other.url, "/Push/presence?name=dead", his)
            assert watching.wait(1) == [{"kind": "join", "user": ada}]
            one.kill()
            killed = time.monotonic()
            wait_until(lambda: who(other.url, his, "dead") == [], "they are still there", 15)
            assert watching.wait(2)[1:] == [{"kind": "leave", "user": ada}]
            assert time.monotonic() - killed < 10
        client.close()
