"""Hashing: bounded, off the event loop, with today's parameters, and as long for nobody as for somebody."""

import asyncio
import time

import pytest
from argon2 import extract_parameters

from fastapi_poto.auth import Passwords
from fastapi_poto.auth.accounts import password_problem
from fastapi_poto.auth.passwords import cores, hash_random, random_password, verify_random
from fastapi_poto.errors import Unauthenticated, Unavailable
from tests.auth.house import House, make_house, quick_passwords, scope

pytestmark = pytest.mark.anyio


async def test_the_parameters_are_owasps() -> None:
    """argon2id, 19 MiB, two passes, one lane."""
    passwords = Passwords()
    hashed = await passwords.hash("correct horse")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert extract_parameters(hashed).salt_len == 16
    assert await passwords.verify(hashed, "correct horse")
    assert not await passwords.verify(hashed, "wrong horse")
    passwords.close()


async def test_no_byte_of_a_password_is_lost() -> None:
    """Threat 23: 64 characters are fine; what differs only in bytes 70 to 80, or past a NUL, is told apart."""
    passwords = quick_passwords()
    base = "x" * 70
    hashed = await passwords.hash(base + "0123456789")
    assert await passwords.verify(hashed, base + "0123456789")
    assert not await passwords.verify(hashed, base + "0123456780")
    assert not await passwords.verify(hashed, base)
    with_nul = await passwords.hash("abc\0defgh")
    assert not await passwords.verify(with_nul, "abc\0xxxxx")
    assert await passwords.verify(await passwords.hash("ä" * 512), "ä" * 512)
    passwords.close()


@pytest.mark.parametrize(
    ("password", "good"),
    [("x" * 7, False), ("x" * 8, True), ("ä" * 4, True), ("x" * 64, True), ("x" * 1024, True), ("x" * 1025, False),
     ("ä" * 513, False), ("", False), ("\ud800" * 8, False)],
)  # fmt: skip
async def test_sizes(password: str, good: bool) -> None:
    """Threat 23: 8 to 1,024 bytes of UTF-8."""
    assert (password_problem(password) is None) is good


async def test_a_bounded_number_waits_and_the_next_is_turned_away() -> None:
    """One a core at a time, 20 waiting, then 503 with Retry-After; when they are done there is room again."""
    passwords = Passwords(at_once=1, waiting=20)
    results = await asyncio.gather(*(passwords.hash(f"password {n}") for n in range(30)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Unavailable)]
    assert len(refused) == 30 - 21
    assert all(error.headers == {"Retry-After": "1"} for error in refused)
    assert len({result for result in results if isinstance(result, str)}) == 21
    assert await passwords.hash("there is room")
    passwords.close()


async def test_the_event_loop_does_not_wait() -> None:
    """While every core hashes, the loop goes on: its turns take a small part of what one hash takes."""
    passwords = Passwords(waiting=60)
    start = time.perf_counter()
    await passwords.hash("how long is one?")
    one = time.perf_counter() - start
    work = asyncio.gather(*(passwords.hash("password") for _ in range(10 * cores())))
    gaps = []
    while not work.done():
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        gaps.append(time.perf_counter() - before)
    await work
    assert len(gaps) > 20
    assert sorted(gaps)[len(gaps) // 2] < max(one, 0.02)
    passwords.close()


async def test_a_caller_who_leaves_gives_its_place_back() -> None:
    """A cancelled sign-in does not use up a place in the line for ever."""
    passwords = Passwords(at_once=1, waiting=3)
    for _ in range(5):
        tasks = [asyncio.create_task(passwords.hash("password")) for _ in range(4)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while passwords._busy:
            await asyncio.sleep(0.001)
    assert await passwords.hash("there is room")
    passwords.close()


async def test_a_hash_of_old_parameters_is_renewed_at_sign_in(house: House) -> None:
    """The next sign-in brings a hash up to date; a wrong password does not."""
    await house.poto.accounts.create("ann", "correct horse")
    before = await house.poto.users.find("ann")
    assert before is not None
    later = make_house(store=house.store, passwords=quick_passwords(passes=2))
    with pytest.raises(Unauthenticated):
        await later.poto.sign_in.login("ann", "wrong horse", "a")
    assert await house.poto.users.find("ann") == before
    pair = await later.poto.sign_in.login("ann", "correct horse", "a")
    after = await house.poto.users.find("ann")
    assert after is not None
    assert after.password_hash is not None
    assert extract_parameters(after.password_hash).time_cost == 2
    assert await house.poto.authenticator.authenticate(scope(pair.access_token)) is not None
    await later.poto.sign_in.login("ann", "correct horse", "a")
    assert await house.poto.users.find("ann") == after
    later.poto.passwords.close()


@pytest.mark.parametrize("hashed", ["", "x", "$argon2id$", "$argon2id$v=19$m=1,t=1,p=1$AA$AA", "$2b$12$abc", "sha256$"])
async def test_a_hash_that_is_none_lets_nobody_in(hashed: str) -> None:
    """Junk in place of a hash is a wrong password, whatever is tried."""
    passwords = quick_passwords()
    for password in ("", "x", hashed, "sha256$"):
        assert not await passwords.verify(hashed, password)
    passwords.close()


async def test_random_passwords() -> None:
    """256 bits, kept as SHA-256, compared in constant time."""
    password = random_password()
    assert len(password) == 43
    hashed = hash_random(password)
    assert password not in hashed
    assert verify_random(hashed, password)
    assert not verify_random(hashed, password[:-1])
    assert not verify_random(None, "")
    assert not verify_random("sha256$", "\ud800")
