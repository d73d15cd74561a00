"""docs/deploying.md: its nginx configuration, in front of two processes that share a file."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.nginx import Nginx
from tests.processes import serve_processes

pytestmark = [pytest.mark.anyio, pytest.mark.conformance]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[str]:
    environment = {"POTO_STORE": f"sqlite:///{tmp_path / 'poto.db'}"}
    with (
        serve_processes("tests.sessions.app:app", 2, directory=tmp_path, env=environment) as processes,
        Nginx(tmp_path / "nginx", [process.url.removeprefix("http://") for process in processes]) as server,
    ):
        yield f"http://127.0.0.1:{server.port}"


async def test_calls_and_streams_behind_nginx(nginx: str, tmp_path: Path) -> None:
    """Both processes serve one session, and a stream's item arrives when it is made, not when the stream ends."""
    gate = tmp_path / "gate"
    async with httpx.AsyncClient(base_url=nginx, timeout=10) as client:
        pair = (await client.post("/auth/visitor")).json()
        client.headers["Authorization"] = f"Bearer {pair['access_token']}"
        sums = await asyncio.gather(*(client.post("/Box/count") for _ in range(20)))
        assert sorted(answer.json() for answer in sums) == list(range(1, 21))
        processes = {(await client.get("/Box/process")).json() for _ in range(8)}
        assert len(processes) == 2
        async with client.stream("POST", "/Box/tick", json={"gate": str(gate)}) as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "data: 1"
            gate.touch()
            rest = [line async for line in lines if line]
        assert rest == ["data: 2", "event: close"]


async def test_a_page_signs_in_by_cookies_behind_nginx(nginx: str) -> None:
    """The page's own origin, port included, is no foreign one; another port is."""
    asks = {"X-Poto-Transport": "cookie"}
    async with httpx.AsyncClient(base_url=nginx, timeout=10) as client:
        own = await client.post("/auth/visitor", headers={**asks, "Origin": nginx})
        assert own.status_code == 200, own.text
        assert own.json()["token_type"] == "cookie"
        foreign = await client.post("/auth/visitor", headers={**asks, "Origin": "http://127.0.0.1:1"})
        assert foreign.status_code == 403
