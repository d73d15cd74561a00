"""One client's way to its server: requests with credentials and deadlines, responses or errors."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from opentelemetry import propagate

from ..auth.token_pair import TokenPair
from ..deadline import DEADLINE_HEADER
from ..errors import DeadlineExceeded, PotoError
from .deadline import milliseconds_until
from .errors import error_from_body
from .outgoing import Outgoing
from .tokens import Credentials

_DEADLINE = DEADLINE_HEADER.decode()


class Connection:
    """Raises `PotoError`s for what the server answers, and httpx's errors for what does not reach it."""

    def __init__(self, http: httpx.AsyncClient, base_url: str, credentials: Credentials, *, buffers: bool) -> None:
        self._http = http
        self.base_url = base_url
        self._credentials = credentials
        self.buffers = buffers
        """Whether it only hands out whole bodies, as a transport into an application in this process does."""

    async def call(
        self,
        outgoing: Outgoing,
        *,
        deadline: float | None = None,
        classes: Mapping[str, type[PotoError]] | None = None,
        anonymous: bool = False,
    ) -> httpx.Response:
        """The whole response to a call that went well."""
        return await self._good_response(outgoing, deadline, classes, anonymous=anonymous, whole=True)

    @asynccontextmanager
    async def stream(
        self, outgoing: Outgoing, *, deadline: float | None, classes: Mapping[str, type[PotoError]]
    ) -> AsyncIterator[httpx.Response]:
        """A response that goes on, once its status is known to be good."""
        # A middleware that compresses would hold items back until it has enough of them.
        outgoing.headers["Accept-Encoding"] = "identity"
        response = await self._good_response(outgoing, deadline, classes)
        try:
            yield response
        finally:
            await response.aclose()

    async def _good_response(
        self,
        outgoing: Outgoing,
        deadline: float | None,
        classes: Mapping[str, type[PotoError]] | None,
        *,
        anonymous: bool = False,
        whole: bool = False,
    ) -> httpx.Response:
        """The response, read to its end if it is wanted `whole`, or is an error, which is raised."""
        try:
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
                response = await self._respond(outgoing, deadline, anonymous=anonymous)
                if whole or not response.is_success:
                    await _read(response)
        except TimeoutError:
            raise DeadlineExceeded from None
        if not response.is_success:
            raise _error(response, classes)
        return response

    async def _respond(self, outgoing: Outgoing, deadline: float | None, *, anonymous: bool = False) -> httpx.Response:
        """The head of the response. A token that was refused was so before the call began: once more with another."""
        tokens = None if anonymous else await self._credentials.usable()
        response = await self._send(outgoing, tokens, deadline)
        if response.status_code != 401 or tokens is None or tokens.refresh_token is None:
            return response
        if 'error="invalid_token"' not in response.headers.get("www-authenticate", ""):
            return response  # the method's own
        try:
            renewed = await self._credentials.renewed(tokens)
        except PotoError:
            return response
        if not outgoing.can_be_sent_again:
            raise await _consumed(response)
        await response.aclose()
        return await self._send(outgoing, renewed, deadline)

    async def _send(self, outgoing: Outgoing, tokens: TokenPair | None, deadline: float | None) -> httpx.Response:
        headers = dict(outgoing.headers)
        if tokens is not None:
            headers.update(tokens.headers)
        if deadline is not None:
            headers[_DEADLINE] = str(milliseconds_until(deadline))
        if outgoing.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in outgoing.cookies)
        propagate.inject(headers)  # the trace that the caller is in, if it is in one
        body: dict[str, Any] = {"content": outgoing.content}
        if outgoing.form or outgoing.files:
            body = {"data": outgoing.form, "files": outgoing.files or None}
        request = self._http.build_request(
            outgoing.method,
            self.base_url + outgoing.path,
            params=outgoing.query or None,
            headers=[*outgoing.fields, *headers.items()],
            **body,
        )
        # Credentials go where they were meant to go, and nowhere else.
        return await self._http.send(request, stream=True, follow_redirects=False, auth=None)


async def _consumed(response: httpx.Response) -> PotoError:
    await _read(response)
    error = _error(response, None)
    error.add_note(
        "The upload was read and cannot be sent again. The token has been renewed: call with it opened anew."
    )
    return error


async def _read(response: httpx.Response) -> None:
    try:
        await response.aread()
    finally:
        await response.aclose()


def _error(response: httpx.Response, classes: Mapping[str, type[PotoError]] | None) -> PotoError:
    more = {} if classes is None else {"classes": classes}
    error = error_from_body(response.content, status=response.status_code, headers=response.headers, **more)
    error.add_note(f"{response.request.method} {response.request.url.path} answered {response.status_code}")
    if response.is_redirect:
        error.add_note(f"It points to {response.headers.get('location')}; redirects are not followed with credentials.")
    return error
