"""`make run`: the example app on a free port, or on PORT, with what it keeps in `.run/`."""

import os
import secrets
import socket
import sys
from contextlib import suppress
from pathlib import Path

import uvicorn

from .app import make_app

DATA = Path(os.environ.get("EXAMPLE_DATA", Path(__file__).parent.parent / ".run"))


def secret_of(directory: Path) -> str:
    """The secret that signs this installation's tokens: made once, readable by its owner alone."""
    path = directory / "secret"
    if not path.exists():
        draft = directory / f"secret.{os.getpid()}"
        with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)  # whole or not at all, and never over the one of another process
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    path.chmod(0o600)
    return path.read_text()


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            print(_welcome(f"http://{host}:{port}"), flush=True)


def _welcome(url: str) -> str:
    token = """sed 's/.*"access_token":"\\([^"]*\\).*/\\1/'"""
    return f"""
  The API and its documentation:
    {url}/docs
  A room to talk in, with several tabs:
    {url}/room
  A public call:
    curl {url}/Shop/articles
  A visitor, and an answer token by token:
    TOKEN=$(curl -s -X POST {url}/auth/visitor | {token})
    curl -N {url}/Chat/ask -H "Authorization: Bearer $TOKEN" --json '{{"question": "How do streams work?"}}'
"""


def main() -> None:
    DATA.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = int(os.environ.get("PORT") or 0)
    host = os.environ.get("HOST", "127.0.0.1")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            sys.exit(f"Cannot listen on {host}:{port}: {error.strerror}. Try another: make run PORT=8001")
        app = make_app(
            secret=os.environ.get("POTO_SECRET") or secret_of(DATA),
            store=os.environ.get("POTO_STORE") or f"sqlite:///{DATA / 'example.db'}",
        )
        with suppress(KeyboardInterrupt):  # uvicorn has stopped in good order, and raises it once more
            _Server(uvicorn.Config(app, timeout_graceful_shutdown=5, proxy_headers=False)).run(sockets=[sock])


if __name__ == "__main__":
    main()
