"""A user of the app under test: signs in, calls methods, reads streams. Knows HTTP and no more."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Self

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse


class Refused(Exception):
    """An answer that is an error, from the status line or from within a stream."""

    def __init__(self, status: int, body: Any, headers: httpx.Headers) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers

    @property
    def code(self) -> str:
        code: str = self.body["code"]
        return code


class CutOff(Exception):
    """A stream that ended with neither `close` nor `error`."""


def new_client(url: str) -> httpx.AsyncClient:
    """Many connections, so that concurrent calls are concurrent."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(base_url=url, limits=limits, timeout=120)


class Caller:
    """`id` is None until signed in."""

    def __init__(self, http: httpx.AsyncClient, pair: dict[str, Any] | None = None) -> None:
        self.http = http
        self.pair = pair or {}

    @classmethod
    async def visitor(cls, http: httpx.AsyncClient) -> Self:
        return cls(http, _value(await http.post("/auth/visitor")))

    @classmethod
    async def login(cls, http: httpx.AsyncClient, username: str, password: str) -> Self:
        form = {"username": username, "password": password}
        return cls(http, _value(await http.post("/auth/login", data=form)))

    def at(self, http: httpx.AsyncClient) -> "Caller":
        """The same sign-in, calling another server."""
        return Caller(http, self.pair)

    @property
    def id(self) -> str:
        user_id: str = self.pair["user_id"]
        return user_id

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.pair['access_token']}"} if self.pair else {}

    async def call(self, path: str, **body: Any) -> Any:
        """POST a method's parameters, and its value."""
        return _value(await self.send("POST", path, json=body))

    async def send(self, verb: str, path: str, **arguments: Any) -> httpx.Response:
        return await self.http.request(verb, path, headers=self.headers, **arguments)

    async def value(self, verb: str, path: str, **arguments: Any) -> Any:
        return _value(await self.send(verb, path, **arguments))

    async def frames(self, path: str, **body: Any) -> AsyncIterator[ServerSentEvent]:
        """The frames of a stream, `close` and `error` included."""
        async with aconnect_sse(self.http, "POST", path, json=body, headers=self.headers) as source:
            if source.response.status_code != 200:
                await source.response.aread()
                _value(source.response)
            async with aclosing(source.aiter_sse()) as frames:
                async for frame in frames:
                    yield frame

    async def stream(self, path: str, **body: Any) -> AsyncIterator[Any]:
        """The items of a stream. Raises `Refused` for a stream that failed, `CutOff` for one that just stopped."""
        async with aclosing(self.frames(path, **body)) as frames:
            async for frame in frames:
                if frame.event == "close":
                    return
                if frame.event == "error":
                    raise Refused(200, frame.json()["$error"], httpx.Headers())
                yield frame.json()
        raise CutOff

    async def items(self, path: str, **body: Any) -> list[Any]:
        return [item async for item in self.stream(path, **body)]


def _value(response: httpx.Response) -> Any:
    if response.is_error:
        assert response.headers["content-type"] == "application/json", response.text
        raise Refused(response.status_code, response.json(), response.headers)
    if response.status_code == 204:
        assert not response.content
        return None
    return response.json()
