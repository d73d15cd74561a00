"""Calls and streams in general: verbs, answers, errors, sizes."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.e2e.caller import Caller, Refused

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("verb", "path", "arguments", "answer"),
    [
        ("GET", "/Verbs/item?number=1", {}, "got 1 None"),
        ("GET", "/Verbs/item?number=1&tags=a&tags=b", {}, "got 1 ['a', 'b']"),
        ("POST", "/Verbs/item", {"json": {"number": 2}}, "posted 2"),
        ("PUT", "/Verbs/item", {"json": {"number": 3}}, "put 3 nameless"),
        ("PUT", "/Verbs/item", {"json": {"number": 3, "name": "n"}}, "put 3 n"),
        ("PATCH", "/Verbs/item", {"json": {"number": 4}}, "patched 4"),
        ("DELETE", "/Verbs/item?number=5", {}, "deleted 5"),
        ("POST", "/Verbs/plain", {"json": {"left": 1}}, 3),
        ("POST", "/Verbs/plain", {"json": {"left": 1, "right": -1}}, 0),
        ("PUT", "/Verbs/renamed-over-the-wire", {}, "renamed"),
    ],
)
async def test_verbs(visitor: Caller, verb: str, path: str, arguments: dict[str, Any], answer: object) -> None:
    """A prefix of the name is the verb; parameters are the query of GET and DELETE, else one JSON object."""
    assert await visitor.value(verb, path, **arguments) == answer


async def test_none_is_204(visitor: Caller) -> None:
    """A method that returns None answers 204 with no body."""
    response = await visitor.send("POST", "/Verbs/nothing", json={})
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"json": {}}, ["body", "left"]),
        ({"json": {"left": "one"}}, ["body", "left"]),
        ({"json": {"left": 1, "unknown": 2}}, ["body", "unknown"]),
        ({"json": [1]}, ["body"]),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, ["body"]),
    ],
)
async def test_a_wrong_body_is_422(visitor: Caller, body: dict[str, Any], place: list[str]) -> None:
    """With FastAPI's list, each entry naming its place."""
    headers = {**visitor.headers, **body.pop("headers", {})}
    response = await visitor.http.post("/Verbs/plain", headers=headers, **body)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][: len(place)] == place


async def test_paths_that_are_not_there(visitor: Caller) -> None:
    """404 for what does not exist or is private, 405 for a verb that a path has not."""
    for path in ("/Verbs/absent", "/Absent/plain", "/Verbs/_private", "/Verbs/__init__", "/verbs/plain", "/Verbs"):
        assert (await visitor.send("POST", path, json={})).status_code == 404, path
    wrong = await visitor.send("DELETE", "/Verbs/plain")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


async def test_an_own_error(visitor: Caller) -> None:
    """A PotoError's status, code, message and data reach the caller."""
    with pytest.raises(Refused) as refused:
        await visitor.call("/Verbs/fail", how="own")
    assert refused.value.status == 429
    assert refused.value.body == {"code": "quota_exceeded", "detail": "enough for today", "data": {"limit": 3}}


@pytest.mark.parametrize("how", ["value", "plain"])
async def test_an_unexpected_error_tells_nothing(visitor: Caller, how: str) -> None:
    """500 without the exception's text."""
    response = await visitor.send("POST", "/Verbs/fail", json={"how": how})
    assert response.status_code == 500
    assert "secret" not in response.text


async def test_an_empty_stream(visitor: Caller) -> None:
    """No item, and a clean end."""
    assert [frame.event async for frame in visitor.frames("/Verbs/empty")] == ["close"]


async def test_a_stream_that_fails_before_its_first_item(visitor: Caller) -> None:
    """Is an error response with its own status, not a 200."""
    with pytest.raises(Refused) as refused:
        await visitor.items("/Verbs/fail_after", items=0, how="own")
    assert (refused.value.status, refused.value.code) == (429, "quota_exceeded")


@pytest.mark.parametrize("how", ["own", "value"])
async def test_a_stream_that_fails_later(visitor: Caller, how: str) -> None:
    """Gives its items, then one error event with the body that a response would have had, and ends cleanly."""
    frames = [frame async for frame in visitor.frames("/Verbs/fail_after", items=3, how=how)]
    assert [frame.json() for frame in frames[:3]] == [0, 1, 2]
    assert [frame.event for frame in frames] == ["message"] * 3 + ["error"]
    if how == "own":
        assert frames[3].json()["$error"]["code"] == "quota_exceeded"
    assert "secret" not in frames[3].data


async def test_large_values(visitor: Caller) -> None:
    """3 MB there, 3 MB back."""
    assert await visitor.call("/Verbs/length", text="ü" * 1_500_000) == 1_500_000
    assert await visitor.call("/Verbs/large", size=1_500_000) == "ä" * 1_500_000


async def test_large_streams(visitor: Caller) -> None:
    """10,000 items, and items of 100 KB: in order, none missing."""
    items = await visitor.items("/Verbs/many", count=10_000)
    assert [int(item.partition(":")[0]) for item in items] == list(range(10_000))
    items = await visitor.items("/Verbs/many", count=20, size=100_000)
    assert [len(item.partition(":")[2]) for item in items] == [100_000] * 20


async def test_mixed_calls_at_once(visitor: Caller) -> None:
    """Calls, streams, errors, large answers and bytes of one user, all at once."""

    async def fail() -> str:
        with pytest.raises(Refused) as refused:
            await visitor.call("/Verbs/fail", how="own")
        return refused.value.code

    results = await asyncio.gather(
        *(
            call
            for number in range(10)
            for call in (
                visitor.call("/Verbs/plain", left=number),
                visitor.items("/Verbs/many", count=number, size=1),
                fail(),
                visitor.call("/Verbs/large", size=10_000),
                visitor.value("GET", f"/Verbs/item?number={number}"),
            )
        )
    )
    for number in range(10):
        plain, items, code, large, got = results[number * 5 : number * 5 + 5]
        assert (plain, len(items), code, len(large), got) == (
            number + 2, number, "quota_exceeded", 10_000, f"got {number} None",
        )  # fmt: skip


async def test_the_documents(http: httpx.AsyncClient) -> None:
    """/docs is served, and /openapi.json has every method that the app mounts."""
    assert (await http.get("/docs")).status_code == 200
    paths = (await http.get("/openapi.json")).json()["paths"]
    for path in ("/Verbs/item", "/Verbs/plain", "/Who/names", "/Llm/answer", "/Types/rich", "/auth/visitor"):
        assert path in paths
    assert set(paths["/Verbs/item"]) == {"get", "post", "put", "patch", "delete"}
    assert "text/event-stream" in paths["/Llm/answer"]["post"]["responses"]["200"]["content"]
