"""An issuer on loopback that behaves as a test says: real HTTP, real keys, real signatures."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fastapi_poto.testing import serve

Key = RSAKey | ECKey | OKPKey
Answer = Callable[[Request], Any]

_FOR_KEY = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}


class _Registry(jws.JWSRegistry):
    def __init__(self) -> None:
        super().__init__(strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]

    def check_header(self, header: Any) -> None:
        """Whatever a test wants to have signed."""


class Issuer:
    """`keys` are what it publishes, the first of them signs. `answers` replaces what a path says."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, Key] = {"one": RSAKey.generate_key(2048)}
        self.fetched: Counter[str] = Counter()
        self.answers: dict[str, Answer] = {}
        self.app = Starlette(routes=[Route("/{path:path}", self._answer)])

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        self.fetched[path] += 1
        if path in self.answers:
            response: Response = await self.answers[path](request)
            return response
        if path == "/.well-known/openid-configuration":
            return JSONResponse(self.discovery())
        return JSONResponse(self.jwks()) if path == "/jwks" else Response(status_code=404)

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
        }

    def jwks(self) -> dict[str, Any]:
        return {"keys": [public(kid, key) for kid, key in self.keys.items()]}

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": self.url, "aud": "shop", "sub": "ann", "iat": now, "exp": now + 300, **changes}
        return {name: value for name, value in claims.items() if value is not ...}

    def token(self, *, header: dict[str, Any] | None = None, key: Key | None = None, **claims: Any) -> str:
        """A token; a claim of `...` is left out."""
        kid = next(iter(self.keys))
        key = key or self.keys[kid]
        full = {"alg": _FOR_KEY[key.key_type], "kid": kid, "typ": "JWT", **(header or {})}
        return sign({name: value for name, value in full.items() if value is not ...}, self.claims(**claims), key)


def public(kid: str, key: Key, **members: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), "kid": kid, "use": "sig", **members}


def sign(header: dict[str, Any], claims: dict[str, Any] | bytes, key: Any) -> str:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jws.serialize_compact(header, payload, key, registry=_Registry())


@contextmanager
def serve_issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    with serve(issuer.app) as live:
        issuer.url = live.url
        yield issuer
