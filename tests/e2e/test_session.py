"""What a user keeps, written by many calls at once: all of it is read back."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.e2e.caller import Caller, Refused

pytestmark = pytest.mark.anyio
NewVisitor = Callable[[], Awaitable[Caller]]


async def test_twenty_keys_at_once(visitor: Caller) -> None:
    """20 calls, each writing another key while all run: 20 keys."""
    await asyncio.gather(*(visitor.call("/Keep/set", key=f"k{n}", value=n, pause=0.05) for n in range(20)))
    assert await visitor.value("GET", "/Keep/all") == {f"k{n}": n for n in range(20)}


async def test_ten_clients_write_the_same_key(new_visitor: NewVisitor) -> None:
    """Each reads its own value back."""
    visitors = [await new_visitor() for _ in range(10)]
    await asyncio.gather(*(visitor.call("/Keep/set", key="mine", value=visitor.id) for visitor in visitors))
    values = await asyncio.gather(*(visitor.call("/Keep/value", key="mine") for visitor in visitors))
    assert values == [visitor.id for visitor in visitors]


async def test_hundred_operations(visitor: Caller) -> None:
    """Increments, appends and writes of one user at once: none lost."""
    operations = []
    for number in range(34):
        operations.append(visitor.call("/Keep/add", key="sum", by=number))
        operations.append(visitor.call("/Keep/append", key="list", item=number))
        operations.append(visitor.call("/Keep/set", key=f"key-{number}", value={"number": number}))
    await asyncio.gather(*operations)
    kept = await visitor.value("GET", "/Keep/all")
    assert kept.pop("sum") == sum(range(34))
    assert sorted(kept.pop("list")) == list(range(34))
    assert kept == {f"key-{number}": {"number": number} for number in range(34)}


async def test_all_sign_ins_of_a_user_share_it(visitor: Caller) -> None:
    """What one sign-in writes, the other reads."""
    other = await Caller.login(visitor.http, visitor.id, visitor.pair["password"])
    await visitor.call("/Keep/set", key="from", value="first")
    assert await other.call("/Keep/value", key="from") == "first"
    await other.call("/Keep/delete", key="from")
    assert await visitor.call("/Keep/value", key="from") is None


async def test_clear(visitor: Caller) -> None:
    """Everything goes, and the session is usable."""
    await visitor.call("/Keep/set", key="a", value=1)
    await visitor.call("/Keep/clear")
    assert await visitor.value("GET", "/Keep/all") == {}
    assert await visitor.call("/Keep/add", key="a") == 1


async def test_too_large_a_value_is_refused(visitor: Caller) -> None:
    """413, and what was there stays."""
    await visitor.call("/Keep/set", key="a", value="small")
    with pytest.raises(Refused) as refused:
        await visitor.call("/Keep/set", key="a", value="x" * 70_000)
    assert (refused.value.status, refused.value.code) == (413, "too_large")
    assert await visitor.call("/Keep/value", key="a") == "small"


async def test_nobody_has_no_session(visitor: Caller) -> None:
    """Without a token: 401."""
    with pytest.raises(Refused) as refused:
        await Caller(visitor.http).value("GET", "/Keep/all")
    assert refused.value.status == 401
