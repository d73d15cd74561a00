"""Visitors come easily and are forgotten when they stay away."""

import asyncio

import pytest

from fastapi_poto.errors import Unauthenticated
from fastapi_poto.settings import DAY
from tests.auth.house import House, make_house, scope

pytestmark = pytest.mark.anyio


async def test_idle_visitors_are_purged_with_their_sessions(house: House) -> None:
    """Threat 24: after 30 days without a sign-in or a refresh; who came back in between stays, who has a name too."""
    idle = await house.poto.sign_in.visitor("a")
    active = await house.poto.sign_in.visitor("a")
    named = await house.poto.sign_in.visitor("a")
    identity = await house.poto.authenticator.authenticate(scope(named.access_token))
    assert identity is not None
    await house.poto.sign_in.upgrade(identity, "ann", "correct horse")
    for _ in range(6):
        house.clock.advance(5 * DAY)
        active = await house.poto.sign_in.refresh(active.refresh_token, "a") if _ < 5 else active
        await house.poto.purge()
    house.clock.advance(2 * DAY)
    await house.poto.purge()
    assert await house.poto.users.get(idle.user_id) is None
    assert await house.poto.users.get(active.user_id) is not None
    assert (await house.poto.sign_in.login("ann", "correct horse", "a")).user_id == named.user_id
    assert house.sessions.ended == [idle.user_id]
    with pytest.raises(Unauthenticated):
        await house.poto.sign_in.login(idle.user_id, idle.password or "", "a")
    assert not [name for name in (await house.store.names("")).names if idle.user_id in name and name[:6] != "owner:"]


async def test_purging_lets_others_have_their_turns() -> None:
    """Threat 31: however many are removed, the event loop goes on with the others after each."""
    house = make_house(visitors_per_hour=None)
    for _ in range(25):
        await house.poto.sign_in.visitor("a")
    house.clock.advance(32 * DAY)
    purging = asyncio.create_task(house.poto.purge())
    wait_queue = 0
    while not purging.done():
        await asyncio.sleep(0)
        wait_queue += 1
    assert wait_queue >= 25
    assert (await house.store.names("user:")).names == []
    assert (await house.store.names("visitor")).names == []


async def test_before_their_time_nobody_is_purged(house: House) -> None:
    """29 days are not 30."""
    pair = await house.poto.sign_in.visitor("a")
    house.clock.advance(29 * DAY)
    await house.poto.purge()
    assert (await house.poto.sign_in.login(pair.user_id, pair.password or "", "a")).user_id == pair.user_id
