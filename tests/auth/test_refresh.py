"""Families of refresh tokens: rotated, repeated within the grace, dead as a whole when one is used again."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastapi_poto.auth.secrets import Secrets
from fastapi_poto.errors import Unauthenticated
from fastapi_poto.settings import DAY
from tests.auth.house import House, make_house, scope
from tests.secret import SECRET

pytestmark = pytest.mark.anyio


async def dead(house: House, *tokens: str) -> bool:
    """Whether no one of these refresh tokens is good."""
    for token in tokens:
        try:
            await house.poto.sign_in.refresh(token, "a")
        except Unauthenticated:
            continue
        return False
    return True


async def test_two_tabs_both_succeed(house: House) -> None:
    """Threat 11: the second of two refreshes within 10 s gets the same successor, and both access tokens are good."""
    pair = await house.poto.sign_in.visitor("a")
    one = await house.poto.sign_in.refresh(pair.refresh_token, "a")
    house.clock.advance(9.9)
    two = await house.poto.sign_in.refresh(pair.refresh_token, "a")
    assert one.refresh_token == two.refresh_token != pair.refresh_token
    for tab in (one, two):
        assert await house.poto.authenticator.authenticate(scope(tab.access_token)) is not None
    await house.poto.sign_in.refresh(two.refresh_token, "a")
    assert "refresh_reused" not in house.event_names()


async def test_many_tabs_at_once_all_succeed(house: House) -> None:
    """However many ask together, one rotates and all get what it made."""
    pair = await house.poto.sign_in.visitor("a")
    answers = await asyncio.gather(*(house.poto.sign_in.refresh(pair.refresh_token, "a") for _ in range(20)))
    assert len({answer.refresh_token for answer in answers}) == 1


async def test_reuse_after_the_grace_kills_the_family_and_is_told_once(house: House) -> None:
    """Threat 11: thief and owner both lose the sign-in; one event, however often it is tried again."""
    pair = await house.poto.sign_in.visitor("a")
    one = await house.poto.sign_in.refresh(pair.refresh_token, "a")
    house.clock.advance(10)
    for _ in range(3):
        assert await dead(house, pair.refresh_token)
    assert await dead(house, one.refresh_token)
    with pytest.raises(Unauthenticated):
        await house.poto.authenticator.authenticate(scope(one.access_token))
    assert house.event_names().count("refresh_reused") == 1


async def test_a_chain_of_tabs_ends_nothing(house: House) -> None:
    """Threat 42: who is late within the grace gets the newest token; what was spent before is theft."""
    pairs = [await house.poto.sign_in.visitor("a")]
    for _ in range(5):
        house.clock.advance(1.9)
        pairs.append(await house.poto.sign_in.refresh(pairs[-1].refresh_token, "a"))
    for late in pairs[:-1]:
        assert (await house.poto.sign_in.refresh(late.refresh_token, "a")).refresh_token == pairs[-1].refresh_token
    house.clock.advance(3)  # the first is now spent for longer than the grace, the last not
    assert (await house.poto.sign_in.refresh(pairs[-2].refresh_token, "a")).refresh_token == pairs[-1].refresh_token
    assert "refresh_reused" not in house.event_names()
    assert await dead(house, pairs[0].refresh_token, pairs[-1].refresh_token)
    assert house.event_names().count("refresh_reused") == 1


async def test_a_token_that_was_never_made_here_ends_nothing(house: House) -> None:
    """Threat 42: with a user's id and family from a log nobody can end that sign-in, nor raise an alarm."""
    pair = await house.poto.sign_in.visitor("a")
    spent = pair.refresh_token
    pair = await house.poto.sign_in.refresh(spent, "a")
    house.clock.advance(60)
    _, user, family, drawn, mac = pair.refresh_token.split(".")
    other = (await house.poto.sign_in.visitor("a")).refresh_token.split(".")
    for made_up in (
        f"poto-rt.{user}.{family}.{'A' * 43}.{'A' * 22}",
        f"poto-rt.{user}.{family}.{drawn}.{'A' * 22}",
        f"poto-rt.{user}.{family}.{'A' * 43}.{mac}",
        f"poto-rt.{user}.{family}.{other[3]}.{other[4]}",
        f"poto-rt.{user}.{other[2]}.{drawn}.{mac}",
        f"poto-rt.{user}.{family}.{spent.split('.')[3]}.{mac}",
        f"poto-rt.{user}.{family}.{drawn}",
        pair.refresh_token[:-1] + ("A" if pair.refresh_token[-1] != "A" else "B"),
    ):
        assert await dead(house, made_up)
    assert "refresh_reused" not in house.event_names()
    await house.poto.sign_in.refresh(pair.refresh_token, "a")


