"""Threats 29, 30 and 37: which secrets an application starts with, and how they rotate."""

import logging
import math
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastapi_poto import ConfigurationError, Poto
from fastapi_poto.stores.memory import MemoryStore
from tests.secret import SECRET
from tests.security.world import H1, World, is_refused, opened, world


@pytest.mark.parametrize("secret", ["", "x", "x" * 31, "changeme" * 5, "your-256-bit-secret" * 3, "secret" * 8])
@pytest.mark.parametrize("store", ["memory://", "sqlite"])
@pytest.mark.parametrize("strict", [True, False])
def test_29_weak_secrets(secret: str, store: str, strict: bool, tmp_path: Path) -> None:
    """Threat 29: too short or a known placeholder: refused at start-up, always, with the cure."""
    url = store if store == "memory://" else f"sqlite:///{tmp_path}/poto.db"
    with pytest.raises(ConfigurationError, match="token_urlsafe"):
        Poto(secret, store=url, strict=strict)


def test_29_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Threat 29: in memory one is made, with one warning; with a store that lasts, or strict, it is refused."""
    with caplog.at_level(logging.WARNING):
        made = Poto()
    assert len(caplog.records) == 1
    assert "POTO_SECRET" in caplog.text
    assert made.secrets.current.hex() not in caplog.text
    assert made.secrets.current != Poto().secrets.current
    with pytest.raises(ConfigurationError, match="POTO_SECRET"):
        Poto(strict=True)
    for store in (f"sqlite:///{tmp_path}/poto.db", "redis://127.0.0.1:1", "postgresql://127.0.0.1:1/x"):
        with pytest.raises(ConfigurationError, match="POTO_SECRET"):
            Poto(store=store)


@pytest.mark.parametrize(
    "option",
    [
        {"refresh_idle": math.inf, "refresh_absolute": math.inf},
        *({"allowed_origins": [one]} for one in ("*", "null", "", "app.example", "https://*.example", "https://a.b/c")),
        {"allowed_origins": "https://app.example"},
    ],
)
def test_settings_that_could_not_hold(option: dict[str, Any]) -> None:
    """A life without end, and an origin that no page has or any sandboxed page: refused at start-up, by name."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        Poto(SECRET, cookies=True, **option)
    Poto(SECRET, allowed_origins=["https://app.example", "http://[::1]:80/", "app://localhost"])


def test_30_secrets_rotate() -> None:
    """Threat 30: a token of the previous secret is good, new ones use the current; a removed one is 401."""
    new, store = secrets.token_urlsafe(48), MemoryStore()
    with world({"a": SECRET}, store=store) as before:
        pair = before.visitor()
        users = before.poto.users
        assert opened(pair["access_token"])[0]["kid"] == "a"
    with world({"b": new, "a": SECRET}, store=store, users=users) as during:
        assert during.get("/Vault/me", pair["access_token"]).status_code == 200
        newer = during.refresh(pair).json()
        assert opened(newer["access_token"])[0]["kid"] == "b"
        assert during.get("/Vault/me", newer["access_token"]).status_code == 200
    with world({"b": new}, store=store, users=users) as after:
        assert is_refused(after.get("/Vault/me", pair["access_token"]), H1)
        assert after.get("/Vault/me", newer["access_token"]).status_code == 200
        newest = after.refresh(newer)
        assert newest.status_code == 200
    with world({"a": new}, store=store, users=users) as renamed:
        # The old name with another secret behind it opens nothing.
        assert is_refused(renamed.get("/Vault/me", pair["access_token"]), H1)


def test_30_unnamed_secrets_rotate_too() -> None:
    """Threat 30: a list of secrets, the current one first, as `POTO_SECRET` gives it."""
    new, store = secrets.token_urlsafe(48), MemoryStore()
    with world(SECRET, store=store) as before:
        pair = before.visitor()
        users = before.poto.users
    with world([new, SECRET], store=store, users=users) as during:
        assert during.get("/Vault/me", pair["access_token"]).status_code == 200
    with world([new], store=store, users=users) as after:
        assert is_refused(after.get("/Vault/me", pair["access_token"]), H1)


def test_30_session_cookies_too() -> None:
    """Threat 30: a session cookie under the previous secret opens, under a removed one it is an empty session."""
    new, store = secrets.token_urlsafe(48), MemoryStore()

    def kept(own: World, cookie: str, pair: dict[str, str]) -> object:
        headers = {"Authorization": f"Bearer {pair['access_token']}", "Cookie": cookie}
        answer = own.http.get("/Vault/kept", headers=headers)
        own.http.cookies.clear()
        return answer.json()

    with world(SECRET, store=store, sessions="cookie") as before:
        pair = before.visitor()
        users = before.poto.users
        cookie = before.post("/Vault/keep", pair, key="k", value=1).headers["set-cookie"].partition(";")[0]
    with world([new, SECRET], store=store, users=users, sessions="cookie") as during:
        assert kept(during, cookie, pair) == {"k": 1}
    with world(new, store=store, users=users, sessions="cookie") as after:
        fresh = after.login(pair["user_id"], pair["password"]).json()
        assert kept(after, cookie, fresh) == {}


@pytest.mark.parametrize(
    "secret",
    ["super-secret-jwt-token-with-at-least-32-characters-long", "Xq3-fV9tKz7LwPe2RbYm5HdNc8Ju4Sga",
     "0123456789abcdef0123456789abcdef", "a" * 32, "change-me-to-something-long-and-random-please"],
)  # fmt: skip
def test_37_secrets_that_others_know(secret: str, tmp_path: Path) -> None:
    """Threat 37: published, monotonous, sequential or prose: no server starts, with one of the environment either."""
    with pytest.raises(ConfigurationError, match="published"):
        Poto(secret)
    environment = {**os.environ, "POTO_SECRET": secret, "PYTHONPATH": os.getcwd()}
    (tmp_path / "shop.py").write_text("import fastapi, fastapi_poto\napp = fastapi.FastAPI()\n"
                                      "app.include_router(fastapi_poto.poto_router())\n")  # fmt: skip
    command = [sys.executable, "-m", "uvicorn", "shop:app", "--port", "0"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode != 0
    assert "token_urlsafe" in done.stderr
    assert secret not in done.stderr
