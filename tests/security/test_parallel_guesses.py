"""Threats 34 and 39: guesses and sign-ins that come all at once, to several processes."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import anyio
import httpx
import pytest

from fastapi_poto import Poto
from tests.processes import serve_process, serve_processes
from tests.secret import SECRET
from tests.security.world import NAME, PASSWORD
from tests.servers import PostgresServer, RedisServer

FREE, PROCESSES, GUESSES = 5, 4, 200


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis"])
def test_34_guesses_at_once_on_four_processes(kind: str, tmp_path: Path) -> None:
    """Threat 34: of 200 guesses at once, at most the free ones and one a process are hashed; the right one hides."""
    with ExitStack() as stack:
        if kind == "sqlite":
            url = f"sqlite:///{tmp_path}/poto.db"
        else:
            url = stack.enter_context((PostgresServer if kind == "postgres" else RedisServer)(tmp_path)).url
        anyio.run(_with_a_user, url)
        environment = {"POTO_STORE": url, "POTO_FIRST_DELAY": "60"}
        lives = stack.enter_context(
            serve_processes("tests.security.world:make_app", PROCESSES, factory=True, env=environment)
        )
        wrong, right, counts = anyio.run(_burst, [live.url for live in lives], url)
    hashed = [one for one in wrong if one.status_code == 401]
    assert FREE <= len(hashed) <= FREE + PROCESSES
    assert {one.status_code for one in wrong} <= {401, 429, 503}
    assert _looks_of(right) in {_looks_of(one) for one in wrong}
    assert counts == (len(hashed), len(hashed))


async def _with_a_user(url: str) -> None:
    poto = Poto(SECRET, store=url)
    await poto.open()
    await poto.accounts.create(NAME, PASSWORD)
    await poto.close()


async def _burst(urls: list[str], store: str) -> tuple[list[httpx.Response], httpx.Response, tuple[int, int]]:
    """The answers to wrong passwords and to the right one, and what was counted for the account and the address."""
    async with AsyncExitStack() as stack:
        limits = httpx.Limits(max_connections=None)
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60, limits=limits)) for url in urls
        ]
        looked_at = asyncio.Event()
        refused = 0

        async def guess(number: int, password: str) -> httpx.Response:
            nonlocal refused
            # From eight addresses, which have a limit of their own.
            headers = {"X-Forwarded-For": f"192.0.2.{number % 8}"}
            form = {"username": NAME, "password": password}
            answer = await clients[number % len(clients)].post("/auth/login", data=form, headers=headers)
            refused += answer.status_code == 401
            if refused >= FREE:
                looked_at.set()
            return answer

        first = [asyncio.create_task(guess(n, f"wrong {n} of many")) for n in range(GUESSES // 2)]
        answers = await asyncio.gather(*first)
        while not looked_at.is_set():  # too many at once were not looked at
            answers.append(await guess(len(answers), "wrong once more"))
        rest = [asyncio.create_task(guess(n, PASSWORD if n == 50 else f"wrong {n}")) for n in range(GUESSES // 2)]
        more = await asyncio.gather(*rest)
        poto = Poto(SECRET, store=store)
        await poto.open()
        counted = await poto.store.read(f"throttle:account:{await _key(poto)}") or {}
        from_addresses = 0
        for name in (await poto.store.names("throttle:address:")).names:
            from_addresses += int((await poto.store.read(name) or {})["count"])
        await poto.close()
        return [*answers, *more[:50], *more[51:]], more[50], (int(counted["tries"][1:].split(b",")[0]), from_addresses)


async def _key(poto: Poto) -> str:
    return poto.throttle.key(NAME, await poto.users.find(NAME))


def _looks_of(answer: httpx.Response) -> tuple[int, bytes, tuple[str, ...]]:
    """What tells one answer from another; the seconds to wait are those that are left."""
    return answer.status_code, answer.content, tuple(sorted(name for name in answer.headers if name != "date"))


def test_39_one_account_keeps_nobody_from_signing_in() -> None:
    """Threat 39: while 60 connections repeat their own right password, others sign in within 2 s."""
    target = "tests.security.world:make_app_with_a_user"
    with serve_process(target, factory=True, options={"log_level": "error"}) as live:
        own, others = anyio.run(_repeat, live.url)
    assert set(own) <= {200, 429, 503}
    assert own[200] >= 3
    assert [status for status, _ in others] == [200] * 5
    assert max(seconds for _, seconds in others) < 2


async def _repeat(url: str) -> tuple[Counter[int], list[tuple[int, float]]]:
    own: Counter[int] = Counter()
    others: list[tuple[int, float]] = []
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http, anyio.create_task_group() as group:

        async def login(name: str, address: str) -> int:
            form = {"username": name, "password": PASSWORD}
            return (await http.post("/auth/login", data=form, headers={"X-Forwarded-For": address})).status_code

        async def repeat(number: int) -> None:
            while True:
                own[await login(NAME, f"192.0.2.{number % 3}")] += 1
                await asyncio.sleep(0.1)  # what is measured is the hashing queue, not the test's own speed

        for number in range(60):
            group.start_soon(repeat, number)
        while own.total() < 60:
            await asyncio.sleep(0.01)
        for _ in range(5):
            began = time.perf_counter()
            others.append((await login("beth", "198.51.100.7"), time.perf_counter() - began))
        group.cancel_scope.cancel()
    return own, others
