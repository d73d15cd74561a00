"""Threats 43, 45, 46 and 50: what is kept by caches, shown in logs, held open, or reached by another way."""

import asyncio
import logging
import traceback
from typing import Any

import anyio
import httpx
import pytest

from fastapi_poto import ApiKeys, OwnSignIn, Poto
from fastapi_poto.auth.routes import LoginForm, RefreshRequest, UpgradeRequest
from fastapi_poto.errors import Unavailable
from tests.auth.house import scope
from tests.secret import SECRET
from tests.security.world import NAME, PASSWORD, World, headers_of, world

OF_THE_DATABASE = "hunter2-of-the-database"


def test_43_answers_to_a_caller_are_private(shared: World) -> None:
    """Threat 43: whatever the route, no cache keeps them, and they vary with the credentials; errors too."""
    caller = headers_of(shared.visitor())
    for answer in (*shared.everywhere(caller), shared.http.get("/Vault/reports", headers=caller)):
        assert answer.status_code in (200, 403)
        assert "no-store" in answer.headers["cache-control"], answer.url
        if answer.url.path != "/auth/me":
            assert answer.headers["vary"] == "Authorization, Cookie, X-API-Key", answer.url
    for answer in shared.everywhere({"Authorization": "Bearer junk"}):
        assert (answer.status_code, answer.headers["cache-control"]) == (401, "no-store")
    assert "cache-control" not in shared.get("/Vault/status").headers


@pytest.mark.parametrize(
    "url", [
        f"postgresql://poto:{OF_THE_DATABASE}@127.0.0.1:1/db", f"postgresql://127.0.0.1:1/db?password={OF_THE_DATABASE}",
        f"redis://:{OF_THE_DATABASE}@127.0.0.1:1/0", f"redis://127.0.0.1:1/0?password={OF_THE_DATABASE}",
        f"sentinel://:{OF_THE_DATABASE}@127.0.0.1:1/main", f"redis://:{OF_THE_DATABASE}@127.0.0.1:port/0",
        f"postgresql://poto:{OF_THE_DATABASE}@127.0.0.1:port/db", f"mysql://poto:{OF_THE_DATABASE}@127.0.0.1/db",
        f"poto:{OF_THE_DATABASE}@127.0.0.1/db",
    ],
)  # fmt: skip
def test_45_a_stores_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Threat 45: neither start-up's errors, nor a call's, nor the log, nor anybody's repr has it."""
    said: list[str] = []

    async def use() -> None:
        poto = Poto(SECRET, store=url)
        said.append(repr((poto, poto.store, vars(poto.store))))
        try:
            with pytest.raises(Unavailable) as refused:
                await poto.sign_in.visitor("192.0.2.1")
        finally:
            await poto.close()
        raise refused.value

    caplog.set_level(logging.DEBUG)
    try:
        anyio.run(use)
    except Exception as error:
        said += traceback.format_exception(error)
    assert len(said) > 1
    assert OF_THE_DATABASE not in "".join(said) + caplog.text


def test_45_no_repr_shows_a_secret() -> None:
    """Threat 45: of nothing that holds a token, a key, a password or its hash, nor of what holds that."""

    async def find() -> None:
        poto = Poto(SECRET, credentials=[OwnSignIn(), ApiKeys()], cookies=True)
        user = await poto.accounts.create(NAME, PASSWORD)
        visitor, pair = await poto.sign_in.visitor("a"), await poto.sign_in.login(NAME, PASSWORD, "a")
        key = await poto.keys.create(user.id, name="cron")
        account = await poto.users.find(NAME)
        assert account is not None
        assert account.password_hash is not None
        begun = await poto.token_families.begin(user.id, epoch=0)
        identities = [await poto.authenticator.authenticate(scope(one)) for one in (pair.access_token, key)]
        secrets = [
            *(SECRET, PASSWORD, visitor.password, visitor.access_token, visitor.refresh_token, pair.access_token),
            *(pair.refresh_token, key.split("_", 2)[2], account.password_hash, begun.token),
        ]
        holders: list[Any] = [
            *(poto, visitor, pair, user, account, begun, *identities, await poto.keys.list(user.id)),
            LoginForm(username=NAME, password=PASSWORD, client_secret=SECRET),
            RefreshRequest(refresh_token=pair.refresh_token),
            UpgradeRequest(username=NAME, password=PASSWORD),
            *(vars(poto).values()),
        ]
        shown = "".join(f"{one!r} {one}" for one in holders)
        assert [secret for secret in secrets if secret in shown] == []

    anyio.run(find)


def test_46_a_body_that_stalls() -> None:
    """Threat 46: 300 connections that never send what they promised are answered 408, and hold up nobody."""

    async def stall(url: str) -> list[bytes]:
        host, port = url.removeprefix("http://").split(":")

        async def begin(path: str, kind: str) -> bytes:
            reader, writer = await asyncio.open_connection(host, int(port))
            head = f"POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: {kind}\r\ncontent-length: 100\r\n\r\n{{"
            writer.write(head.encode())
            answer = await reader.read(12)
            writer.close()
            return answer

        routes = [("/auth/refresh", "application/json"), ("/auth/login", "application/x-www-form-urlencoded")]
        held = [asyncio.create_task(begin(*route)) for route in routes * 150]
        async with httpx.AsyncClient(base_url=url) as http:
            assert (await http.get("/Vault/status")).status_code == 200
            assert not any(one.done() for one in held)
        return await asyncio.gather(*held)

    with world(body_timeout=2) as made:
        assert set(anyio.run(stall, made.url)) == {b"HTTP/1.1 408"}


def test_50_no_other_way_in(shared: World) -> None:
    """Threat 50: methods are reached by their paths alone; no other protocol, upgrade or method override is served."""
    caller = headers_of(shared.visitor())
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "Vault_whoami", "arguments": {}}}
    for path in ("/mcp", "/mcp/", "/sse", "/messages/", "/rpc", "/jsonrpc", "/Vault", "/"):
        assert shared.http.post(path, json=call, headers=caller).status_code == 404, path
        assert shared.http.get(path, headers=caller).status_code == 404, path
    for override in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"):
        answer = shared.http.get("/Vault/whoami", headers={**caller, override: "POST"})
        assert answer.status_code == 405
    for header in ("X-Original-URL", "X-Rewrite-URL"):
        answer = shared.http.get("/Vault/status", headers={**caller, header: "/Vault/reports"})
        assert (answer.status_code, answer.json()) == (200, "open")
