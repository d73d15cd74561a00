"""What each way to know a caller costs a call: an own token, an issuer's token that is remembered, an API key.

The opponent is a FastAPI route whose dependency is Authlib's validator of RFC 9068: it checks the same claims of the
same issuer's token, anew on every call, and knows nothing of users who were blocked since.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from benchmarks.apps import BODY, SECRET, Order, Receipt
from benchmarks.calls import call_of, repeat
from fastapi_poto import OIDC, ApiKeys, OwnSignIn, Poto, PotoModule, poto_router
from fastapi_poto.testing import serve

ROUNDS, CALLS = 9, 2_000
KEY = RSAKey.generate_key(2048, {"kid": "one"})


class Shop(PotoModule):
    async def order(self, sku: str, quantity: int, note: str | None = None) -> Receipt:
        return Receipt(sku=sku, quantity=quantity, total=quantity * 1.5, user=self.user.id)


def issuer() -> FastAPI:
    """Its keys, and no more."""
    app = FastAPI()

    @app.get("/jwks")
    def keys() -> dict[str, Any]:
        return {"keys": [KEY.as_dict(private=False)]}

    return app


def token_of(url: str) -> str:
    now = int(time.time())
    claims = {"iss": url, "aud": "shop", "sub": "ada", "iat": now, "exp": now + 3_600, "jti": "1", "client_id": "web"}
    claims |= {"scope": "openid profile", "realm_access": {"roles": ["staff", "buyer"]}}
    return jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": "one"}, claims, KEY)


def with_authlib(url: str) -> FastAPI:
    from authlib.oauth2.rfc9068 import JWTBearerTokenValidator

    keys = KeySet.import_key_set({"keys": [KEY.as_dict(private=False)]})

    class Validator(JWTBearerTokenValidator):  # type: ignore[misc]
        def get_jwks(self) -> KeySet:
            return keys

    validator = Validator(issuer=url, resource_server="shop")

    async def current_user(authorization: Annotated[str, Header()]) -> str:
        token = validator.authenticate_token(authorization.removeprefix("Bearer "))
        validator.validate_token(token, None, None)
        return str(token["sub"])

    app = FastAPI()

    @app.post("/Shop/order")
    async def order(order: Order, user: Annotated[str, Depends(current_user)]) -> Receipt:
        return Receipt(sku=order.sku, quantity=order.quantity, total=order.quantity * 1.5, user=user)

    return app


async def measure(url: str) -> None:
    poto = Poto(SECRET, credentials=[OwnSignIn(), OIDC(url, jwks=f"{url}/jwks", audience="shop"), ApiKeys()])
    app = FastAPI()
    app.include_router(poto_router(Shop, poto=poto))
    user = await poto.accounts.create("ada", None)
    tokens = {
        "own token": (await poto.sign_in.visitor("192.0.2.1")).access_token,
        "issuer's token": token_of(url),
        "API key": await poto.keys.create(user.id, name="bench"),
    }
    look_ups = {name: _look_up(poto, token) for name, token in tokens.items()}
    calls = {name: call_of(app, "/Shop/order", token, BODY) for name, token in tokens.items()}
    calls["FastAPI, Authlib"] = call_of(with_authlib(url), "/Shop/order", tokens["issuer's token"], BODY)
    asked, called = await _medians(look_ups, CALLS), await _medians(calls, 300)
    print("\nOne authenticated POST, in process    who calls     whole call")
    for name, seconds in called.items():
        alone = f"{asked[name] * 1e6:8.1f} µs" if name in asked else " " * 11
        print(f"  {name:28}   {alone}    {seconds * 1e6:8.1f} µs")
    more = (asked["issuer's token"] - asked["own token"]) * 1e6
    print(f"  issuer's token - own token     {more:6.1f} µs  (at most 5)")
    ratio = called["FastAPI, Authlib"] / called["issuer's token"]
    print(f"  FastAPI, Authlib / issuer's token {ratio:5.1f}")


def _look_up(poto: Poto, token: str) -> Callable[[], Any]:
    headers = [(b"host", b"x"), (b"accept", b"*/*"), (b"content-type", b"application/json")]
    headers.append((b"authorization", f"Bearer {token}".encode()))

    async def look_up() -> None:
        await poto.authenticator.authenticate({"type": "http", "headers": headers})

    return look_up


async def _medians(entries: dict[str, Callable[[], Any]], calls: int) -> dict[str, float]:
    samples: dict[str, list[float]] = {name: [] for name in entries}
    for call in entries.values():
        await repeat(call, 50)
    for _ in range(ROUNDS):
        for name, call in entries.items():
            samples[name].append(await repeat(call, calls))
    return {name: statistics.median(times) for name, times in samples.items()}


def main() -> None:
    with serve(issuer()) as live:
        asyncio.run(measure(live.url))


if __name__ == "__main__":
    main()
