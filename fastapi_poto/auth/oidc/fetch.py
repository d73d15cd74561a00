"""One JSON object from an issuer, however it behaves."""

import asyncio
import json
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx
from anyio import to_thread

from ...errors import ConfigurationError

_MAX_BYTES = 512 * 1024


class IssuerFailed(Exception):
    """The issuer did not say what it should have; why."""


def check_url(url: str, what: str) -> str:
    """The URL, if it can be trusted on the way: https, or http to this machine. Raises `ConfigurationError`."""
    if not _is_safe(url):
        raise ConfigurationError(f"OIDC: {what} is to be an https:// URL (http:// only on this machine), not {url!r}.")
    return url


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.username or parts.fragment:
            return False
        is_local = parts.hostname == "localhost" or (parts.scheme == "http" and ip_address(parts.hostname).is_loopback)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_local)


class Fetcher:
    """Gets JSON objects. Follows no redirect, reads no more than 512 KiB, and gives up after `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._ssl: Any = None

    async def object(self, url: str) -> dict[str, Any]:
        """Raises `IssuerFailed`."""
        if self._ssl is None:
            self._ssl = await to_thread.run_sync(httpx.create_ssl_context)  # reads files for tens of ms
        try:
            async with asyncio.timeout(self._timeout):
                body = await self._get(url)
            found = json.loads(body)
        except TimeoutError:
            raise IssuerFailed(f"{url} did not answer within {self._timeout:g} s") from None
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            raise IssuerFailed(f"{url}: {type(error).__name__}: {error}") from error
        if not isinstance(found, dict):
            raise IssuerFailed(f"{url} is no JSON object")
        return found

    async def _get(self, url: str) -> bytes:
        # Undecoded: a few bytes of gzip may be a gigabyte.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with (
            httpx.AsyncClient(verify=self._ssl, timeout=self._timeout, headers=headers) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != 200:
                raise IssuerFailed(f"{url} answered {response.status_code}")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise IssuerFailed(f"{url} has more than {_MAX_BYTES} bytes")
            return bytes(body)
