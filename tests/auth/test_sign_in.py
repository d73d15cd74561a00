"""Signing in and out, without HTTP."""

from typing import Any

import pytest

from fastapi_poto.errors import Conflict, NotFound, Unauthenticated, Unavailable, UsernameTaken
from tests.auth.house import House, scope

pytestmark = pytest.mark.anyio


async def test_a_visitor_is_known_by_its_token_and_signs_in_again_by_its_password(house: House) -> None:
    """A visitor needs nothing to begin, and its id and password to come back."""
    pair = await house.poto.sign_in.visitor("192.0.2.1")
    identity = await house.poto.authenticator.authenticate(scope(pair.access_token))
    assert identity is not None
    assert identity.user.id == pair.user_id
    assert identity.user.visitor
    assert pair.user_id.startswith("visitor_")
    assert pair.password is not None
    house.clock.advance(3_600)
    again = await house.poto.sign_in.login(pair.user_id, pair.password, "192.0.2.1")
    assert again.user_id == pair.user_id


async def test_roles_and_disabling_hold_for_the_next_call(house: House) -> None:
    """What an administrator changes is seen by the next look at the same token."""
    user = await house.poto.accounts.create("Ann", "correct horse", ["admin"])
    pair = await house.poto.sign_in.login("ann", "correct horse", "a")
    request = scope(pair.access_token)
    users = house.poto.users
    first = await house.poto.authenticator.authenticate(request)
    assert first is not None
    assert first.user.roles == {"admin"}
    await users.set_roles(user.id, [])  # type: ignore[attr-defined]
    second = await house.poto.authenticator.authenticate(request)
    assert second is not None
    assert second.user.roles == frozenset()
    assert not await house.poto.authenticator.is_active(first)
    await users.set_disabled(user.id)  # type: ignore[attr-defined]
    with pytest.raises(Unauthenticated):
        await house.poto.authenticator.authenticate(request)
    await users.set_disabled(user.id, False)  # type: ignore[attr-defined]
    assert await house.poto.authenticator.authenticate(request) is not None


async def test_logout_ends_one_sign_in_and_the_last_one_the_session(house: House) -> None:
    """The token and its refresh token are dead; another sign-in of the same user is not, nor what they share."""
    await house.poto.accounts.create("ann", "correct horse")
    one = await house.poto.sign_in.login("ann", "correct horse", "a")
    two = await house.poto.sign_in.login("ann", "correct horse", "a")
    identity = await house.poto.authenticator.authenticate(scope(one.access_token))
    assert identity is not None
    await house.poto.sign_in.logout(identity)
    with pytest.raises(Unauthenticated):
        await house.poto.authenticator.authenticate(scope(one.access_token))
    with pytest.raises(Unauthenticated):
        await house.poto.sign_in.refresh(one.refresh_token, "a")
    assert house.sessions.ended == []
    identity = await house.poto.authenticator.authenticate(scope(two.access_token))
    assert identity is not None
    await house.poto.sign_in.logout(identity)
    assert house.sessions.ended == [two.user_id]


async def test_a_password_change_ends_all_sign_ins(house: House) -> None:
    """Older tokens are dead, the new password signs in, the old one does not."""
    user = await house.poto.accounts.create("ann", "correct horse")
    pairs = [await house.poto.sign_in.login("ann", "correct horse", "a") for _ in range(3)]
    with pytest.raises(Unauthenticated):
        await house.poto.accounts.change_password(user.id, "battery staple", current="wrong horse")
    await house.poto.accounts.change_password(user.id, "battery staple", current="correct horse")
    for pair in pairs:
        with pytest.raises(Unauthenticated):
            await house.poto.authenticator.authenticate(scope(pair.access_token))
        with pytest.raises(Unauthenticated):
            await house.poto.sign_in.refresh(pair.refresh_token, "a")
    with pytest.raises(Unauthenticated):
        await house.poto.sign_in.login("ann", "correct horse", "a")
    fresh = await house.poto.sign_in.login("ann", "battery staple", "a")
    assert await house.poto.authenticator.authenticate(scope(fresh.access_token)) is not None
    with pytest.raises(NotFound):
        await house.poto.accounts.change_password("nobody", "battery staple")


async def test_a_password_change_is_not_done_by_half(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever the store fails, the new password never holds beside a sign-in of before."""
    add = house.store.add
    for answers in (0, 1):
        name = f"ann{answers}"
        user = await house.poto.accounts.create(name, "correct horse")
        before = await house.poto.sign_in.login(name, "correct horse", "a")
        left = answers

        async def failing(*args: Any, **options: Any) -> int | None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Unavailable
            return await add(*args, **options)

        with monkeypatch.context() as away, pytest.raises(Unavailable):
            away.setattr(house.store, "add", failing)
            await house.poto.accounts.change_password(user.id, "battery staple", current="correct horse")
        account = await house.poto.users.find(name)
        assert account is not None
        if await house.poto.passwords.verify(account.password_hash, "battery staple"):
            with pytest.raises(Unauthenticated):
                await house.poto.authenticator.authenticate(scope(before.access_token))


async def test_upgrade_keeps_the_id_and_ends_older_tokens(house: House) -> None:
    """A visitor becomes a named user: same id, session moved, old tokens and the old password dead."""
    pair = await house.poto.sign_in.visitor("a")
    identity = await house.poto.authenticator.authenticate(scope(pair.access_token))
    assert identity is not None
    named = await house.poto.sign_in.upgrade(identity, "Bob", "bobbobbob")
    assert named.user_id == pair.user_id
    bob = await house.poto.users.get(pair.user_id)
    assert bob is not None
    assert (bob.name, bob.visitor) == ("Bob", False)
    with pytest.raises(Unauthenticated):
        await house.poto.authenticator.authenticate(scope(pair.access_token))
    with pytest.raises(Unauthenticated):
        await house.poto.sign_in.login(pair.user_id, pair.password or "", "a")
    assert (await house.poto.sign_in.login("BOB", "bobbobbob", "a")).user_id == pair.user_id
    again = await house.poto.authenticator.authenticate(scope(named.access_token))
    assert again is not None
    with pytest.raises(Conflict):
        await house.poto.sign_in.upgrade(again, "bobby", "bobbobbob")


async def test_upgrade_refuses_a_taken_name(house: House) -> None:
    """Two users never share a name, however it is spelled."""
    await house.poto.accounts.create("Straße", "correct horse")
    pair = await house.poto.sign_in.visitor("a")
    identity = await house.poto.authenticator.authenticate(scope(pair.access_token))
    assert identity is not None
    with pytest.raises(UsernameTaken):
        await house.poto.sign_in.upgrade(identity, "STRASSE", "bobbobbob")
    assert (await house.poto.sign_in.login(pair.user_id, pair.password or "", "a")).user_id == pair.user_id
