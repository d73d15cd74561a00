"""`Poto`: what routers share, wired from settings and URLs."""

import asyncio
import logging
import os
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from functools import cache
from types import NoneType
from typing import Any, TypeVar, Unpack, overload

from starlette.types import Scope

from ._compat.servers import workers
from .auth import (
    Accounts,
    AuditEvent,
    Authenticator,
    Credentials,
    ManagedCredentials,
    OwnSignIn,
    Passwords,
    SignIn,
    StoreUsers,
)
from .auth.access_tokens import AccessTokens
from .auth.addresses import client_address
from .auth.cookies import CookieTransport
from .auth.credentials import check_credentials, check_distinct
from .auth.events import Audit, redact_access_log
from .auth.external_users import ExternalUsers
from .auth.keys import Keys
from .auth.password_checks import PasswordChecks
from .auth.secrets import SecretValue, given_secrets
from .auth.throttle import Throttle
from .auth.token_families import TokenFamilies
from .auth.visitors import Visitors
from .cors import CorsArguments, cors_arguments
from .errors import ConfigurationError, Unavailable
from .logs import add_request_ids
from .options import PotoOptions
from .sessions import SessionManager
from .sessions.session import SessionProvider
from .settings import Settings, from_environment, wall_clock, with_options
from .stores import MemoryStore, Store, store_from_url
from .stores.log import EventLog
from .stores.namespaced import Namespaced, in_namespace
from .streaming import Event
from .streaming.broker import Broker
from .streaming.hub import hub_of, shut_down
from .streaming.presence import Member
from .streaming.streams import Streams
from .streaming.topics import After, Channel, Policy
from .telemetry import look_for_providers, observe_store
from .users import UserProvider

log = logging.getLogger("fastapi_poto")

_RETRY_SECONDS = 1.0

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


