"""Tests of applications move the clock with the tools that they have."""

import time

import freezegun
import pytest
import time_machine

from fastapi_poto import Poto
from fastapi_poto.errors import Unauthenticated
from tests.auth.house import scope
from tests.secret import SECRET

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("tool", ["freezegun", "time-machine"])
async def test_the_clock_is_moved(tool: str) -> None:
    """Access tokens expire, refresh tokens after them, in a runtime that was made before the clock was moved."""
    poto = Poto(SECRET)
    pair = await poto.sign_in.visitor("a")
    await poto.sessions.of_user(pair.user_id).set("key", 1)  # type: ignore[attr-defined]

    def at(seconds: float) -> object:
        then = time.time() + seconds
        return freezegun.freeze_time(_utc(then)) if tool == "freezegun" else time_machine.travel(then, tick=False)

    with at(14 * 60):  # type: ignore[attr-defined]
        assert await poto.authenticator.authenticate(scope(pair.access_token)) is not None
    with at(16 * 60):  # type: ignore[attr-defined]
        with pytest.raises(Unauthenticated):
            await poto.authenticator.authenticate(scope(pair.access_token))
        pair = await poto.sign_in.refresh(pair.refresh_token, "a")  # type: ignore[assignment]
        assert await poto.authenticator.authenticate(scope(pair.access_token)) is not None
    with at(8 * 24 * 3_600), pytest.raises(Unauthenticated):  # type: ignore[attr-defined]
        await poto.sign_in.refresh(pair.refresh_token, "a")


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
