"""What every event log promises to many: writers at once, and those who follow."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from fastapi_poto.stores import store_from_url
from fastapi_poto.stores.log import Batch, News
from tests.stores.log_reading import append, read

pytestmark = pytest.mark.anyio


async def test_writers_at_once(store_url: str, key: str) -> None:
    """Of many writers in several stores, one log has every event once, and a reader sees each id's order as it is."""
    stores = [store_from_url(store_url) for _ in range(1 if store_url.startswith("memory") else 3)]
    reader = stores[0]
    seen: list[tuple[int, bytes]] = []
    done = asyncio.Event()

    async def follow() -> None:
        position = 0
        while True:
            finished = done.is_set()
            batch = await read(reader, key, position)
            if batch is not None and batch.events:
                assert position == 0 or batch.start == position
                seen.extend(batch.events)
                position = seen[-1][0]
            elif finished:
                return
            await asyncio.sleep(0)

    async def write(number: int) -> None:
        for item in range(10):
            await append(stores[number % len(stores)], key, b"%d-%d" % (number, item), b"")

    following = asyncio.create_task(follow())
    await asyncio.gather(*(write(number) for number in range(12)))
    done.set()
    await following
    assert [number for number, _ in seen] == sorted({number for number, _ in seen})
    for writer in range(12):
        own = [event for _, event in seen if event.startswith(b"%d-" % writer)]
        assert own == [b"%d-%d" % (writer, item) for item in range(10)]
    assert len(seen) == 240
    for one in stores:
        await one.close()


@dataclass
class Ear:
    """What a watch heard."""

    heard: dict[str, int | Batch] = field(default_factory=dict)
    looks: int = 0
    change: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, news: News | None) -> None:
        self.looks += news is None
        self.heard |= news or {}
        self.change.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.change.clear()
                await self.change.wait()


async def test_a_wake_comes(store_url: str, key: str) -> None:
    """Another process that follows a log hears that it went on, or to look; of others it hears nothing."""
    mine = store_from_url(store_url)
    other = mine if store_url.startswith("memory") else store_from_url(store_url)
    ear = Ear()
    watch = await mine.log.watch(ear)
    watch.follow([key, f"{key}-2"])
    position = (await mine.log.read({key: 0, f"{key}-2": 0}))[key].last
    await append(other, f"{key}-foreign", b"a")
    for number in range(3):
        last = await append(other, key, b"%d" % number)
        assert last is not None

        def told(last: int = last) -> bool:
            found = ear.heard.get(key, 0)
            return (found if isinstance(found, int) else found.last) >= last

        looks = ear.looks
        await ear.until(lambda told=told, looks=looks: told() or ear.looks > looks)  # type: ignore[misc]
        batch = await read(mine, key, position)
        assert batch is not None
        assert [event for _, event in batch.events] == [b"%d" % number]
        position = batch.last
        pushed = ear.heard.get(key)
        if isinstance(pushed, Batch) and pushed.events:
            assert pushed == batch
    assert f"{key}-foreign" not in ear.heard
    await append(other, key, end=b"x")
    looks = ear.looks
    await ear.until(
        lambda: (
            ear.looks > looks
            or getattr(ear.heard.get(key), "end", None) == b"x"
            or (isinstance(found := ear.heard.get(key), int) and found > position)
        )
    )
    watch.unfollow([key])
    await watch.close()
    await mine.close()
    await other.close()


def test_a_closed_store_leaves_nothing(store_url: str, key: str) -> None:
    """The loop may end at once: what tells others of an append, and a connection for that, are waited for."""

    async def work(*, is_heard: bool) -> None:
        store = store_from_url(store_url)
        await store.open()
        watch = await store.log.watch(lambda news: None) if is_heard else None
        await asyncio.gather(*(append(store, f"{key}-{number}", b"a") for number in range(3)))
        if watch is not None:
            await watch.close()
        await store.close()
        assert not {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    for round_ in range(6):
        asyncio.run(work(is_heard=round_ % 2 == 0))
