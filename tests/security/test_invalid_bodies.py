"""Bodies that do not fit, on a live server."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.security.world import World, headers_of

MANY = b",".join([b"1"] * 200_000)
BODIES = [
    b'{"key":[' + MANY + b'],"value":1}',
    b'{"other":[' + MANY + b"]}",
    b'{"key":"a","value":1,' + b",".join(b'"a%d":1' % number for number in range(40_000)) + b"}",
    b"[" + MANY + b"]",
    b"[" + MANY,
]


@pytest.mark.parametrize("body", BODIES, ids=["numbers", "missing", "unknown", "no object", "no JSON"])
def test_36_invalid_bodies(shared: World, body: bytes) -> None:
    """The answer is at most 64 KiB and 50 errors, and calls beside it are answered while several are refused."""
    pair = shared.visitor()
    headers = {**headers_of(pair), "Content-Type": "application/json"}

    def send(_: int) -> int:
        answer = shared.http.post("/Vault/keep", headers=headers, content=body)
        assert len(answer.content) <= 64 * 1024
        assert len(answer.json()["detail"]) <= 50
        return answer.status_code

    with ThreadPoolExecutor(4) as threads:
        refused = threads.map(send, range(4))
        assert [shared.get("/auth/me", pair["access_token"]).status_code for _ in range(5)] == [200] * 5
        assert list(refused) == [422] * 4


def test_36_secrets_in_invalid_bodies(shared: World) -> None:
    """What was typed for a password, or beside it, is never sent back."""
    for body in ({"passwrd": "hunter2"}, {"refresh_token": {"deep": ["hunter2"]}}, ["hunter2"]):
        answer = shared.http.post("/auth/refresh", json=body)
        assert answer.status_code == 422
        assert "hunter2" not in json.dumps(answer.json())
