"""What attacks from outside found, each with the request that did it."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fastapi_poto import Poto, PotoModule, poto_router
from tests.secret import SECRET
from tests.security.world import World, headers_of


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
@pytest.mark.parametrize(
    "body", ['{"unknown": %s}', '{"key": [{"deep": %s}], "value": 1}', '{"key": "a", "value": %s}']
)
@pytest.mark.parametrize("path", ["/Vault/keep", "/Vault/say"])
def test_numbers_that_json_lacks_are_refused(shared: World, path: str, body: str, number: str) -> None:
    """A body that is refused is a 422, not a 500, though the answer repeats a number that JSON cannot write."""
    headers = {**headers_of(shared.visitor()), "Content-Type": "application/json"}
    answer = shared.http.post(path, headers=headers, content=body % number)
    assert answer.status_code == 422
    assert answer.json()["detail"]


class Diary(PotoModule):
    async def write(self, key: str, by: int = 1) -> int:
        return await self.session.increment(key, by)


@pytest.mark.parametrize(("key", "by"), [("a\0b", 1), ("k" * 300, 1), ("n", 2**63), ("n", -(2**70))])
def test_a_session_key_or_a_number_of_the_clients(key: str, by: int) -> None:
    """What a method passes on to the session is refused as the client's mistake, 400, and not as the server's."""
    app = FastAPI()
    app.include_router(poto_router(Diary, poto=Poto(SECRET)))
    with TestClient(app) as client:
        token = client.post("/auth/visitor").json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = client.post("/Diary/write", json={"key": key, "by": by}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "session_value")