@pytest.mark.parametrize("changed", ["issuer", "audience"])
async def test_another_applications_token_is_none_here(house: House, changed: str) -> None:
    """Threat 33: in one store, under one secret even, a token of another application is nothing, and ends nothing."""
    pair = await house.poto.sign_in.visitor("a")
    spent = await house.poto.sign_in.visitor("a")
    await house.poto.sign_in.refresh(spent.refresh_token, "a")
    house.clock.advance(60)
    there = make_house(store=house.store, **{changed: "elsewhere"})
    there.clock.now = house.clock.now
    assert await dead(there, pair.refresh_token, spent.refresh_token)
    assert there.events == []
    await house.poto.sign_in.refresh(pair.refresh_token, "a")
    there.poto.passwords.close()


async def test_other_sign_ins_outlive_a_dead_family(house: House) -> None:
    """One stolen token costs one sign-in."""
    visitor = await house.poto.sign_in.visitor("a")
    other = await house.poto.sign_in.login(visitor.user_id, visitor.password or "", "a")
    await house.poto.sign_in.refresh(visitor.refresh_token, "a")
    house.clock.advance(11)
    assert await dead(house, visitor.refresh_token)
    await house.poto.sign_in.refresh(other.refresh_token, "a")


async def test_idle_and_absolute_ends(house: House) -> None:
    """Threat 31: 7 days without use, or 30 days with it, and the token is dead; the access token never outlives it."""
    idle = await house.poto.sign_in.visitor("a")
    kept = await house.poto.sign_in.visitor("a")
    house.clock.advance(7 * DAY - 1)
    kept = await house.poto.sign_in.refresh(kept.refresh_token, "a")
    house.clock.advance(1)
    assert await dead(house, idle.refresh_token)
    for _ in range(3):
        house.clock.advance(6.5 * DAY)
        kept = await house.poto.sign_in.refresh(kept.refresh_token, "a")
    house.clock.advance(3.5 * DAY - 60)
    kept = await house.poto.sign_in.refresh(kept.refresh_token, "a")
    assert kept.expires_in <= 60
    house.clock.advance(61)
    assert await dead(house, kept.refresh_token)


async def test_a_refresh_token_outlives_a_rotated_secret(house: House) -> None:
    """Threat 30: refresh tokens do not depend on which secret is current, nor does the grace."""
    pair = await house.poto.sign_in.visitor("a")
    one = await house.poto.sign_in.refresh(pair.refresh_token, "a")
    later = make_house({"new": SECRET[::-1], Secrets(SECRET).current_id: SECRET}, store=house.store)
    later.clock.now = house.clock.now + 5
    assert (await later.poto.sign_in.refresh(pair.refresh_token, "a")).refresh_token == one.refresh_token
    newer = await later.poto.sign_in.refresh(one.refresh_token, "a")
    # A process that does not have the new secret yet cannot repeat the answer, and must not take it for theft.
    assert await dead(house, one.refresh_token)
    await later.poto.sign_in.refresh(newer.refresh_token, "a")
    later.poto.passwords.close()


