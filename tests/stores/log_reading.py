"""Short words for what the suites of logs do again and again."""

from fastapi_poto.stores import Store
from fastapi_poto.stores.log import Batch, Entry


async def append(store: Store, key: str, *events: bytes, **options: object) -> int | None:
    """Append one entry; its last id."""
    [done] = await store.log.append([Entry(key=key, events=events, **options)])  # type: ignore[arg-type]
    return None if done is None else done.last


async def read(store: Store, key: str, after: int = 0, limit: int = 256) -> Batch | None:
    return (await store.log.read({key: after}, limit=limit)).get(key)


async def events(store: Store, key: str, after: int = 0) -> list[bytes]:
    """What is kept after a position."""
    batch = await read(store, key, after)
    return [] if batch is None else [event for _, event in batch.events]
