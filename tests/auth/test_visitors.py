"""Visitors come easily and are forgotten when they stay away."""

import asyncio

import pytest

from fastapi_poto.errors import Unauthenticated
from fastapi_poto.settings import DAY
from tests.auth.house import House, make_house, scope

pytestmark = pytest.mark.anyio


async def test_idle_visitors_are_purged_with_their_sessions(house: House) -> None:
    """Threat 24: after 30 days without a sign-in or a refresh; who came back in between stays, who has a name too."""
    idle = await house.auth.visitor("a")
    active = await house.auth.visitor("a")
    named = await house.auth.visitor("a")
    identity = await house.auth.authenticator.authenticate(scope(named.access_token))
    assert identity is not None
    await house.auth.upgrade(identity, "ann", "correct horse")
    for _ in range(6):
        house.clock.forward(5 * DAY)
        active = await house.auth.refresh(active.refresh_token, "a") if _ < 5 else active
        await house.auth.purge()
    house.clock.forward(2 * DAY)
    await house.auth.purge()
    assert await house.auth.users.get(idle.user.id) is None
    assert await house.auth.users.get(active.user.id) is not None
    assert (await house.auth.login("ann", "correct horse", "a")).user.id == named.user.id
    assert house.sessions.ended == [idle.user.id]
    with pytest.raises(Unauthenticated):
        await house.auth.login(idle.user.id, idle.password or "", "a")
    assert not [name for name in await house.store.scan("") if idle.user.id in name]


async def test_purging_lets_others_have_their_turns() -> None:
    """Threat 31: however many are removed, the event loop goes on with the others after each."""
    house = make_house(visitors_per_hour=0)
    for _ in range(25):
        await house.auth.visitor("a")
    house.clock.forward(32 * DAY)
    purging = asyncio.create_task(house.auth.purge())
    wait_queue = 0
    while not purging.done():
        await asyncio.sleep(0)
        wait_queue += 1
    assert wait_queue >= 25
    assert await house.store.scan("user:") == []
    assert await house.store.scan("visitor") == []


async def test_before_their_time_nobody_is_purged(house: House) -> None:
    """29 days are not 30."""
    pair = await house.auth.visitor("a")
    house.clock.forward(29 * DAY)
    await house.auth.purge()
    assert (await house.auth.login(pair.user.id, pair.password or "", "a")).user == pair.user
