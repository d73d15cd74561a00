"""What tests of an application need: a caller without a password, a clock that is moved, a live server for streams.

Needs `pip install fastapi-poto[client]`, and for `serve` also `[server]`.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .auth.dependencies import current_user, poto_of
from .auth.token_pair import TokenPair
from .client import PotoClient
from .errors import ConfigurationError
from .runtime import Poto
from .users import Account, User

__all__ = ["Clock", "LiveApp", "acting_as", "serve", "sign_in"]

T = TypeVar("T")

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
# A busy machine may leave a connection idle for more than uvicorn's 5 s: a client would find it closed under its hands.
_DEFAULTS = {"log_level": "warning", "timeout_graceful_shutdown": 5, "timeout_keep_alive": 120}


class Clock:
    """`Poto(clock=clock)`: seconds since the epoch, `now`, which pass when the test says so. Begins now."""

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Let time pass. It does not go back."""
        passed = seconds + 60 * (minutes + 60 * (hours + 24 * days))
        if passed < 0:
            raise ValueError("time does not go back")
        self.now += passed


async def sign_in(app: Any, user: User | str = "tester", *, roles: Iterable[str] = ()) -> TokenPair:
    """Real tokens for a user, without a password. `app` is the application, or its `Poto`.

    A user who is not there is made, under this id. One who is keeps what they are, but has these `roles` too.
    Run it where the application's store was opened: in its event loop. `LiveApp.sign_in` does that for you.
    """
    poto = app if isinstance(app, Poto) else poto_of(app)
    if not poto.signs_in:
        raise ConfigurationError("sign_in(): no OwnSignIn() is among the credentials here. Use acting_as().")
    await poto.open()
    wanted = user if isinstance(user, User) else User(user, frozenset(roles), name=user)
    found = await _made(poto, wanted, wanted.roles | frozenset(roles))
    families = poto.token_families
    return poto.sign_in.pair(await families.begin(found.id, epoch=await families.epoch(found.id)))


async def _made(poto: Poto, wanted: User, roles: frozenset[str]) -> User:
    found = await poto.users.get(wanted.id)
    if found is None:
        user = User(wanted.id, roles, wanted.visitor, wanted.name)
        await poto.users.add(Account(user, None))
    elif roles <= found.roles:
        return found
    else:
        set_roles = getattr(poto.users, "set_roles", None)
        if set_roles is None:
            raise ConfigurationError(
                f"{wanted.id} is there without {', '.join(sorted(roles - found.roles))}, and "
                f"{type(poto.users).__name__} has no set_roles(). Give the role there, or sign in somebody who has it."
            )
        await set_roles(wanted.id, found.roles | roles)
    found = await poto.users.get(wanted.id)
    if found is None:
        raise ConfigurationError(f"{type(poto.users).__name__} does not know {wanted.id}, whom it was just given.")
    return found


@contextmanager
def acting_as(app: Any, user: User | str = "tester", *, roles: Iterable[str] = ()) -> Iterator[User]:
    """Within the block every caller of `app` is this user, whatever token they send; there need be no such user.

    It is `app.dependency_overrides[current_user]`, so calls take the dependency path. Guards and sessions work as ever.
    """
    somebody = user if isinstance(user, User) else User(user, frozenset(roles), name=user)
    overrides = app.dependency_overrides
    before = overrides.get(current_user)
    overrides[current_user] = lambda: somebody
    try:
        yield somebody
    finally:
        if before is None:
            overrides.pop(current_user, None)
        else:
            overrides[current_user] = before


class LiveApp:
    """An application on a real server, uvicorn's `server`, in a thread of this process. `url` has no trailing slash."""

    def __init__(self, app: Any, url: str, server: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self.url = url
        self.server = server
        self._loop = loop

    def sign_in(self, user: User | str = "tester", *, roles: Iterable[str] = ()) -> TokenPair:
        """Real tokens for a user, without a password: see the function of this name."""
        return asyncio.run_coroutine_threadsafe(sign_in(self.app, user, roles=roles), self._loop).result(_STOP_SECONDS)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives, run where the application runs: `live.run(poto.publish(…))`."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    def client(self, tokens: TokenPair | None = None, *, prefix: str = "", **arguments: Any) -> PotoClient:
        """A client of it. `prefix` is that of the router; `arguments` are those of `PotoClient`."""
        return PotoClient(self.url + prefix, tokens=tokens, **arguments)


@contextmanager
def serve(app: Any, **options: Any) -> Iterator[LiveApp]:
    """Serve an application on a free port: for streams, which no in-process transport carries.

    Its lifespan runs. `options` are uvicorn's. The application and the test, sync or async, share memory.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ConfigurationError('serve() needs uvicorn. Run: pip install "uvicorn[standard]>=0.54"') from error
    settled = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    failures: list[BaseException] = []

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            loops.append(asyncio.get_running_loop())
            settled.set()

    # Bound before the server starts: the first request waits in its backlog, and no port is taken twice.
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = Server(uvicorn.Config(app, **{**_DEFAULTS, **options}))

        def run() -> None:
            try:
                server.run(sockets=[listening])
            except (Exception, SystemExit) as error:  # uvicorn exits; it is raised below, in the test's thread
                failures.append(error)
            finally:
                settled.set()

        thread = threading.Thread(target=run, name=url, daemon=True)
        thread.start()
        try:
            if not settled.wait(_START_SECONDS) or not server.started:
                raise RuntimeError("The application did not start: see its log") from next(iter(failures), None)
            yield LiveApp(app, url, server, loops[0])
        finally:
            server.should_exit = True
            thread.join(_STOP_SECONDS)
            if thread.is_alive():
                server.force_exit = True
                thread.join(_STOP_SECONDS)