class Poto:
    """The runtime that routers share: secret, stores, users, limits.

    `secret` signs tokens: one, several (the current one first), or a mapping from key id to secret.
    Without one, a memory store gets one for the process and a warning; any other store refuses to start.
    `store` is a URL or a `Store`, and says where users, sessions, refresh tokens, counters and
    replay buffers live; `users` and `sessions` can be given on their own (`sessions="cookie://"` keeps
    them encrypted in the browser). `passwords` has other parameters for hashing. `on_event` is called with each
    `AuditEvent`. `credentials` are the ways to know a caller, in the order in which they are asked; without them, the
    sign-in routes' tokens (`OwnSignIn`). `clock` gives seconds since 1970.
    Further options are the fields of `Settings` and `AuthSettings`.
    """

    def __init__(
        self,
        secret: SecretValue | None = None,
        *,
        store: str | Store = "memory://",
        users: UserProvider | None = None,
        sessions: str | Store | SessionProvider | None = None,
        credentials: Sequence[Credentials] | None = None,
        passwords: Passwords | None = None,
        on_event: Callable[[AuditEvent], object] | None = None,
        strict: bool = False,
        clock: Callable[[], float] = wall_clock,
        settings: Settings | None = None,
        **options: Unpack[PotoOptions],
    ) -> None:
        _check_protocol("store", store, str, Store)
        _check_protocol("store.log", getattr(store, "log", None), NoneType, EventLog)
        _check_protocol("users", users, NoneType, UserProvider)
        self.settings = with_options(settings or Settings(), options)
        self.clock = clock
        own = self._own(store)
        self.store: Store = own
        in_memory = isinstance(own.inner, MemoryStore)
        self.secrets = given_secrets(secret, required=strict or not in_memory)
        if in_memory and (count := workers()) > 1:
            log.warning(
                "Poto() keeps everything in memory, so each of %d workers has its own users and sessions, and refuses "
                "the others' tokens. Set POTO_STORE or Poto(store=…) to what they can share, such as sqlite:///poto.db.",
                count,
            )
        if users is None:
            users = StoreUsers(self.store)
        self.users: UserProvider = users
        self.passwords = passwords or Passwords()
        self.audit = Audit(on_event)
        redact_access_log()
        auth = self.settings.auth
        self.cookies = CookieTransport(auth) if auth.cookies else None
        self.access_tokens = AccessTokens(self.secrets, auth, clock=clock)
        self.token_families = TokenFamilies(
            self.store, self.secrets, auth, clock=clock, record_life=self.settings.sign_in_life
        )
        self.authenticator = Authenticator(
            [OwnSignIn()] if credentials is None else check_credentials(credentials), users=users, realm=auth.realm
        )
        self.throttle = Throttle(self.store, auth, self.secrets, clock=clock)
        self._proxies = auth.proxy_networks()
        self.external_users = ExternalUsers(self.store, clock)
        self.keys = Keys(self.store, users, audit=self.audit, clock=clock)
        if isinstance(users, StoreUsers):
            users.external = self.external_users
        for one in self._managed:
            one.attach(self)
        check_distinct(self.authenticator.credentials)
        self.session_store: Store = self.store
        self.sessions = self._make_sessions(sessions)
        password_checks = PasswordChecks(self.passwords, self.throttle, self.audit)
        self.streams = Streams(self.store, self.settings, address_of=self.address)
        self.visitors = Visitors(self.store, idle=auth.visitor_idle, clock=clock)
        self.accounts = Accounts(
            self.store,
            users,
            passwords=self.passwords,
            password_checks=password_checks,
            token_families=self.token_families,
            authenticator=self.authenticator,
            sessions=self.sessions,
            external_users=self.external_users,
            visitors=self.visitors,
            keys=self.keys,
            streams=self.streams,
            audit=self.audit,
        )
        self.sign_in = SignIn(
            users,
            auth,
            accounts=self.accounts,
            passwords=self.passwords,
            password_checks=password_checks,
            throttle=self.throttle,
            visitors=self.visitors,
            access_tokens=self.access_tokens,
            token_families=self.token_families,
            authenticator=self.authenticator,
            sessions=self.sessions,
            audit=self.audit,
            clock=clock,
        )
        self.broker = Broker(self.streams, self.settings, address_of=self.address)
        self.is_open = False
        self._users_of_lifespan = 0
        self._opening: asyncio.Task[None] | None = None
        self._retry_at = 0.0
        self._purging: asyncio.Task[None] | None = None

    def _own(self, store: str | Store) -> Namespaced:
        """This application's part of a store."""
        opened = store_from_url(store, clock=self.clock) if isinstance(store, str) else store
        return in_namespace(opened, self.settings.namespace or self.settings.auth.namespace)

    def _make_sessions(self, given: str | Store | SessionProvider | None) -> SessionProvider:
        settings = self.settings
        lives: Any = {
            "clock": self.clock,
            "idle": settings.session_idle,
            "absolute": settings.session_absolute,
            "max_keys": settings.session_keys,
        }
        if given in ("cookie", "cookie://"):
            from .sessions.cookie import CookieSessions

            # Of this application alone: another with the same secret may have users of the same ids.
            keys = self.secrets.derive(f"session cookie\0{settings.auth.issuer}\0{settings.auth.audience}")
            name, is_active = f"{settings.auth.cookie_name}-session", self.authenticator.is_active
            return CookieSessions(keys, self.store, cookie_name=name, is_active=is_active, **lives)
        if given is not None and not isinstance(given, str | Store):
            _check_protocol("sessions", given, NoneType, SessionProvider)
            return given
        self.session_store = self.store if given is None else self._own(given)
        lives |= {"value_bytes": settings.session_value_bytes, "sign_in_life": settings.sign_in_life}
        return SessionManager(self.session_store, sign_ins=self.store, **lives)

    @property
    def _managed(self) -> list[ManagedCredentials]:
        return [one for one in self.authenticator.credentials if isinstance(one, ManagedCredentials)]

    @property
    def signs_in(self) -> bool:
        """Whether people can sign in here, or only elsewhere."""
        return any(isinstance(one, OwnSignIn) for one in self.authenticator.credentials)

    def address(self, scope: Scope) -> str:
        """The client's address as throttling counts it."""
        return client_address(scope, self._proxies)

    @property
    def stores(self) -> list[Store]:
        """All that is opened and closed with this runtime."""
        return [self.store] if self.session_store is self.store else [self.store, self.session_store]

    def problems(self) -> dict[str, str]:
        """What is wrong with credentials, by their name: an issuer that does not answer, say."""
        found = {str(getattr(one, "name", type(one).__name__)): one.problem() for one in self._managed}
        return {name: problem for name, problem in found.items() if problem is not None}

    # Topics

    async def publish(self, channel: Channel[T], data: T) -> str:
        """Say something to whoever listens to a channel, in any process, from calls or jobs; gives the event's id.

        Raises `TypeError` for data that is not of the topic's type, `TooLarge` past 64 KiB, and `Unavailable`, after
        which the event may have been published or not.
        """
        return await self.broker.publish(channel, data)

    @overload
    def subscribe(
        self, channel: Channel[A], /, *, after: After = None, policy: Policy = "fail"
    ) -> AsyncIterator[Event[A]]: ...
    @overload
    def subscribe(
        self, one: Channel[A], other: Channel[B], /, *, after: After = None, policy: Policy = "fail"
    ) -> AsyncIterator[Event[A | B]]: ...
    @overload
    def subscribe(
        self, *channels: Channel[Any], after: After = None, policy: Policy = "fail"
    ) -> AsyncIterator[Event[Any]]: ...
    def subscribe(
        self, *channels: Channel[Any], after: After = None, policy: Policy = "fail"
    ) -> AsyncIterator[Event[Any]]:
        """The events of some channels, for code outside a call: an agent, a job. See `PotoModule.subscribe`.

        Raises `PastReplay` where events are missing.
        """
        return self.broker.subscribe(channels, after, policy)

    async def who(self, channel: Channel[Any]) -> list[Member]:
        """The users who subscribe to a channel with `presence=True`, in all processes."""
        return await self.broker.who(channel)

    def cors(self) -> CorsArguments:
        """The arguments of `CORSMiddleware` for `allowed_origins`: `app.add_middleware(CORSMiddleware, **poto.cors())`.

        Raises `ConfigurationError` if there are no such origins.
        """
        auth = self.settings.auth
        return cors_arguments(auth.allowed_origins, cookies=auth.cookies)

    # Opening and closing

    async def open(self) -> None:
        """Connect the stores. Routers do it when the application starts, or else at the first call."""
        if not self.is_open:
            await asyncio.shield(self._attempt())

    async def open_for_call(self) -> None:
        """The same, but a store that is away is left to those who need it: calls wait for it once at most."""
        if not self._retry_at:
            with suppress(Unavailable):
                await self.open()
        elif time.monotonic() >= self._retry_at:
            self._attempt()

    def _attempt(self) -> "asyncio.Task[None]":
        loop = asyncio.get_running_loop()
        if self._opening is None or self._opening.get_loop() is not loop:
            # One attempt for all who wait: a store that is away costs each of them one time-out, not one after another.
            self._opening = loop.create_task(self._open_stores(), context=Context())
            self._opening.add_done_callback(self._opened)
        return self._opening

    async def _open_stores(self) -> None:
        look_for_providers()
        add_request_ids()
        for store in self.stores:
            observe_store(getattr(store, "inner", store))
            try:
                await store.open()
            except (ConfigurationError, Unavailable):
                raise
            except Exception as error:  # the driver's: no such database, a wrong password, an unknown option
                setting = "Poto(store=…) or POTO_STORE" if store is self.store else "Poto(sessions=…)"
                raise ConfigurationError(f"The store of {setting} cannot be opened: {error}") from error
        for one in self._managed:
            await one.open()
        self.is_open = True
        self._begin_to_purge()  # an application that is only mounted has no lifespan

    def _opened(self, attempt: "asyncio.Task[None]") -> None:
        if self._opening is attempt:
            self._opening = None
        if not attempt.cancelled():
            is_away = isinstance(attempt.exception(), Unavailable)  # other errors are those of whoever waits
            self._retry_at = time.monotonic() + _RETRY_SECONDS if is_away else 0.0

    async def close(self) -> None:
        """Let go of the stores. A call opens them again."""
        if self._purging is not None:
            self._purging.cancel()
            self._purging = None
        self.is_open = False
        self.passwords.close()
        for one in self._managed:
            await one.close()
        await self.streams.close()
        for store in self.stores:  # also those that were opened by their first use, or before another one failed to
            await store.close()

    def shut_down(self) -> None:
        """End the open streams of this process, and those that begin later, with `shutting_down`.

        For servers of which the library does not see that they stop: call it from whatever does. May be called from
        threads and signal handlers. Other calls go on; an application that starts anew begins anew.
        """
        shut_down()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open while at least one application that includes a router of this runtime runs."""
        self._users_of_lifespan += 1
        hub_of(asyncio.get_running_loop()).shut_down(False)
        try:
            try:
                await self.open()
            except Unavailable as error:
                # A worker that starts while the store is away serves 503 until it is back, as its neighbours do.
                why = traceback.format_exception_only(error.__cause__ or error)[-1].strip()
                log.error("A store does not answer; calls will be refused until it does: %s", why)
            self._begin_to_purge()
            yield
        finally:
            self._users_of_lifespan -= 1
            if self._users_of_lifespan == 0:
                await self.close()

    def _begin_to_purge(self) -> None:
        if (self._purging is None or self._purging.done()) and self.settings.purge_interval > 0:
            self._purging = asyncio.get_running_loop().create_task(self._purge_forever(), context=Context())

    async def purge(self) -> None:
        """Remove what has expired, batch by batch."""
        for store in self.stores:
            removed = 1
            while removed:
                removed = await store.purge()
                await asyncio.sleep(0)
        await self.visitors.purge(self.accounts.remove_visitor)

    async def _purge_forever(self) -> None:
        while True:
            await asyncio.sleep(self.settings.purge_interval)
            try:
                await self.purge()
            except Exception:  # a store may be away for a while: the next round tries again
                log.warning("What has expired could not be removed; the next round tries again", exc_info=True)


def _check_protocol(name: str, given: object, plain: type, protocol: type) -> None:
    wanted = [one for one in (*vars(protocol), *protocol.__annotations__) if one[0] != "_"]
    missing = [one for one in wanted if getattr(given, one, None) is None]
    if missing and not isinstance(given, plain):
        asks = f"{protocol.__module__}.{protocol.__name__}"
        raise ConfigurationError(f"Poto({name}={given!r}) lacks {', '.join(missing)}. Write what {asks} asks for.")


@cache
def default_poto() -> Poto:
    """The runtime of routers that are given none: made once, from the environment.

    `POTO_PREVIOUS_SECRETS` has the secrets before `POTO_SECRET` whose tokens still hold, with spaces between them.
    """
    secret = os.environ.get("POTO_SECRET")
    previous = os.environ.get("POTO_PREVIOUS_SECRETS", "").split()
    return Poto(
        [secret, *previous] if secret else None,
        store=os.environ.get("POTO_STORE", "memory://"),
        **from_environment(),
    )