async def test_disabled_users_cannot_refresh(house: House) -> None:
    """Threat 9: no new tokens for who is disabled; when enabled again, the sign-in is still there."""
    pair = await house.poto.sign_in.visitor("a")
    await house.poto.users.set_disabled(pair.user_id)  # type: ignore[attr-defined]
    assert await dead(house, pair.refresh_token)
    await house.poto.users.set_disabled(pair.user_id, False)  # type: ignore[attr-defined]
    await house.poto.sign_in.refresh(pair.refresh_token, "a")


async def test_the_store_holds_no_refresh_token(house: House) -> None:
    """What leaks from the store signs nobody in: neither token nor successor can be read or computed from it."""
    pair = await house.poto.sign_in.visitor("a")
    one = await house.poto.sign_in.refresh(pair.refresh_token, "a")
    for name in (await house.store.names("")).names:
        kept = b"".join((await house.store.read(name) or {}).values()).decode()
        for token in (pair, one):
            for part in token.refresh_token.split(".")[3:]:
                assert part not in kept
            assert token.access_token.rpartition(".")[2] not in kept
        assert (pair.password or "") not in kept


async def test_the_oldest_sign_in_makes_room() -> None:
    """A user's sign-ins are bounded: the one that was used longest ago ends."""
    house = make_house(sign_ins_per_user=3)
    visitor = await house.poto.sign_in.visitor("a")
    pairs = []
    for _ in range(3):
        house.clock.advance(1)
        pairs.append(await house.poto.sign_in.login(visitor.user_id, visitor.password or "", "a"))
    assert len(await house.store.read(f"auth:{visitor.user_id}") or {}) == 3
    with pytest.raises(Unauthenticated):
        await house.poto.authenticator.authenticate(scope(visitor.access_token))
    assert await house.poto.authenticator.authenticate(scope(pairs[0].access_token)) is not None
    house.poto.passwords.close()


@pytest.mark.parametrize(
    "token",
    ["", "x", "poto-rt...", f"poto-rt.dQ.{'A' * 22}.{'A' * 43}.{'A' * 22}", "\0", "poto-rt.AA.x.y", "é" * 50,
     f"poto-rt.AAAA.{'A' * 22}.{'A' * 43}.{'A' * 22}", f"poto-rt._w.{'A' * 22}.{'A' * 43}.{'A' * 22}"],
)  # fmt: skip
async def test_what_is_no_refresh_token(house: House, token: str) -> None:
    """Junk, NUL bytes and ids of nobody are one refusal."""
    assert await dead(house, token)


async def test_an_access_token_does_not_refresh_and_back(house: House) -> None:
    """Threat 4: each token is good for its own purpose only."""
    pair = await house.poto.sign_in.visitor("a")
    assert await dead(house, pair.access_token)
    with pytest.raises(Unauthenticated):
        await house.poto.authenticator.authenticate(scope(pair.refresh_token))


async def test_a_family_of_junk_is_over(house: House) -> None:
    """Threat 28: bytes in the store that do not parse end the sign-in, and nothing fails."""
    pair = await house.poto.sign_in.visitor("a")
    record = f"auth:{pair.user_id}"
    (field,) = [name for name in await house.store.read(record) or {} if name.startswith("f:")]
    for junk in (
        b"",
        b"[]",
        b"{}",
        b"[1,2,3,4,5,6,7]",
        b"[0,1,1,1,[1]]",
        b"[0,1,1,1,[[1]]]",
        b"\xff",
        b'["x",1,1,1,1,1]',
    ):
        await house.store.write(record, {field: junk, "epoch": junk})
        assert await dead(house, pair.refresh_token)
        with pytest.raises(Unauthenticated):
            await house.poto.authenticator.authenticate(scope(pair.access_token))
    assert (await house.poto.sign_in.login(pair.user_id, pair.password or "", "a")).user_id == pair.user_id


@given(st.text())
def test_any_text_is_no_refresh_token(token: str) -> None:
    """No text makes anything but a refusal."""
    house = make_house()
    with pytest.raises(Unauthenticated):
        house.poto.token_families.owner(token)
