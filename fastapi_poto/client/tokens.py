"""What a client holds after signing in, and how it is renewed."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial

import httpx

from ..auth.token_pair import TokenPair
from ..errors import PotoError, Unauthenticated

_MARGIN = 30.0
"""Seconds before its expiry at which a token is renewed; a fifth of a short life."""

Refresh = Callable[[str], Awaitable[TokenPair]]
OnChange = Callable[[TokenPair | None], object]


class Credentials:
    """The present tokens. They are renewed shortly before they expire, and when the server refuses them."""

    def __init__(self, refresh: Refresh, tokens: TokenPair | None, on_change: OnChange | None) -> None:
        self._refresh = refresh
        self._on_change = on_change
        self._set(tokens)
        self._renewing: dict[str, asyncio.Task[TokenPair]] = {}
        """By refresh token: while one sign-in is being renewed, another one may take its place."""

    @property
    def tokens(self) -> TokenPair | None:
        return self._tokens

    def replace(self, tokens: TokenPair | None) -> None:
        if tokens != self._tokens:
            self._set(tokens)
            if self._on_change is not None:
                self._on_change(tokens)

    def _set(self, tokens: TokenPair | None) -> None:
        self._tokens = tokens
        self._renew_at = math.inf
        if tokens is not None and tokens.refresh_token:
            self._renew_at = tokens.expires_at - min(_MARGIN, max(0.0, tokens.expires_at - time.time()) / 5)

    async def usable(self) -> TokenPair | None:
        """Tokens for a call that begins now.

        Before they expire, a refresh that fails is no harm: there will be another one.
        """
        tokens = self._tokens
        if tokens is None or time.time() < self._renew_at:
            return tokens
        try:
            return await self.renewed(tokens)
        except (PotoError, httpx.TransportError):
            if time.time() >= tokens.expires_at:
                raise
            return tokens

    async def renewed(self, refused: TokenPair) -> TokenPair:
        """Other tokens than these: those that somebody else got meanwhile, or new ones.

        However many calls ask, there is one refresh at a time; a caller who gives up does not end it for the others.
        Raises `Unauthenticated` if there is nothing to renew them with, or no more.
        """
        tokens = self._tokens
        if tokens is not None and tokens.access_token != refused.access_token and _one_user(tokens, refused):
            return tokens
        if not refused.refresh_token:
            raise Unauthenticated
        renewing = self._renewing.get(refused.refresh_token)
        if renewing is None:
            # In an empty context: neither the deadline nor the user of who happens to be first is everybody's.
            loop = asyncio.get_running_loop()
            renewing = loop.create_task(self._renew(refused, refused.refresh_token), context=Context())
            self._renewing[refused.refresh_token] = renewing
            renewing.add_done_callback(partial(self._done, refused.refresh_token))
        return await asyncio.shield(renewing)

    async def _renew(self, old: TokenPair, refresh_token: str) -> TokenPair:
        tokens = await self._refresh(refresh_token)
        if self._tokens is old:  # nobody signed in or out meanwhile
            self.replace(tokens)
        return tokens

    def _done(self, refresh_token: str, task: asyncio.Task[TokenPair]) -> None:
        del self._renewing[refresh_token]
        if not task.cancelled():
            task.exception()  # seen, even if everybody who asked has gone


def _one_user(tokens: TokenPair, others: TokenPair) -> bool:
    return tokens.user_id == others.user_id or not (tokens.user_id and others.user_id)
