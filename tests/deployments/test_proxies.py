"""Streams through proxies that compress what they may: each item comes when it is made, and so do keep-alives."""

import shutil
import subprocess
import textwrap
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI

from fastapi_poto import Poto, PotoModule, poto_router, public, rpc
from fastapi_poto.testing import LiveApp, serve
from tests.servers import Server, find_program

pytestmark = pytest.mark.deployments

NODE = Path(__file__).parents[1] / "streams" / "node"
CONFIGURATIONS = {
    "nginx": """
        daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
        events {{}}
        http {{
            access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
            gzip on; gzip_types application/json application/x-ndjson application/octet-stream; gzip_proxied any;
            server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{target}; }} }}
        }}
    """,
    "caddy": """
        {{
            admin off
            auto_https off
        }}
        http://127.0.0.1:{port} {{
            encode gzip {{
                match {{
                    header Content-Type *
                }}
            }}
            reverse_proxy {target}
        }}
    """,
    "haproxy": """
        defaults
            mode http
            timeout connect 5s
            timeout client 1s
            timeout server 1s
        listen all
            bind 127.0.0.1:{port}
            compression algo gzip
            server one {target}
    """,
    "node": "",
}


class Proxy(Server):
    """One of them, in front of a server."""

    def __init__(self, name: str, folder: Path, target: str) -> None:
        super().__init__(folder)
        self.name = name
        self.target = target
        self.file = folder / "configuration"
        lines = CONFIGURATIONS[name].format(folder=folder, port=self.port, target=target.removeprefix("http://"))
        self.file.write_text(textwrap.dedent(lines.rstrip(" ")))
        if name == "node":
            for one in ("package.json", "package-lock.json", "proxy.mjs"):
                shutil.copy(NODE / one, folder)
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)

    def command(self) -> Sequence[str]:
        if self.name == "node":
            return ["node", str(self.folder / "proxy.mjs"), str(self.port), self.target]
        program, file = find_program(self.name), str(self.file)
        return {
            "nginx": [program, "-p", str(self.folder), "-c", file],
            "caddy": ["env", f"HOME={self.folder}", program, "run", "--config", file, "--adapter", "caddyfile"],
            "haproxy": [program, "-db", "-f", file],
        }[self.name]


@public
class Quiet(PotoModule):
    async def get_items(self) -> AsyncIterator[str]:
        yield "first"
        await anyio.sleep(2)
        yield "second"
        await anyio.sleep_forever()

    async def get_chunks(self) -> AsyncIterator[bytes]:
        yield b"first"
        await anyio.sleep(0.5)
        yield b"second"
        await anyio.sleep_forever()

    @rpc(first_item_timeout=0.1)
    async def get_waiting(self) -> AsyncIterator[bytes]:
        await anyio.sleep_forever()
        yield b""


def make_app() -> FastAPI:
    app = FastAPI()
    app.include_router(poto_router(Quiet, poto=Poto("Jq8vN2xR5tB7wK9mZ4cH6pL1sD3fG0yA-deployments", ping_interval=0.3)))
    return app


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApp]:
    with serve(make_app()) as server:
        yield server


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def proxy(request: pytest.FixtureRequest, live: LiveApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Proxy(request.param, tmp_path_factory.mktemp("proxy"), live.url) as server:
        yield f"http://127.0.0.1:{server.port}"


def test_it_compresses(proxy: str) -> None:
    """What is no stream: so the rest of this file says something."""
    assert httpx.get(f"{proxy}/openapi.json").headers["content-encoding"] == "gzip"


class Reader:
    """An open stream through a proxy, as whoever takes gzip reads it."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.chunks = response.iter_bytes()
        self.text = b""

    def read_until(self, text: bytes) -> float:
        """When it had come."""
        while text not in self.text:
            self.text += next(self.chunks)
        return time.monotonic()


@contextmanager
def reading(url: str, accept: str = "*/*") -> Iterator[Reader]:
    headers = {"Accept": accept, "Accept-Encoding": "gzip"}
    with httpx.stream("GET", url, headers=headers, timeout=5) as response:
        assert response.status_code == 200
        # nginx does not ask; it passes on what it has compressed at once.
        assert "content-encoding" not in response.headers or response.headers["server"].startswith("nginx")
        yield Reader(response)


@pytest.mark.parametrize(
    ("accept", "keep_alive"), [("text/event-stream", b": ping\n: ping\n"), ("application/x-ndjson", b"\n\n")]
)
def test_items(proxy: str, accept: str, keep_alive: bytes) -> None:
    """They come one by one, and keep-alives hold a connection that may idle for a second."""
    with reading(f"{proxy}/Quiet/items", accept) as reader:
        first = reader.read_until(b'"first"\n')
        assert reader.read_until(b'"second"\n') - first > 1
        reader.text = b""
        reader.read_until(keep_alive)


def test_bytes(proxy: str) -> None:
    """Chunks come as they are made."""
    with reading(f"{proxy}/Quiet/chunks") as reader:
        first = reader.read_until(b"first")
        assert reader.read_until(b"second") - first > 0.2


def test_headers_before_the_first_chunk(proxy: str, request: pytest.FixtureRequest) -> None:
    """They go out when the first chunk is waited for no longer."""
    if request.node.callspec.params["proxy"] in ("node", "caddy"):
        pytest.skip("it holds headers back until there is a chunk")
    with reading(f"{proxy}/Quiet/waiting"):
        pass
