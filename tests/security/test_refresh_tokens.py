"""Threats 33 and 42: refresh tokens of other applications, and those that nobody made."""

from pathlib import Path

import pytest

from fastapi_poto.stores import store_from_url
from tests.security.world import H1, SECRET, is_refused, world


def test_33_another_applications_refresh_token(tmp_path: Path) -> None:
    """Threat 33: two applications in one store: what one gave signs nobody in to the other, whose sign-ins stay."""
    url = f"sqlite:///{tmp_path}/shared.db"
    with (
        world(store=store_from_url(url), issuer="a", audience="a") as one,
        world(SECRET[::-1], store=store_from_url(url), issuer="b", audience="b") as two,
    ):
        pair = one.visitor()
        spent = one.visitor()
        one.refresh(spent)
        for world_ahead in (one, two):
            world_ahead.clock.advance(60)
        for token in (pair, spent):
            assert is_refused(two.refresh(token), H1)
            assert is_refused(two.get("/Vault/me", token["access_token"]), H1)
        assert one.refresh(pair).status_code == 200


def test_42_made_up_refresh_tokens(caplog: pytest.LogCaptureFixture) -> None:
    """Threat 42: with the id and the family of a log, a made-up token is a plain 401: no alarm, and nothing ends."""
    with world() as own:
        pair = own.visitor()
        head, user, family, drawn, mac = pair["refresh_token"].split(".")
        for made_up in (
            f"{head}.{user}.{family}.{'A' * 43}.{mac}",
            f"{head}.{user}.{family}.{drawn}.{'A' * 22}",
            f"{head}.{user}.{'A' * 22}.{drawn}.{mac}",
        ):
            assert is_refused(own.refresh({"refresh_token": made_up}), H1)
        assert own.get("/Vault/me", pair["access_token"]).status_code == 200
        assert own.refresh(pair).status_code == 200
    assert "refresh_reused" not in caplog.text


def test_42_a_chain_of_tabs() -> None:
    """Threat 42: three tabs that refresh in a chain within ten seconds all go on; what was spent before is theft."""
    with world() as own:
        first = own.visitor()
        second = own.refresh(first).json()
        third = own.refresh(second).json()
        own.clock.advance(9)
        assert own.refresh(first).json()["refresh_token"] == third["refresh_token"]
        assert own.get("/Vault/me", second["access_token"]).status_code == 200
        own.clock.advance(2)
        assert is_refused(own.refresh(first), H1)
        assert is_refused(own.refresh(third), H1)
