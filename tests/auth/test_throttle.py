"""Guessing: five free failures for an account, then waiting that doubles; thirty in five minutes for an address."""

import asyncio

import pytest

from fastapi_poto.auth import StoreUsers, TokenPair
from fastapi_poto.errors import TooManyRequests, Unauthenticated, Unavailable, UsernameTaken
from fastapi_poto.stores import MemoryStore
from fastapi_poto.users import Account
from tests.auth.house import House, make_house, scope

pytestmark = pytest.mark.anyio

NAME, PASSWORD = "ann", "correct horse"


async def fail(house: House, name: str = NAME, address: str = "192.0.2.1") -> int:
    """0 for a refusal; else the seconds to wait."""
    try:
        await house.poto.sign_in.login(name, "wrong horse", address)
    except Unauthenticated:
        return 0
    except TooManyRequests as error:
        return int((error.headers or {})["Retry-After"])
    raise AssertionError("signed in with a wrong password")


@pytest.mark.parametrize("name", [NAME, "nobody", "visitor_nobody"])
async def test_waiting_doubles_up_to_a_quarter_of_an_hour(house: House, name: str) -> None:
    """Threat 20: 1, 2, 4 … 900 s, the same for names that do not exist."""
    await house.poto.accounts.create(NAME, PASSWORD)
    assert [await fail(house, name) for _ in range(5)] == [0] * 5
    waits = []
    for _ in range(12):
        wait = await fail(house, name)
        waits.append(wait)
        house.clock.advance(wait - 0.6)
        assert await fail(house, name) == 1
        house.clock.advance(0.7)
        assert await fail(house, name, address=f"192.0.2.{len(waits)}") == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


async def test_the_right_password_waits_too(house: House) -> None:
    """Threat 20: during the back-off a guess tells nothing, and another account is not affected."""
    await house.poto.accounts.create(NAME, PASSWORD)
    await house.poto.accounts.create("beth", PASSWORD)
    for _ in range(5):
        await fail(house)
    with pytest.raises(TooManyRequests):
        await house.poto.sign_in.login(NAME, PASSWORD, "192.0.2.7")
    await house.poto.sign_in.login("beth", PASSWORD, "192.0.2.1")
    house.clock.advance(1.1)
    await house.poto.sign_in.login(NAME, PASSWORD, "192.0.2.7")
    assert [await fail(house) for _ in range(5)] == [0] * 5


async def test_spellings_of_a_name_are_one_account(house: House) -> None:
    """Letter case does not give more tries."""
    await house.poto.accounts.create(NAME, PASSWORD)
    assert [await fail(house, name) for name in ("ann", "ANN", "Ann", "aNN", "\uff41nn")] == [0] * 5
    assert await fail(house, "anN") == 1


async def test_guesses_sent_at_once_gain_nothing(house: House) -> None:
    """Threats 20 and 34: of a burst on three processes five passwords are looked at; then the right one waits, too."""
    await house.poto.accounts.create(NAME, PASSWORD)
    processes = [house, make_house(store=house.store), make_house(store=house.store)]
    guesses = [asyncio.create_task(fail(processes[n % 3], address=f"192.0.2.{n}")) for n in range(12)]
    waits = sorted(await asyncio.gather(*guesses, return_exceptions=True), key=str)
    assert waits.count(0) == 5
    with pytest.raises(TooManyRequests):
        await house.poto.sign_in.login(NAME, PASSWORD, "192.0.2.1")
    for one in processes[1:]:
        one.poto.passwords.close()


async def test_who_is_right_too_late_is_as_wrong_as_anybody(house: House) -> None:
    """Threat 34: a right password that others' guesses overtook is refused, and counts for account and address."""
    throttle = house.poto.throttle
    account = throttle.key(NAME)
    first = await throttle.begin(account, "192.0.2.1")
    for _ in range(4):
        await throttle.begin(account, "192.0.2.1")
    before = {name: await house.store.read(name) for name in (await house.store.names("throttle:")).names}
    assert not await throttle.succeeded(first)
    assert {name: await house.store.read(name) for name in (await house.store.names("throttle:")).names} == before
    house.clock.advance(1.1)
    last = await throttle.begin(account, "192.0.2.1")
    assert await throttle.succeeded(last)


async def test_success_forgives_what_came_before_it_alone(house: House) -> None:
    """Threat 34: those that began later stay counted until they have succeeded, too."""
    throttle = house.poto.throttle
    account = throttle.key(NAME)
    for _ in range(2):
        await throttle.begin(account, "192.0.2.1")  # failed
    one, two = [await throttle.begin(account, "192.0.2.1") for _ in range(2)]
    assert await throttle.succeeded(one)
    assert [(await throttle.begin(account, "192.0.2.1")).number] == [2]
    assert await throttle.succeeded(two)


async def test_a_password_that_nobody_looked_at_is_not_counted(house: House) -> None:
    """Threat 34: too many at once is 503, and costs no try."""
    await house.poto.accounts.create(NAME, PASSWORD)
    house.poto.passwords._capacity = 0
    for _ in range(40):
        with pytest.raises(Unavailable):
            await house.poto.sign_in.login(NAME, PASSWORD, "192.0.2.1")
    house.poto.passwords._capacity = 10
    assert [await fail(house) for _ in range(5)] == [0] * 5


