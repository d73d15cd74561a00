"""A certified provider, real processes: tokens, sessions, streams that end, keys that rotate, an outage."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from joserfc.jwk import RSAKey

from tests.e2e.caller import Caller, CutOff, Refused, new_client
from tests.identity.provider import Provider
from tests.processes import LiveProcess, serve_processes

pytestmark = [pytest.mark.anyio, pytest.mark.conformance]


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    with Provider(tmp_path / "provider", keys=[RSAKey.generate_key(2048)]) as running:
        yield running


@contextmanager
def serve(provider: Provider, folder: Path, processes: int = 1) -> Iterator[list[LiveProcess]]:
    env = {"STORE": f"sqlite:///{folder / 'poto.db'}", "ISSUER": provider.url}
    with serve_processes("tests.identity.app:make_app", processes, factory=True, env=env) as lives:
        yield list(lives)


def caller(http: httpx.AsyncClient, token: str) -> Caller:
    return Caller(http, {"user_id": "corp:cron", "access_token": token})


@pytest.fixture
async def one(provider: Provider, tmp_path: Path, anyio_backend: object) -> AsyncIterator[httpx.AsyncClient]:
    with serve(provider, tmp_path) as (live,):
        async with new_client(live.url) as http:
            yield http


async def test_calls_streams_and_sessions(provider: Provider, one: httpx.AsyncClient) -> None:
    """A token that the provider made opens calls, streams and a session; its roles are there."""
    cron = caller(one, provider.token())
    me = await cron.value("GET", "/auth/me")
    assert me == {"user_id": "corp:cron", "name": None, "roles": ["staff"], "visitor": False}
    assert await cron.items("/Who/names") == ["corp:cron"] * 3
    assert await cron.call("/Keep/add", key="n") == 1
    assert await caller(one, provider.token()).call("/Keep/add", key="n") == 2
    assert (await one.get("/.well-known/oauth-protected-resource")).json()["authorization_servers"] == [provider.url]


@pytest.mark.timeout(120)
async def test_a_stream_ends_with_its_token(tmp_path: Path) -> None:
    """10 s after the token expired, the leeway, the stream is ended, and a call is 401."""
    provider = Provider(tmp_path / "provider", keys=[RSAKey.generate_key(2048)], ttl=2)
    with provider, serve(provider, tmp_path) as (live,):
        async with new_client(live.url) as http:
            cron = caller(http, provider.token())
            expires = time.time() + 2
            with pytest.raises((Refused, CutOff)):
                async for _ in cron.stream("/Who/names", count=10_000, pause=0.05):
                    pass
            assert 9 < time.time() - expires < 30
            with pytest.raises(Refused) as refused:
                await cron.call("/Who/me")
            assert refused.value.status == 401


@pytest.mark.timeout(180)
async def test_keys_rotate_under_load(provider: Provider, tmp_path: Path) -> None:
    """The provider starts anew with another key, twice, while 4 processes are called: no valid token is refused."""
    refused: list[object] = []
    calls = 0
    tokens = [provider.token()]
    done = asyncio.Event()
    with serve(provider, tmp_path, 4) as lives:

        async def work(http: httpx.AsyncClient) -> None:
            nonlocal calls
            while not done.is_set():
                for token in tokens:
                    try:
                        await caller(http, token).call("/Who/me")
                    except Refused as error:
                        refused.append(error)
                    calls += 1

        clients = [new_client(live.url) for live in lives]
        workers = [asyncio.create_task(work(http)) for http in clients for _ in range(2)]
        await asyncio.sleep(0.5)
        for _ in range(2):
            provider.keys.insert(0, RSAKey.generate_key(2048))  # the older ones stay published
            await asyncio.to_thread(provider.restart)
            tokens.append(await asyncio.to_thread(provider.token))
            await asyncio.sleep(31)  # so long is the shortest time between two looks for a key that is not known
        done.set()
        await asyncio.gather(*workers)
        for http in clients:
            await http.aclose()
    assert refused == []
    assert calls > 500
    assert len(set(tokens)) == 3


async def test_killed_and_back(provider: Provider, one: httpx.AsyncClient) -> None:
    """While it is away known keys go on, also for tokens not seen before; health says so; then all is well again."""
    known, unseen = provider.token(), provider.token()
    assert await caller(one, known).call("/Who/me") == "corp:cron"
    provider.kill()
    assert await caller(one, known).call("/Who/me") == "corp:cron"
    assert await caller(one, unseen).call("/Who/me") == "corp:cron"
    provider.start()
    assert await caller(one, provider.token()).call("/Who/me") == "corp:cron"
    assert (await one.get("/auth/health")).json() == {"status": "ok"}
