"""Threats 47 and 48: external issuers and API keys, at a live server with all ways to know a caller."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from joserfc.jwk import RSAKey

from fastapi_poto import OIDC, ApiKeys, OwnSignIn
from tests.identity.issuer import Issuer, public, serve_issuer, sign
from tests.security.world import H1, World, b64, is_refused, world


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with serve_issuer() as made:
        yield made


@pytest.fixture(scope="module")
def house(issuer: Issuer) -> Iterator[World]:
    corp = OIDC(issuer.url, audience="shop", name="corp", roles="realm_access.roles")
    with world(credentials=[OwnSignIn(), corp, ApiKeys()], recheck_interval=0.05) as made:
        yield made


def statuses(house: World, token: str) -> set[int]:
    return {answer.status_code for answer in house.everywhere({"Authorization": f"Bearer {token}"})}


@contextmanager
def stream(house: World, token: str) -> Iterator[Iterator[str]]:
    headers = {"Authorization": f"Bearer {token}"}
    with house.http.stream("POST", "/Vault/tick", json={}, headers=headers) as response:
        assert response.status_code == 200
        yield response.iter_lines()


def test_47_an_issuers_users_and_nobody_elses(house: World, issuer: Issuer) -> None:
    """A token of its own is let in everywhere, as its user; forged ones nowhere, challenged as any bad token is."""
    good = issuer.token()
    assert statuses(house, good) == {200}
    assert house.get("/Vault/me", good).json()["id"] == "corp:ann"
    mine = RSAKey.generate_key(2048)
    header, claims = {"alg": "RS256", "kid": "one"}, issuer.claims()
    _, payload, signature = good.split(".")
    none, symmetric = b64(b'{"alg":"none","kid":"one"}'), b64(b'{"alg":"HS256","kid":"one"}')
    for forged in (
        issuer.token(key=mine),
        sign({**header, "jwk": public("one", mine)}, claims, mine),
        sign({**header, "jku": f"{issuer.url}/jwks"}, claims, issuer.keys["one"]),
        f"{none}.{payload}.",
        f"{symmetric}.{payload}.{signature}",
        issuer.token(iss="https://elsewhere.example"),
        issuer.token(aud="another"),
        issuer.token(exp=int(time.time()) - 60),
    ):
        answers = house.everywhere({"Authorization": f"Bearer {forged}"})
        assert all(is_refused(answer, H1) for answer in answers)


def test_47_a_flood_of_unknown_keys(house: World, issuer: Issuer) -> None:
    """500 of them make one request to the issuer."""
    good = issuer.token()
    assert house.get("/Vault/me", good).status_code == 200
    before = issuer.fetched["/jwks"]
    _, payload, signature = good.split(".")
    for n in range(500):
        header = b64(b'{"alg":"RS256","kid":"%d"}' % n)
        assert house.get("/Vault/me", f"{header}.{payload}.{signature}").status_code == 401
    assert issuer.fetched["/jwks"] - before <= 1


def test_47_who_is_blocked_here_is_out(house: World, issuer: Issuer) -> None:
    """Whatever the issuer says, at the next call and in open streams."""
    token = issuer.token(sub="bob")
    with stream(house, token) as events:
        next(events)
        house.do(house.poto.external_users.set_disabled("corp:bob"))
        assert statuses(house, token) == {401}
        for _ in events:
            pass  # it ends
    assert house.get("/Vault/me", issuer.token()).status_code == 200


def test_48_never_more_than_the_owner(house: World) -> None:
    """A key has no role that its owner lost, and is dead with its owner."""
    user_id = house.user("carl", "admin")
    key = house.do(house.poto.keys.create(user_id, name="cron", roles=["admin"]))
    assert house.get("/Vault/reports", key).status_code == 200
    house.do(house.poto.users.set_roles(user_id, []))  # type: ignore[attr-defined]
    assert house.get("/Vault/reports", key).status_code == 403
    house.do(house.poto.users.set_disabled(user_id))  # type: ignore[attr-defined]
    assert statuses(house, key) == {401}


def test_48_dead_at_the_next_call_and_never_logged(house: World, caplog: pytest.LogCaptureFixture) -> None:
    """A revoked key is 401 everywhere, its stream ends, and no log has its secret."""
    caplog.set_level(logging.DEBUG)
    key = house.do(house.poto.keys.create(house.user("dora"), name="cron"))
    assert statuses(house, key) == {200}
    with stream(house, key) as events:
        next(events)
        house.do(house.poto.keys.revoke(key.split("_")[1]))
        for _ in events:
            pass  # it ends
    answers = house.everywhere({"Authorization": f"Bearer {key}"})
    assert all(is_refused(answer, H1) for answer in answers)
    assert key.split("_", 2)[2] not in caplog.text


def test_48_guessing_is_throttled() -> None:
    """Past 30 wrong keys of one address further ones are 429; the right one is let in."""
    wrong = f"poto_{'0' * 16}_{'a' * 43}"
    with world(credentials=[OwnSignIn(), ApiKeys()]) as house:
        key = house.do(house.poto.keys.create(house.user("emil"), name="cron"))
        assert [house.get("/Vault/me", wrong).status_code for _ in range(40)] == [401] * 30 + [429] * 10
        assert house.get("/Vault/me", key).status_code == 200
