"""Stores: whether they work, and from one to another."""

import asyncio
import os
from argparse import Namespace
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

from ..errors import ConfigurationError
from ..stores import MemoryStore, Store, store_from_url
from ..stores.base import all_names
from .output import Output

_AT_ONCE = 50


async def check(parsed: Namespace, output: Output) -> None:
    async with _opened(_url(parsed)) as store:
        await store.ping()
        kinds: Counter[str] = Counter()
        async for name in all_names(store, ""):
            kinds[name.split(":")[1] if ":" in name else name] += 1  # after the namespace
            output.progress("records")
        counted = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items())) or "nothing"
        output.result({"writable": True, "records": dict(kinds)}, f"It can be read and written. There is {counted}.")


async def migrate(parsed: Namespace, output: Output) -> None:
    async with _opened(_url(parsed)):
        output.result({"migrated": True}, "The tables are up to date")


async def copy(parsed: Namespace, output: Output) -> None:
    async with _opened(parsed.source) as source, _opened(parsed.target) as target:
        async for name in all_names(target, ""):
            output.confirm(f"There is something in the target, such as {name}. Overwrite what has the same name")
            break
        copied = 0
        batch: list[str] = []
        async for name in all_names(source, ""):
            batch.append(name)
            if len(batch) == _AT_ONCE:
                copied += await _copy(source, target, batch, output)
                batch = []
        copied += await _copy(source, target, batch, output)
        output.result({"records": copied}, f"{copied:,} records were copied")


async def _copy(source: Store, target: Store, batch: list[str], output: Output) -> int:
    done = await asyncio.gather(*(_copy_record(source, target, name) for name in batch))
    output.progress("records", len(batch))
    return sum(done)


async def _copy_record(source: Store, target: Store, name: str) -> bool:
    """Whether it was still there."""
    life, fields = await source.life(name), await source.read(name)
    if life is None or fields is None:
        return False
    await target.delete(name)
    await target.write(name, fields, create=True if life.expires_in == inf else life)
    return True


def _url(parsed: Namespace) -> str:
    url = parsed.url or os.environ.get("POTO_STORE")
    if not url:
        raise ConfigurationError("Which store? Give its URL, or set POTO_STORE.")
    return str(url)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Store]:
    store = store_from_url(url)
    if isinstance(store, MemoryStore):
        raise ConfigurationError("memory:// holds nothing of another process.")
    try:
        await store.open()
        yield store
    finally:
        await store.close()