async def test_who_repeats_their_own_password_waits_too() -> None:
    """Threat 39: successes have a rate of their own; another account, and the next window, are not affected."""
    house = make_house(sign_ins_per_account=3)
    for name in (NAME, "beth"):
        await house.poto.accounts.create(name, PASSWORD)
    for _ in range(3):
        await house.poto.sign_in.login(NAME, PASSWORD, "192.0.2.1")
    with pytest.raises(TooManyRequests) as refused:
        await house.poto.sign_in.login(NAME, PASSWORD, "192.0.2.1")
    await house.poto.sign_in.login("beth", PASSWORD, "192.0.2.1")
    house.clock.advance(refused.value.retry_after)
    await house.poto.sign_in.login(NAME, PASSWORD, "192.0.2.1")
    house.poto.passwords.close()


async def test_the_account_is_counted_not_the_name_that_was_typed() -> None:
    """Threat 44: where an application's users are found under several names, these are one account."""

    class ByMail(StoreUsers):
        async def find(self, username: str) -> Account | None:
            return await super().find(username.partition("@")[0].replace(".", ""))

    house = make_house(users=ByMail(MemoryStore()))
    await house.poto.accounts.create(NAME, PASSWORD)
    assert [await fail(house, name) for name in ("ann", "a.nn", "ann@example.com", "a.n.n", "an.n@x")] == [0] * 5
    assert await fail(house, "a.n.n@another.example") == 1
    house.poto.passwords.close()


async def test_honest_sign_ins_at_once_all_succeed(house: House) -> None:
    """Only failures count: twenty devices of one user sign in together, one after the other; many more are 503."""
    await house.poto.accounts.create(NAME, PASSWORD)

    async def at_once(count: int) -> list[object]:
        logins = (house.poto.sign_in.login(NAME, PASSWORD, "192.0.2.1") for _ in range(count))
        return [type(one) for one in await asyncio.gather(*logins, return_exceptions=True)]

    assert await at_once(20) == [TokenPair] * 20
    assert sorted(map(str, await at_once(30))) == sorted(map(str, [TokenPair] * 21 + [Unavailable] * 9))
    assert [await fail(house) for _ in range(5)] == [0] * 5


async def test_an_address_has_thirty_failures_in_five_minutes(house: House) -> None:
    """One password tried on many names is throttled by address; other addresses are not."""
    await house.poto.accounts.create(NAME, PASSWORD)
    assert [await fail(house, f"name{n}") for n in range(30)] == [0] * 30
    wait = await fail(house, "name30")
    assert 0 < wait <= 300
    with pytest.raises(TooManyRequests):
        await house.poto.sign_in.login(NAME, PASSWORD, "192.0.2.1")
    await house.poto.sign_in.login(NAME, PASSWORD, "192.0.2.2")
    house.clock.advance(wait)
    await house.poto.sign_in.login(NAME, PASSWORD, "192.0.2.1")


async def test_trying_out_names_is_throttled(house: House) -> None:
    """Upgrade has to tell that a name is taken; not more often than a wrong password may be tried."""
    await house.poto.accounts.create(NAME, PASSWORD)
    pair = await house.poto.sign_in.visitor("192.0.2.1")
    identity = await house.poto.authenticator.authenticate(scope(pair.access_token))
    assert identity is not None
    for _ in range(30):
        with pytest.raises(UsernameTaken):
            await house.poto.sign_in.upgrade(identity, NAME, PASSWORD, "192.0.2.1")
    with pytest.raises(TooManyRequests):
        await house.poto.sign_in.upgrade(identity, NAME, PASSWORD, "192.0.2.1")
    with pytest.raises(TooManyRequests):
        await house.poto.sign_in.upgrade(identity, "a free one", PASSWORD, "192.0.2.1")
    await house.poto.sign_in.upgrade(identity, "a free one", PASSWORD, "192.0.2.2")


async def test_processes_count_together(house: House) -> None:
    """Throttling is in the store: another process knows of the failures here."""
    await house.poto.accounts.create(NAME, PASSWORD)
    other = make_house(store=house.store)
    assert [await fail(one) for one in (house, other, house, other, house)] == [0] * 5
    assert await fail(other) == 1
    other.poto.passwords.close()


async def test_visitors_of_an_address_in_an_hour() -> None:
    """Threat 24: the limit is by address and hour; None is without limit, 0 none at all."""
    house = make_house(visitors_per_hour=3)
    for _ in range(3):
        await house.poto.sign_in.visitor("192.0.2.1")
    with pytest.raises(TooManyRequests) as refused:
        await house.poto.sign_in.visitor("192.0.2.1")
    assert 0 < refused.value.retry_after <= 3_600
    await house.poto.sign_in.visitor("192.0.2.2")
    house.clock.advance(refused.value.retry_after)
    await house.poto.sign_in.visitor("192.0.2.1")
    free = make_house(visitors_per_hour=None)
    for _ in range(50):
        await free.poto.sign_in.visitor("192.0.2.1")
    with pytest.raises(TooManyRequests):
        await make_house(visitors_per_hour=0).poto.sign_in.visitor("192.0.2.1")


async def test_counters_of_junk_are_none(house: House) -> None:
    """Threat 28: bytes that are no number count as nothing, and sign-in goes on."""
    await house.poto.accounts.create(NAME, PASSWORD)
    await fail(house)
    (record,) = (await house.store.names("throttle:account:")).names
    await house.store.write(record, {"tries": b"soon"})
    await house.poto.sign_in.login(NAME, PASSWORD, "a")
