"""Authentication: which credentials are looked at, what is remembered, and what is asked anew on every call."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastapi_poto.auth import StoreUsers
from fastapi_poto.errors import BadRequest, Unauthenticated, Unavailable
from fastapi_poto.stores import MemoryStore
from fastapi_poto.stores.namespaced import in_namespace
from fastapi_poto.stores.sqlite import SqliteStore
from fastapi_poto.testing import Clock
from fastapi_poto.users import Identity, User
from tests.auth.house import House, make_house, scope

pytestmark = pytest.mark.anyio


def with_header(*values: bytes) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": "/", "headers": [(b"authorization", value) for value in values]}


@pytest.mark.parametrize(
    "value", [b"", b"Bearer", b"Bearer ", b"Bearer    ", b"bearer", b"Basic dXNlcjpwYXNz", b"Bearerx y", b"\xff"]
)  # fmt: skip
async def test_no_credentials(house: House, value: bytes) -> None:
    """Threat 1: no bearer token is nobody, not an error."""
    assert await house.poto.authenticator.authenticate(with_header(value)) is None
    assert await house.poto.authenticator.authenticate({"type": "http", "headers": []}) is None


async def test_two_headers(house: House) -> None:
    """Threat 1: two Authorization headers are 400, the same twice or not."""
    pair = await house.poto.sign_in.visitor("a")
    good = f"Bearer {pair.access_token}".encode()
    assert await house.poto.authenticator.authenticate(with_header(good)) is not None
    for other in (good, b"Basic x", b""):
        with pytest.raises(BadRequest):
            await house.poto.authenticator.authenticate(with_header(good, other))


async def test_the_scheme_is_read_in_any_case(house: House) -> None:
    """RFC 9110: a scheme's name has no case, and more spaces are allowed."""
    pair = await house.poto.sign_in.visitor("a")
    for value in ("bearer {}", "BEARER {}", "Bearer   {}"):
        assert await house.poto.authenticator.authenticate(with_header(value.format(pair.access_token).encode()))


async def test_a_token_in_the_query_is_not_seen(house: House) -> None:
    """Threat 7."""
    pair = await house.poto.sign_in.visitor("a")
    request = {**with_header(), "query_string": f"access_token={pair.access_token}".encode()}
    assert await house.poto.authenticator.authenticate(request) is None


async def test_a_remembered_token_expires_on_the_second(house: House) -> None:
    """What is remembered is dropped at its expiry."""
    pair = await house.poto.sign_in.visitor("a")
    request = scope(pair.access_token)
    house.clock.now = int(house.clock.now) + 899.9
    assert await house.poto.authenticator.authenticate(request) is not None
    assert await house.poto.authenticator.authenticate(request) is not None
    house.clock.advance(0.1)
    with pytest.raises(Unauthenticated) as refused:
        await house.poto.authenticator.authenticate(request)
    assert refused.value.headers == {
        "WWW-Authenticate": 'Bearer realm="poto", error="invalid_token"',
        "Cache-Control": "no-store",
    }
    assert house.poto.authenticator.credentials[0]._known == {}


@pytest.mark.parametrize(("in_store", "operations"), [(True, ["read_many"]), (False, ["read"])])
async def test_one_read_to_know_the_caller(in_store: bool, operations: list[str]) -> None:
    """A sign-in and a user who is in the same store are read together, on every call."""
    asked: list[str] = []

    class Counting(MemoryStore):
        async def read(self, record: str, fields: Sequence[str] | None = None) -> dict[str, bytes] | None:
            asked.append("read")
            return await super().read(record, fields)

        async def read_many(self, wanted: Sequence[tuple[str, Sequence[str]]]) -> list[dict[str, bytes] | None]:
            asked.append("read_many")
            return [await MemoryStore.read(self, *one) for one in wanted]

    store = in_namespace(Counting(), "counted")
    house = make_house(store=store, users=StoreUsers(store if in_store else MemoryStore()))
    pair = await house.poto.sign_in.visitor("a")
    for _ in range(2):
        asked.clear()
        assert await house.poto.authenticator.authenticate(scope(pair.access_token)) is not None
        assert asked == operations
    house.poto.passwords.close()


async def test_memory_is_bounded() -> None:
    """However many tokens come, so many are remembered; and odd spellings of the header are not."""
    house = make_house(visitors_per_hour=None, remembered_tokens=50)
    pairs = [await house.poto.sign_in.visitor("a") for _ in range(200)]
    for pair in pairs:
        assert await house.poto.authenticator.authenticate(scope(pair.access_token)) is not None
    known = house.poto.authenticator.credentials[0]._known
    assert len(known) <= 50
    before = len(known)
    padded = b"Bearer " + b" " * 5_000 + pairs[0].access_token.encode()
    assert await house.poto.authenticator.authenticate(with_header(padded)) is not None
    assert len(known) <= before
    assert await house.poto.authenticator.authenticate(scope(pairs[0].access_token)) is not None


