"""Logs on real servers whose connections are cut, that are killed, or that go back to an older copy of themselves."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fastapi_poto.errors import Unavailable
from fastapi_poto.stores import Entry, store_from_url
from fastapi_poto.streaming.tails import NOW, Reader, Tails
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.anyio


class SqliteFile:
    """What `Server` is to the others. Nothing runs here that could be killed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "poto.db"
        self.url = f"sqlite:///{self.path}"

    def start(self) -> None:
        pass

    kill = stop = start


Backing = RedisServer | PostgresServer | SqliteFile


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def backing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backing]:
    """A store's server, whose acknowledged writes survive its death."""
    if request.param == "sqlite":
        yield SqliteFile(tmp_path)
        return
    server = PostgresServer(tmp_path, durable=True) if request.param == "postgres" else RedisServer(tmp_path)
    with server:
        yield server


@asynccontextmanager
async def process(url: str) -> AsyncIterator[Tails]:
    """Tails with a store of their own, as another process has them."""
    store = store_from_url(url if url.startswith("sqlite") else f"{url}?timeout=5")
    tails = Tails(store.log)
    try:
        yield tails
    finally:
        await tails.close()
        await store.close()


async def cut_wakes(backing: Backing) -> None:
    """Close every connection that listens."""
    match backing:
        case RedisServer():
            command = ["redis-cli", "-p", str(backing.port), "client", "kill", "type", "pubsub"]
            await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
        case PostgresServer():
            import asyncpg

            connection = await asyncpg.connect(backing.url)
            listens = "query LIKE 'LISTEN%' OR query = 'SELECT 1'"
            await connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {listens}")
            await connection.close()
        case SqliteFile():
            for one in Path(f"{backing.path}-wake").glob("*"):
                one.unlink()


class Follower:
    """A reader that notes what it gets, and where it was told that something is missing."""

    def __init__(self, tails: Tails, after: int = NOW, *, key: str = "a") -> None:
        self.after = after
        self.seen: list[int] = []
        self.told: list[int] = []
        self.position = after
        self._reader: Reader = tails.reader(key)
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> "Follower":
        while True:
            with suppress(Unavailable):
                await self._reader.begin(self.after)
                break
            await asyncio.sleep(0.05)
        self.position = self._reader.begun_at
        self._task = asyncio.create_task(self._follow())
        return self

    async def _follow(self) -> None:
        while True:
            step = await self._reader.step()
            if step.lost:
                self.told.append(len(self.seen))
            for number, event in step.events:
                self.position = number
                self.seen.append(int(event))
            if step.end is not None:
                return

    async def ended(self) -> None:
        assert self._task is not None
        async with asyncio.timeout(30):
            await self._task

    async def leave(self) -> None:
        """As a process does that is killed."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait((self._task,))
        self._reader.close()


class Story:
    """Writers, readers and misfortunes, one after another."""

    def __init__(self, backing: Backing, tails: list[Tails]) -> None:
        self.backing = backing
        self.key = uuid4().hex
        self.tails = tails
        self.number = 0
        self.acked: list[int] = []
        self.followers: list[tuple[list[Follower], int]] = []
        """Each reader, with those that took over from it, and the first number that it was to get."""

    async def append(self, count: int) -> None:
        """At once, by two processes."""
        numbers = range(self.number, self.number + count)
        self.number += count

        async def one(number: int) -> None:
            with suppress(Unavailable):  # then it may be there or not
                done = await self.tails[number % 2].append(Entry(key=self.key, events=[b"%d" % number]))
                assert done is not None
                self.acked.append(number)

        await asyncio.gather(*map(one, numbers))

    async def follow(self, place: int) -> None:
        self.followers.append(([await Follower(self.tails[place], key=self.key).begin()], self.number))

    async def move(self, place: int) -> None:
        """A reader's process dies; its client comes back to another with the last id that it had."""
        if self.followers:
            chain, _ = self.followers[place % len(self.followers)]
            await chain[-1].leave()
            chain.append(await Follower(self.tails[place], chain[-1].position, key=self.key).begin())

    async def cut(self, _: int) -> None:
        with suppress(OSError):
            await cut_wakes(self.backing)

    async def kill(self, _: int) -> None:
        """kill -9 of the store."""
        await asyncio.to_thread(self.backing.kill)
        await asyncio.to_thread(self.backing.start)

    async def end(self) -> None:
        while True:
            with suppress(Unavailable):
                await self.tails[0].append(Entry(key=self.key, end=b""))
                break
            await asyncio.sleep(0.05)
        for chain, first in self.followers:
            await chain[-1].ended()
            seen = [number for follower in chain for number in follower.seen]
            assert len(set(seen)) == len(seen), "doubled"
            assert not any(follower.told for follower in chain), "there was no gap"
            assert {number for number in self.acked if number >= first} <= set(seen), "lost"
            chain[-1]._reader.close()


