"""Many sign in at once: all succeed, nobody gets another's identity."""

import asyncio
import secrets

import httpx
import pytest

from tests.e2e.caller import Caller, Refused, new_client
from tests.e2e.conftest import APP
from tests.processes import serve_process

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("count", [10, 50, 100])
async def test_visitors_at_once(http: httpx.AsyncClient, count: int) -> None:
    """All are signed in under ids and tokens of their own, and each token speaks for its owner."""
    visitors = await asyncio.gather(*(Caller.visitor(http) for _ in range(count)))
    assert len({visitor.id for visitor in visitors}) == count
    assert len({visitor.pair["access_token"] for visitor in visitors}) == count
    assert len({visitor.pair["refresh_token"] for visitor in visitors}) == count
    assert len({visitor.pair["password"] for visitor in visitors}) == count
    assert await asyncio.gather(*(visitor.call("/Who/me") for visitor in visitors)) == [v.id for v in visitors]


async def test_an_office_of_visitors_under_the_defaults() -> None:
    """100 from one address at once pass the default limits of a server that nobody configured."""
    with serve_process(APP, factory=True) as live:
        async with new_client(live.url) as http:
            visitors = await asyncio.gather(*(Caller.visitor(http) for _ in range(100)))
            assert len({visitor.id for visitor in visitors}) == 100


async def test_named_users_at_once(http: httpx.AsyncClient) -> None:
    """20 named users sign in at once; each is who they were when they registered."""
    mark = secrets.token_hex(4)
    users: dict[str, str] = {}
    for number in range(20):
        visitor = await Caller.visitor(http)
        name = f"user-{mark}-{number}"
        body = {"username": name, "password": f"password of {name}"}
        upgraded = await visitor.value("POST", "/auth/upgrade", json=body)
        assert upgraded["user_id"] == visitor.id
        users[name] = visitor.id
    signed_in = await asyncio.gather(*(Caller.login(http, name, f"password of {name}") for name in users))
    assert [caller.id for caller in signed_in] == list(users.values())
    assert await asyncio.gather(*(caller.call("/Who/me") for caller in signed_in)) == list(users.values())


async def test_a_visitor_signs_in_again_with_the_password_shown_once(http: httpx.AsyncClient) -> None:
    """The same user id and session, under a new token."""
    visitor = await Caller.visitor(http)
    await visitor.call("/Keep/set", key="colour", value="green")
    again = await Caller.login(http, visitor.id, visitor.pair["password"])
    assert again.id == visitor.id
    assert again.pair["access_token"] != visitor.pair["access_token"]
    assert await again.call("/Keep/value", key="colour") == "green"


async def test_a_sign_in_lasts(visitor: Caller) -> None:
    """One token serves many calls, on kept connections and on new ones, and a stream between them."""
    for _ in range(5):
        assert await visitor.call("/Who/me") == visitor.id
        assert await visitor.items("/Who/names") == [visitor.id] * 3
        async with new_client(str(visitor.http.base_url)) as fresh:
            assert await visitor.at(fresh).call("/Who/me") == visitor.id


async def test_a_refresh_keeps_the_user_and_the_session(visitor: Caller) -> None:
    """New tokens, the same user and values."""
    await visitor.call("/Keep/set", key="before", value=[1, 2])
    pair = await visitor.value("POST", "/auth/refresh", json={"refresh_token": visitor.pair["refresh_token"]})
    fresh = Caller(visitor.http, pair)
    assert pair["access_token"] != visitor.pair["access_token"]
    assert await fresh.call("/Who/me") == visitor.id
    assert await fresh.call("/Keep/value", key="before") == [1, 2]


async def test_an_upgrade_keeps_the_user_and_the_session(http: httpx.AsyncClient, visitor: Caller) -> None:
    """A visitor who takes a name and a password is the same user with the same session."""
    await visitor.call("/Keep/set", key="basket", value=["tea"])
    name = f"named-{secrets.token_hex(6)}"
    body = {"username": name, "password": "long enough a password"}
    pair = await visitor.value("POST", "/auth/upgrade", json=body)
    assert pair["user_id"] == visitor.id
    signed_in = await Caller.login(http, name, "long enough a password")
    assert await signed_in.call("/Keep/value", key="basket") == ["tea"]
    me = await signed_in.value("GET", "/auth/me")
    assert (me["user_id"], me["visitor"]) == (visitor.id, False)


async def test_after_logout_the_token_is_dead_and_the_user_lives(http: httpx.AsyncClient) -> None:
    """Calls and streams refuse the token with 401; the user signs in again, to an empty session."""
    visitor = await Caller.visitor(http)
    await visitor.call("/Keep/set", key="a", value=1)
    assert await visitor.value("POST", "/auth/logout") is None
    for attempt in (visitor.call("/Who/me"), visitor.items("/Who/names"), visitor.value("GET", "/auth/me")):
        with pytest.raises(Refused) as refused:
            await attempt
        assert refused.value.status == 401
        assert 'error="invalid_token"' in refused.value.headers["www-authenticate"]
    again = await Caller.login(http, visitor.id, visitor.pair["password"])
    assert await again.value("GET", "/Keep/all") == {}


async def test_without_a_token(http: httpx.AsyncClient) -> None:
    """401 with a challenge, for calls and streams alike, and the same body."""
    nobody = Caller(http)
    bodies = []
    for attempt in (nobody.call("/Who/me"), nobody.items("/Who/names"), nobody.value("GET", "/Verbs/item?number=1")):
        with pytest.raises(Refused) as refused:
            await attempt
        assert refused.value.status == 401
        assert refused.value.headers["www-authenticate"].startswith("Bearer realm=")
        assert refused.value.headers["cache-control"] == "no-store"
        bodies.append(refused.value.body)
    assert bodies[0] == bodies[1] == bodies[2]
