"""What attacks from outside found, each with the request that did it."""

import pytest

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