STEPS = st.lists(
    st.tuples(st.sampled_from(["append", "append", "append", "follow", "move", "cut", "kill"]), st.integers(0, 2)),
    min_size=4,
    max_size=10,
)
EXAMPLES = int(os.environ.get("LOG_FAULTS", "3"))


# What fails is not made smaller: servers take their time to die.
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
async def test_nothing_acknowledged_is_lost_or_doubled(backing: Backing, steps: list[tuple[str, int]]) -> None:
    """Whatever is appended while wakes are cut, readers' processes die and the store is killed, in any order."""
    async with process(backing.url) as one, process(backing.url) as two, process(backing.url) as three:
        story = Story(backing, [one, two, three])
        await story.follow(2)
        for name, number in steps:
            await (story.append(1 + 5 * number) if name == "append" else getattr(story, name)(number))
        await story.append(3)
        await story.end()


WRITER = """
import asyncio, sys
from fastapi_poto.stores import Entry, store_from_url

async def main():
    store = store_from_url(sys.argv[1])
    number = 0
    while True:
        await asyncio.gather(*(
            store.log.append([Entry(key=key, events=[b"%d" % number], keep=100_000, keep_bytes=1 << 24)])
            for key in ("a", "b")
        ))
        print(number, flush=True)
        number += 1

asyncio.run(main())
"""


async def test_a_writer_is_killed(backing: Backing) -> None:
    """kill -9 of a process that appends: all that it was acknowledged is read, once and in order, and no half of it."""
    async with process(backing.url) as tails:
        follower = await Follower(tails).begin()
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, backing.url, stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        acked = -1
        while acked < 100:
            acked = int(await writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        for line in (await writer.stdout.read()).split():
            acked = int(line)
        await writer.wait()
        await tails.append(Entry(key="a", end=b"", keep=100_000, keep_bytes=1 << 24))
        await follower.ended()
        assert follower.told == []
        assert follower.seen == list(range(len(follower.seen)))
        assert acked < len(follower.seen) <= acked + 2
        follower._reader.close()


def copy_of(backing: Backing, folder: Path) -> None:
    """A copy of all that the store has; it has been stopped."""
    match backing:
        case SqliteFile():
            with sqlite3.connect(backing.path) as database:
                database.execute("VACUUM INTO ?", (str(folder / "copy.db"),))
            database.close()
        case PostgresServer():
            shutil.copytree(backing.data, folder / "copy", copy_function=shutil.copy2)
        case RedisServer():
            shutil.copytree(backing.folder, folder / "copy", ignore=shutil.ignore_patterns("*.sock", "server.log"))


def restore(backing: Backing, folder: Path) -> None:
    match backing:
        case SqliteFile():
            for name in ("", "-wal", "-shm"):
                Path(f"{backing.path}{name}").unlink(missing_ok=True)
            shutil.copy(folder / "copy.db", backing.path)
        case PostgresServer():
            owner = os.stat(backing.data)
            shutil.rmtree(backing.data)
            shutil.copytree(folder / "copy", backing.data)
            for path in (backing.data, *backing.data.rglob("*")):
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        case RedisServer():
            shutil.rmtree(backing.folder / "appendonlydir")
            shutil.copytree(folder / "copy/appendonlydir", backing.folder / "appendonlydir")


async def test_a_store_that_is_restored(backing: Backing, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever comes back with an id that the older copy does not know is told, and gets every new event once."""
    folder = tmp_path_factory.mktemp("copy")
    async with process(backing.url) as tails:
        follower = await Follower(tails).begin()
        for number in range(20):
            await tails.append(Entry(key="a", events=[b"%d" % number]))
        while len(follower.seen) < 20:
            await asyncio.sleep(0.005)
        await follower.leave()
    backing.stop()
    copy_of(backing, folder)
    backing.start()
    async with process(backing.url) as tails:
        later = await Follower(tails, follower.position).begin()
        for number in range(20, 40):
            await tails.append(Entry(key="a", events=[b"%d" % number]))
        await tails.append(Entry(key="b", end=b""))
        while len(later.seen) < 20:
            await asyncio.sleep(0.005)
        await later.leave()
    assert follower.seen + later.seen == list(range(40))
    assert follower.told == later.told == []
    backing.kill()
    restore(backing, folder)
    backing.start()
    async with process(backing.url) as tails:
        for number in range(100, 110):
            await tails.append(Entry(key="a", events=[b"%d" % number]))
        again = await Follower(tails, later.position).begin()
        for number in range(110, 120):
            await tails.append(Entry(key="a", events=[b"%d" % number]))
        await tails.append(Entry(key="a", end=b""))
        await again.ended()
        assert again.told == [0], "what came between the copy and the end of the store is gone"
        assert again.seen == list(range(100, 120))
        again._reader.close()
