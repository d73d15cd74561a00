"""Threat 30: a new secret under load, with workers that are restarted one by one, and not one refused token."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import httpx
from fastapi import FastAPI

from fastapi_poto import Poto
from fastapi_poto.auth import Secrets
from fastapi_poto.settings import from_environment
from tests.processes import LiveProcess, start
from tests.secret import SECRET
from tests.security.world import headers_of, make_app, opened

OLD, NEW = SECRET, "Wq8-yT3nHk5Zc1Rv9Lx2Md7Bs4Gf6JpU"
STEPS = [(OLD,), (OLD, NEW), (NEW, OLD), (NEW,)]
CALLERS = 6


def rotating_app() -> FastAPI:
    """The app with the secrets of the environment."""
    options: dict[str, Any] = {"visitors_per_hour": None, **from_environment()}
    return make_app(Poto(os.environ["SECRETS"].split(), store=os.environ["POTO_STORE"], **options))


class Callers:
    """Visitors who call and refresh without a pause, each time on any of the workers that are in service."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.in_service: list[str] = []
        self.pairs: list[dict[str, Any]] = []
        self.answers: Counter[int] = Counter()
        self.in_flight: Counter[str] = Counter()

    async def begin(self) -> None:
        for _ in range(CALLERS):
            self.pairs.append((await self.http.post(f"{self.in_service[0]}/auth/visitor")).json())

    async def call(self, at: int) -> None:
        while True:
            answer = await self.ask("GET", "/Vault/me", headers=headers_of(self.pairs[at]))
            self.answers[answer.status_code] += 1
            if random.random() < 0.3:
                body = {"refresh_token": self.pairs[at]["refresh_token"]}
                # Two tabs, perhaps on two workers.
                tabs = await asyncio.gather(*(self.ask("POST", "/auth/refresh", json=body) for _ in range(2)))
                self.answers.update(tab.status_code for tab in tabs)
                self.pairs[at] = tabs[0].json()

    async def ask(self, verb: str, path: str, **options: Any) -> httpx.Response:
        """Of one of the workers in service."""
        url = random.choice(self.in_service)
        self.in_flight[url] += 1
        try:
            return await self.http.request(verb, url + path, **options)
        finally:
            self.in_flight[url] -= 1

    async def wait_answered_by(self, url: str) -> None:
        """Until a worker that is out of service, as its load balancer does, owes nobody an answer."""
        while self.in_flight[url]:
            await asyncio.sleep(0.01)

    async def wait_signed_by(self, secret: str) -> None:
        """Until every caller's token has this secret's name."""
        wanted = Secrets(secret).current_id
        while {opened(pair["access_token"])[0]["kid"] for pair in self.pairs} != {wanted}:
            await asyncio.sleep(0.05)


def test_30_no_token_is_refused_while_secrets_rotate(tmp_path: Path) -> None:
    """Threat 30: in the three steps of the documentation, with refreshes by two tabs at once: 200 throughout."""
    answers = anyio.run(_rotate, tmp_path)
    assert set(answers) == {200}
    assert answers[200] > 100


async def _rotate(folder: Path) -> Counter[int]:
    def worker(secrets: Iterable[str]) -> LiveProcess:
        environment = {"POTO_STORE": f"sqlite:///{folder}/poto.db", "SECRETS": " ".join(secrets)}
        return start("tests.security.test_rotation:rotating_app", directory=folder, factory=True, env=environment)

    workers = [await asyncio.to_thread(worker, STEPS[0]) for _ in range(2)]
    try:
        async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_keepalive_connections=0)) as http:
            callers = Callers(http)
            callers.in_service = [one.url for one in workers]
            await callers.begin()
            async with anyio.create_task_group() as group:
                for at in range(CALLERS):
                    group.start_soon(callers.call, at)
                for step in STEPS[1:]:
                    for at in range(2):
                        leaving, workers[at] = workers[at], await asyncio.to_thread(worker, step)
                        callers.in_service[at] = workers[at].url
                        await callers.wait_answered_by(leaving.url)
                        await asyncio.to_thread(leaving.terminate, 30)
                    # What the old secret signed has expired where all have newer tokens.
                    await callers.wait_signed_by(step[0])
                await asyncio.sleep(0.2)
                group.cancel_scope.cancel()
            return callers.answers
    finally:
        for one in workers:
            one.stop()
