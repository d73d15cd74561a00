"""Threat 19: the store is away. With writers at work and nothing lost: tests/stores/test_faults.py."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.security.world import NAME, PASSWORD, World, world
from tests.servers import PostgresServer, RedisServer


@pytest.fixture(params=["redis", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer | PostgresServer]:
    with (RedisServer if request.param == "redis" else PostgresServer)(tmp_path, durable=True) as made:
        yield made


def timed(own: World, verb: str, path: str, **arguments: object) -> tuple[httpx.Response, float]:
    start = time.perf_counter()
    answer = own.http.request(verb, path, **arguments)  # type: ignore[arg-type]
    return answer, time.perf_counter() - start


def served(own: World, verb: str, path: str, **arguments: object) -> httpx.Response:
    """The first answer that is not 503: the store is back, and its first connections may be slow on a busy machine."""
    end = time.monotonic() + 10
    while (answer := timed(own, verb, path, **arguments)[0]).status_code == 503:
        assert time.monotonic() < end
        time.sleep(0.05)
    return answer


def test_19_the_store_is_down(server: RedisServer | PostgresServer) -> None:
    """Threat 19: 503 with Retry-After within 1 s, the health route too; nobody gets in; it recovers by itself."""
    with world(store=server.url) as own:
        pair = own.visitor()
        bearer = {"Authorization": f"Bearer {pair['access_token']}"}
        upgraded = own.post("/auth/upgrade", pair, username=NAME, password=PASSWORD).json()
        bearer = {"Authorization": f"Bearer {upgraded['access_token']}"}
        assert own.http.post("/Vault/keep", headers=bearer, json={"key": "k", "value": 1}).status_code == 204
        attempts: list[tuple[str, str, dict[str, object]]] = [
            ("GET", "/Vault/me", {"headers": bearer}),
            ("POST", "/Vault/whoami", {"headers": bearer, "json": {}}),
            ("POST", "/Vault/tick", {"headers": bearer, "json": {}}),
            ("GET", "/Vault/kept", {"headers": bearer}),
            ("GET", "/plain", {"headers": bearer}),
            ("GET", "/auth/me", {"headers": bearer}),
            ("POST", "/auth/login", {"data": {"username": NAME, "password": PASSWORD}}),
            ("POST", "/auth/refresh", {"json": {"refresh_token": upgraded["refresh_token"]}}),
            ("POST", "/auth/visitor", {}),
            ("POST", "/auth/logout", {"headers": bearer}),
            ("GET", "/auth/health", {}),
        ]
        assert own.http.get("/auth/health").json() == {"status": "ok"}
        for stop in (server.kill, server.pause):
            stop()
            for verb, path, arguments in attempts:
                answer, seconds = timed(own, verb, path, **arguments)
                assert answer.status_code == 503, (path, answer.text)
                assert int(answer.headers["retry-after"]) >= 1
                assert answer.json()["code"] == "unavailable"
                # 1 s (tests/stores/test_faults.py holds it to that) and what a busy machine adds.
                assert seconds < 2, path
            assert own.http.get("/Vault/status").json() == "open"
            # Who is refused anyway is refused without the store.
            assert own.get("/Vault/me").status_code == 401
            assert own.get("/Vault/me", "x.y.z").status_code == 401
            if stop == server.kill:
                server.start()
            else:
                server.resume()
            assert served(own, "GET", "/Vault/kept", headers=bearer).json() == {"k": 1}
            assert served(own, "GET", "/auth/health").json() == {"status": "ok"}
            signed_in = served(own, "POST", "/auth/login", data={"username": NAME, "password": PASSWORD})
            assert signed_in.json()["user_id"] == pair["user_id"]
        assert own.http.post("/auth/logout", headers=bearer).status_code == 204
        assert own.get("/Vault/me", upgraded["access_token"]).status_code == 401