async def test_another_process_is_seen_on_the_next_call(house: House) -> None:
    """Threats 9 and 10: what another process on the store does holds here, though the token is remembered here."""
    other = make_house(store=house.store)
    pair = await house.poto.sign_in.visitor("a")
    login = await house.poto.sign_in.login(pair.user_id, pair.password or "", "a")
    first = await house.poto.authenticator.authenticate(scope(pair.access_token))
    second = await other.poto.authenticator.authenticate(scope(login.access_token))
    assert first is not None
    assert second is not None
    assert await house.poto.authenticator.authenticate(scope(login.access_token)) is not None
    await other.poto.sign_in.logout(second)
    with pytest.raises(Unauthenticated):
        await house.poto.authenticator.authenticate(scope(login.access_token))
    await other.poto.accounts.end_sign_ins(pair.user_id)
    with pytest.raises(Unauthenticated):
        await house.poto.authenticator.authenticate(scope(pair.access_token))
    assert not await house.poto.authenticator.is_active(first)
    other.poto.passwords.close()


@pytest.mark.parametrize("end", ["sign-out", "disabled"])
async def test_no_call_of_several_at_once_outlives_its_sign_in(end: str, tmp_path: Path) -> None:
    """Threats 9 and 10: calls that are under way with one remembered token all see that it has ended."""
    store = in_namespace(SqliteStore(f"sqlite:///{tmp_path / 'at-once.db'}", clock=Clock(1_800_000_000.5)), "house")
    house, other = make_house(store=store), make_house(store=store)
    pair = await house.poto.sign_in.visitor("a")
    identity = await house.poto.authenticator.authenticate(scope(pair.access_token))
    assert identity is not None
    if end == "sign-out":
        await other.poto.sign_in.logout(identity)
    else:
        await other.poto.users.set_disabled(pair.user_id)
    calls = [house.poto.authenticator.authenticate(scope(pair.access_token)) for _ in range(5)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in found] == [Unauthenticated] * 5
    for one in (house, other):
        one.poto.passwords.close()
    await store.close()


async def test_a_password_change_beside_a_sign_in_wins(house: House) -> None:
    """A sign-in with the old password that is under way while it is changed gives no token that is good."""
    user = await house.poto.accounts.create("ann", "correct horse")
    logins = [asyncio.create_task(house.poto.sign_in.login("ann", "correct horse", "a")) for _ in range(8)]
    await asyncio.sleep(0)
    await house.poto.accounts.change_password(user.id, "battery staple")
    for result in await asyncio.gather(*logins, return_exceptions=True):
        if isinstance(result, BaseException):
            assert isinstance(result, Unauthenticated)
        else:
            with pytest.raises(Unauthenticated):
                await house.poto.authenticator.authenticate(scope(result.access_token))
            with pytest.raises(Unauthenticated):
                await house.poto.sign_in.refresh(result.refresh_token, "a")


class BrokenUsers(StoreUsers):
    """An application's own provider whose database is down."""

    broken = False

    async def get(self, user_id: str) -> User | None:
        if self.broken:
            raise ConnectionRefusedError("no database")
        return await super().get(user_id)


async def test_it_fails_closed(caplog: pytest.LogCaptureFixture) -> None:
    """Threat 19: a provider that fails is 503 for who has a token, remembered or not, and never a way in."""
    users = BrokenUsers(MemoryStore())
    house = make_house(users=users)
    pair = await house.poto.sign_in.visitor("a")
    identity = await house.poto.authenticator.authenticate(scope(pair.access_token))
    users.broken = True
    with pytest.raises(Unavailable):
        await house.poto.authenticator.authenticate(scope(pair.access_token))
    with pytest.raises(Unavailable):
        await house.poto.authenticator.is_active(identity)
    with pytest.raises(Unavailable):
        await house.poto.sign_in.refresh(pair.refresh_token, "a")
    assert "no database" in caplog.text
    users.broken = False
    assert await house.poto.authenticator.authenticate(scope(pair.access_token)) is identity


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=60).map(lambda tail: b"Bearer " + tail) | st.binary(max_size=60), max_size=2))
def test_any_header_is_nobody_or_an_error(values: list[bytes]) -> None:
    """No bytes make a user, or anything but the documented errors."""
    house = make_house()

    async def ask() -> Identity | None:
        return await house.poto.authenticator.authenticate(with_header(*values))

    with suppress(Unauthenticated, BadRequest):
        assert asyncio.run(ask()) is None
