"""The suites of concurrent callers, with an issuer's tokens and with API keys, on 4 processes behind one address."""

import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fastapi_poto import ApiKeys, OwnSignIn, Poto
from tests.e2e.caller import Caller
from tests.e2e.test_context import (  # noqa: F401 - run here
    test_fifty_generators,
    test_fifty_sync_generators,
    test_ten_calls_of_one_client,
    test_ten_clients_times_ten_calls,
    test_twenty_clients,
)
from tests.e2e.test_isolation import (  # noqa: F401 - run here
    test_abandoned_streams_leave_nothing_behind,
    test_errors_leave_nothing_behind,
    test_long_calls_beside_short_ones,
    test_mixed_generators_and_calls,
    test_rapid_bursts,
    test_sessions_in_streams_are_their_callers,
)
from tests.e2e.test_session import (  # noqa: F401 - run here
    test_clear,
    test_hundred_operations,
    test_ten_clients_write_the_same_key,
    test_twenty_keys_at_once,
)
from tests.identity.issuer import Issuer, serve_issuer
from tests.processes import serve_processes
from tests.secret import SECRET
from tests.servers import RedisServer

pytestmark = pytest.mark.anyio

PROCESSES = 4


class Balanced(httpx.AsyncHTTPTransport):
    """Sends each request to the next process."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__(limits=httpx.Limits(max_connections=None, max_keepalive_connections=None))
        self._ports = itertools.cycle(httpx.URL(url).port for url in urls)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(port=next(self._ports))
        return await super().handle_async_request(request)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Issuer, str, list[str]]]:
    folder: Path = tmp_path_factory.mktemp("redis")
    with RedisServer(folder) as redis, serve_issuer() as issuer:
        store = f"{redis.url}?timeout=15"
        env = {"STORE": store, "ISSUER": issuer.url}
        with serve_processes("tests.identity.app:make_app", PROCESSES, factory=True, env=env) as lives:
            yield issuer, store, [live.url for live in lives]


@pytest.fixture
async def http(service: Any, anyio_backend: Any) -> AsyncIterator[httpx.AsyncClient]:
    urls = service[2]
    async with httpx.AsyncClient(transport=Balanced(urls), base_url=urls[0], timeout=120) as client:
        yield client


@pytest.fixture(params=["issuer", "key"])
async def newcomer(
    request: pytest.FixtureRequest, service: Any, anyio_backend: Any
) -> AsyncIterator[Callable[[], Awaitable[dict[str, str]]]]:
    """Makes somebody whom the service knows by the way under test."""
    issuer, store, _ = service
    poto = Poto(SECRET, store=store, credentials=[OwnSignIn(), ApiKeys()])

    async def by_token() -> dict[str, str]:
        subject = secrets.token_hex(8)
        return {"user_id": f"corp:{subject}", "access_token": issuer.token(sub=subject)}

    async def by_key() -> dict[str, str]:
        user = await poto.accounts.create(secrets.token_hex(8), None)
        return {"user_id": user.id, "access_token": await poto.keys.create(user.id, name="test")}

    yield by_token if request.param == "issuer" else by_key
    await poto.close()


@pytest.fixture(autouse=True)
def everybody(newcomer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who would be a visitor is known by the way under test."""

    async def visitor(http: httpx.AsyncClient) -> Caller:
        return Caller(http, await newcomer())

    monkeypatch.setattr(Caller, "visitor", visitor)


@pytest.fixture
async def visitor(http: httpx.AsyncClient) -> Caller:
    return await Caller.visitor(http)


@pytest.fixture
def new_visitor(http: httpx.AsyncClient) -> Callable[[], Awaitable[Caller]]:
    return lambda: Caller.visitor(http)


async def test_the_way_under_test_is_the_one_that_is_asked(visitor: Caller) -> None:
    """These callers are no visitors."""
    me = await visitor.value("GET", "/auth/me")
    assert (me["user_id"], me["visitor"]) == (visitor.id, False)
    assert visitor.id.startswith("corp:") or visitor.pair["access_token"].startswith("poto_")
