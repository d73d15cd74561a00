"""What applications do with a store, whatever it is deployed on."""

import asyncio
import time
from uuid import uuid4

from fastapi_poto.errors import Unavailable
from fastapi_poto.sessions import SessionManager
from fastapi_poto.stores import Entry, Life, Store
from fastapi_poto.streaming.tails import NOW, Tails


async def use(store: Store, callers: int = 20, steps: int = 10) -> None:
    """Many callers at once, each with a record of its own and one that all count in: nothing is lost or mixed up."""

    own = f"test:{uuid4().hex}:"

    async def call(number: int) -> None:
        record = f"{own}{number}"
        for step in range(steps):
            assert await store.write(record, {"n": b"%d" % step, "caller": b"%d" % number}, create=Life(60))
            assert await store.read(record) == {"n": b"%d" % step, "caller": b"%d" % number}
            assert await store.swap(record, "n", b"%d" % step, b"x") is True
            await store.add(f"{own}all", "n", 1, create=True)

    await asyncio.gather(*(call(number) for number in range(callers)))
    assert await store.read(f"{own}all") == {"n": b"%d" % (callers * steps)}
    found: set[str] = set()
    page = await store.names(own, limit=7)
    found.update(page.names)
    while page.cursor is not None:
        page = await store.names(own, cursor=page.cursor, limit=7)
        found.update(page.names)
    assert found == {f"{own}all", *(f"{own}{number}" for number in range(callers))}
    assert await store.delete(f"{own}0", bar_for=60)
    assert await store.write(f"{own}0", {"a": b"1"}, create=True) is False
    session = SessionManager(store).of_user(own)
    await session.set("a", 1)
    assert await session.increment("a") == 2
    await SessionManager(store).end(own)
    await follow(store, own)
    await store.ping()


async def follow(store: Store, key: str, logs: int = 20) -> None:
    """Readers of several logs hear of what somebody else appends to all of them at once."""
    tails = Tails(store.log)
    readers = [tails.reader(f"{key}{number}") for number in range(logs)]
    try:
        async with asyncio.timeout(20):
            for reader in readers:
                await reader.begin(NOW)
            for text in (b"one", b"two"):
                entries = [Entry(key=f"{key}{number}", events=[text]) for number in range(logs)]
                assert None not in await store.log.append(entries)
                for reader in readers:
                    step = await reader.step()
                    assert ([event for _, event in step.events], step.lost) == ([text], False)
    finally:
        for reader in readers:
            reader.close()
        await tails.close()


async def until_it_writes(store: Store, seconds: float = 30.0) -> float:
    """How long only `Unavailable` came."""
    began = time.monotonic()
    while True:
        try:
            assert await store.write("test:back", {"a": b"1"}, create=True)
            return time.monotonic() - began
        except Unavailable:
            assert time.monotonic() - began < seconds
            await asyncio.sleep(0.1)
