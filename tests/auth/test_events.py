"""What happened at sign-in is told, with fields, and without secrets."""

import logging

import pytest

from fastapi_poto import Poto
from fastapi_poto.auth.events import Audit, AuditEvent
from fastapi_poto.errors import PotoError
from tests.auth.house import House, scope
from tests.secret import SECRET

pytestmark = pytest.mark.anyio


async def walk(house: House) -> list[str]:
    """Everything that tells something; the secrets that were used on the way."""
    poto, sign_in = house.poto, house.poto.sign_in
    visitor = await sign_in.visitor("192.0.2.1")
    secrets = [visitor.access_token, visitor.refresh_token, visitor.password or ""]
    identity = await poto.authenticator.authenticate(scope(visitor.access_token))
    assert identity is not None
    named = await sign_in.upgrade(identity, "ann", "correct horse")
    refreshed = await sign_in.refresh(named.refresh_token, "192.0.2.1")
    house.clock.advance(60)
    for _ in range(7):
        with pytest.raises(PotoError):
            await sign_in.login("ann", "wrong horse", "192.0.2.1")
    with pytest.raises(PotoError):
        await sign_in.login("my secret typed in the wrong field", "x", "192.0.2.1")
    with pytest.raises(PotoError):
        await sign_in.refresh(named.refresh_token, "192.0.2.1")
    house.clock.advance(60)
    pair = await sign_in.login("ann", "correct horse", "192.0.2.1")
    identity = await poto.authenticator.authenticate(scope(pair.access_token))
    assert identity is not None
    await sign_in.logout(identity)
    await poto.accounts.change_password(pair.user_id, "battery staple")
    await poto.accounts.remove(pair.user_id)
    for one in (named, refreshed, pair):
        secrets += [one.access_token, one.refresh_token]
    return [*secrets, "correct horse", "wrong horse", "battery staple", "typed in the wrong field"]


async def test_every_event_is_told_once_with_its_fields(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """The log record's attributes are the event's fields; the hook sees the same."""
    with caplog.at_level(logging.INFO, "fastapi_poto.audit"):
        await walk(house)
    assert house.event_names() == [
        "visitor_created", "upgraded", "refreshed", *["sign_in_refused"] * 5, "throttled", "throttled",
        "sign_in_refused", "refresh_reused", "signed_in", "signed_out", "signed_out_everywhere", "password_changed",
        "user_removed",
    ]  # fmt: skip
    records = [record for record in caplog.records if record.name == "fastapi_poto.audit"]
    assert [record.__dict__["event"] for record in records] == house.event_names()
    refused = next(record for record in records if record.__dict__["event"] == "sign_in_refused")
    assert refused.levelno == logging.WARNING
    assert refused.__dict__["reason"] == "password"
    assert refused.__dict__["address"] == "192.0.2.1"
    assert refused.__dict__["user_id"] == house.events[0].fields["user_id"]


async def test_no_secret_is_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """No token, no password and no name that was typed stands in any record or event."""
    with caplog.at_level(logging.DEBUG):
        secrets = await walk(house)
    told = caplog.text + repr([record.__dict__ for record in caplog.records]) + repr(house.events)
    assert not [secret for secret in secrets if secret in told]


async def test_a_callback_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Signing in goes on; the failure is in the log."""

    def hook(event: AuditEvent) -> None:
        raise RuntimeError("the hook is broken")

    poto = Poto(SECRET, on_event=hook)
    assert await poto.sign_in.visitor("a")
    assert "the hook is broken" in caplog.text


def test_fields_without_a_value_are_left_out() -> None:
    """None is not told."""
    seen: list[AuditEvent] = []
    Audit(seen.append)("signed_in", user_id="u", family=None)
    assert seen == [AuditEvent("signed_in", {"user_id": "u"})]
