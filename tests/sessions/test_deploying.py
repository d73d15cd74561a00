"""docs/deploying.md: its nginx configuration, in front of two processes that share a file."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from tests.processes import serve_processes
from tests.servers import Server, find_program

pytestmark = [pytest.mark.anyio, pytest.mark.conformance]

PAGE = Path(__file__).parent.parent.parent / "docs" / "deploying.md"
AROUND = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {server}
}}
"""


class Nginx(Server):
    """nginx with the configuration of the page, whose ports are replaced by those of `servers`."""

    def __init__(self, folder: Path, servers: Sequence[str]) -> None:
        super().__init__(folder)
        [block] = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
        block = block.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        for port, server in zip(("8000", "8001"), servers, strict=True):
            block = block.replace(f"127.0.0.1:{port}", server)
        self.configuration = folder / "nginx.conf"
        self.configuration.write_text(AROUND.format(folder=folder, server=block))

    def command(self) -> Sequence[str]:
        return [find_program("nginx"), "-p", str(self.folder), "-c", str(self.configuration)]


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
