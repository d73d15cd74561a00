"""Contexts stay apart when calls are long, mixed, abandoned, or come in bursts."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from tests.e2e.caller import Caller, Refused

pytestmark = pytest.mark.anyio
NewVisitor = Callable[[], Awaitable[Caller]]


async def test_long_calls_beside_short_ones(new_visitor: NewVisitor) -> None:
    """While one user's call waits, another's 50 short ones come and go; both see themselves."""
    slow, quick = await new_visitor(), await new_visitor()
    waiting = asyncio.ensure_future(slow.call("/Who/me", pause=0.5))
    for _ in range(50):
        assert await quick.call("/Who/me") == quick.id
    assert await waiting == slow.id


async def test_mixed_generators_and_calls(new_visitor: NewVisitor) -> None:
    """Between any two items of a stream, calls of its user and of others are answered for their own callers."""
    streaming, calling = await new_visitor(), await new_visitor()
    async with aclosing(streaming.stream("/Who/names", count=10, pause=0.005)) as items:
        async for item in items:
            assert item == streaming.id
            pair = await asyncio.gather(calling.call("/Who/me"), streaming.call("/Who/me"))
            assert pair == [calling.id, streaming.id]


async def test_rapid_bursts(new_visitor: NewVisitor) -> None:
    """Five bursts of 40 calls by 8 users."""
    visitors = [await new_visitor() for _ in range(8)]
    for _ in range(5):
        callers = visitors * 5
        assert await asyncio.gather(*(c.call("/Who/me_in_thread") for c in callers)) == [c.id for c in callers]


async def test_abandoned_streams_leave_nothing_behind(new_visitor: NewVisitor) -> None:
    """After 20 streams were left in the middle, others' calls are theirs and anonymous ones are anonymous."""
    leaving, staying = await new_visitor(), await new_visitor()
    for _ in range(20):
        async with aclosing(leaving.stream("/Who/names", count=1_000, pause=0.001)) as items:
            async for item in items:
                assert item == leaving.id
                break
    assert await staying.call("/Who/me") == staying.id
    assert await Caller(staying.http).call("/Who/anybody") is None


async def test_errors_leave_nothing_behind(new_visitor: NewVisitor) -> None:
    """A failing call of one user beside calls of another, 20 times."""
    failing, working = await new_visitor(), await new_visitor()

    async def fail() -> int:
        with pytest.raises(Refused) as refused:
            await failing.call("/Verbs/fail", how="own")
        return refused.value.status

    outcomes = await asyncio.gather(*(call for _ in range(20) for call in (fail(), working.call("/Who/me"))))
    assert outcomes == [429, working.id] * 20


async def test_sessions_in_streams_are_their_callers(new_visitor: NewVisitor) -> None:
    """10 users' streams count in their own sessions at once."""
    visitors = [await new_visitor() for _ in range(10)]
    counted = await asyncio.gather(*(visitor.items("/Keep/count_up", key="n", count=20) for visitor in visitors))
    assert counted == [list(range(1, 21))] * 10
