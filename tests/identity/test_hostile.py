"""An issuer that is down, slow, wrong or hostile, and tokens that somebody else made."""

import asyncio
import base64
import gzip
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from fastapi_poto.errors import Unauthenticated
from tests.identity.conftest import World, make_world
from tests.identity.issuer import Issuer, public, sign

pytestmark = pytest.mark.anyio

JWKS, DISCOVERY = "/jwks", "/.well-known/openid-configuration"


def says(body: Any, status: int = 200, **headers: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        if isinstance(body, bytes):
            return Response(body, status, headers)
        return JSONResponse(body, status, headers)

    return answer


def b64(raw: bytes | dict[str, Any]) -> str:
    raw = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def ask(world: World, token: str) -> Any:
    scope = {"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]}
    return await world.poto.authenticator.authenticate(scope)


# Tokens


async def test_10_000_unknown_kids(issuer: Issuer, world: World) -> None:
    """One fetch in 30 s, however many come; who has a good token does not notice."""
    good = issuer.token()
    assert await world.status(good) == 200
    issuer.fetched.clear()
    _, payload, signature = good.split(".")

    async def flood(kid: str) -> None:
        with pytest.raises(Unauthenticated):
            await ask(world, f"{b64({'alg': 'RS256', 'kid': kid})}.{payload}.{signature}")

    for start in range(0, 10_000, 500):
        await asyncio.gather(*(flood(f"k{n}") for n in range(start, start + 500)), world.status(good))
    assert issuer.fetched == {JWKS: 1}
    world.clock.advance(31)
    await flood("another")
    await flood("and another")
    assert issuer.fetched == {JWKS: 2}
    assert await world.status(good) == 200


def forged(issuer: Issuer) -> dict[str, str]:
    """Tokens that name the issuer, and that it did not make."""
    key = issuer.keys["one"]
    assert isinstance(key, RSAKey)
    pem = key.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = key.public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    claims, mine = issuer.claims(), RSAKey.generate_key(2048)
    good = issuer.token()
    head, payload, signature = good.split(".")
    header = {"alg": "RS256", "kid": "one", "typ": "JWT"}
    twice = json.dumps(claims)[:-1] + ', "sub": "admin"}'
    tokens = {
        "signed by another key": issuer.token(key=mine),
        "none": f"{b64({'alg': 'none', 'kid': 'one'})}.{payload}.",
        "None": f"{b64({'alg': 'None', 'kid': 'one'})}.{payload}.{signature}",
        "a list of algorithms": f"{b64({'alg': ['RS256'], 'kid': 'one'})}.{payload}.{signature}",
        "another payload": f"{head}.{b64({**claims, 'sub': 'admin'})}.{signature}",
        "its key inside": sign({**header, "jwk": public("one", mine)}, claims, mine),
        "its key elsewhere": sign({**header, "jku": "https://evil.example/jwks"}, claims, mine),
        "a certificate elsewhere": sign({**header, "x5u": "https://evil.example/c"}, claims, mine),
        "the right key, and one inside": sign({**header, "jwk": public("one", mine)}, claims, key),
        "crit": sign({**header, "crit": ["exp"]}, claims, key),
        "another type": sign({**header, "typ": "logout+jwt"}, claims, key),
        "a type that is no string": f"{b64({**header, 'typ': 1})}.{payload}.{signature}",
        "a kid that is no string": f"{b64({**header, 'kid': [1]})}.{payload}.{signature}",
        "a claim twice": sign(header, twice.encode(), key),
        "claims that are a list": sign(header, b"[]", key),
        "deep claims": sign(header, b"[" * 6_000 + b"]" * 6_000, key),
        "NaN": sign(header, json.dumps({**claims, "exp": float("nan")}).encode(), key),
        "too long": issuer.token(more="x" * 9_000),
        "junk after the signature": good + "A",
        "padding": good + "==",
        "four parts": good + ".a",
    }
    confused = f"{b64({'alg': 'HS256', 'kid': 'one'})}.{payload}"
    for name, secret in (("PEM", pem), ("PEM stripped", pem.strip()), ("DER", der), ("n", key.as_dict()["n"].encode())):
        mac = hmac.digest(secret, confused.encode(), "sha256")
        tokens[f"HS256 with the public key as {name}"] = f"{confused}.{b64(mac)}"
    return tokens


async def test_forged_tokens(issuer: Issuer, world: World) -> None:
    """All of them are 401, none is 500, and none makes a request to where it says."""
    assert await world.status(issuer.token()) == 200
    issuer.fetched.clear()
    statuses = {name: await world.status(token) for name, token in forged(issuer).items()}
    assert statuses == dict.fromkeys(statuses, 401)
    assert not issuer.fetched


async def test_curves_and_sizes(issuer: Issuer) -> None:
    """A key of another curve, too short, symmetric, or for encryption verifies nothing; an `alg` in it is binding."""
    weak = {
        "p384": ECKey.generate_key("P-384"),
        "k1": ECKey.generate_key("secp256k1"),
        "ed448": OKPKey.generate_key("Ed448"),
        "x25519": OKPKey.generate_key("X25519"),
    }
    good, bound = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
    listed = [public(kid, key) for kid, key in weak.items()]
    listed += [
        public("enc", good, use="enc"),
        public("ops", good, key_ops=["encrypt"]),
        public("bound", bound, alg="PS256"),
        public("good", good),
        {"kty": "oct", "kid": "oct", "k": b64(b"s" * 32)},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "kid": "small", "n": b64((1 << 1023 | 1).to_bytes(128)), "e": "AQAB"},
        {"kty": "RSA", "kid": 7, "n": "AQAB", "e": "AQAB"},
        "no key",
        None,
    ]
    issuer.answers[JWKS] = says({"keys": listed})
    world = make_world(issuer)
    assert await world.status(issuer.token(header={"kid": "good"}, key=good)) == 200
    for kid in ("enc", "ops"):
        assert await world.status(issuer.token(header={"kid": kid}, key=good)) == 401
    assert await world.status(issuer.token(header={"kid": "bound", "alg": "PS256"}, key=bound)) == 200
    assert await world.status(issuer.token(header={"kid": "bound"}, key=bound)) == 401
    secret = OctKey.import_key(b"s" * 32)
    assert await world.status(sign({"alg": "HS256", "kid": "oct"}, issuer.claims(), secret)) == 401
    p384 = weak["p384"]
    for alg in ("ES384", "ES256"):
        head = b64({"alg": alg, "kid": "p384"})
        token = sign({"alg": "ES384", "kid": "p384"}, issuer.claims(), p384)
        assert await world.status(head + token[token.index(".") :]) == 401


# The issuer


BAD_KEYS: dict[str, Any] = {
    "no JSON": says(b"<html>"),
    "a list": says([]),
    "no keys": says({"keys": []}),
    "keys that are none": says({"keys": {"a": 1}}),
    "two with one kid": says({"keys": [public("x", RSAKey.generate_key(2048)) for _ in range(2)]}),
    "201": says({"keys": [{}] * 201}),
    "500": says({}, 500),
    "huge": says(b" " * 600_000),
    "gzip": says(gzip.compress(b" " * 10_000_000), **{"content-encoding": "gzip"}),
    "deep": says(b'{"keys":' + b"[" * 200_000),
}


@pytest.mark.parametrize("kind", [*BAD_KEYS, "redirect", "slow"])
async def test_keys_that_are_wrong(issuer: Issuer, kind: str) -> None:
    """What the issuer says then changes nothing: known keys go on, unknown ones are 401, and health says why."""
    world = make_world(issuer, timeout=1.0 if kind == "slow" else 10.0)
    good = issuer.token()
    assert await world.status(good) == 200
    issuer.keys = {"two": RSAKey.generate_key(2048)}
    unknown = issuer.token()

    async def slow(_: Request) -> Response:
        await asyncio.sleep(3)
        return JSONResponse(issuer.jwks())

    async def redirect(_: Request) -> Response:
        return RedirectResponse(f"{issuer.url}/elsewhere")

    issuer.answers["/elsewhere"] = says(issuer.jwks())
    issuer.answers[JWKS] = BAD_KEYS.get(kind) or {"redirect": redirect, "slow": slow}[kind]
    statuses = await asyncio.gather(*(world.status(unknown) for _ in range(20)), world.status(good))
    assert statuses == [401] * 20 + [200]
    assert issuer.fetched[JWKS] == 2
    assert issuer.fetched["/elsewhere"] == 0
    health = (await world.http.get("/auth/health")).json()
    assert health["status"] == "degraded"
    assert JWKS in health["problems"]["corp"]
    del issuer.answers[JWKS]
    world.clock.advance(31)
    assert await world.status(unknown) == 200
    assert (await world.http.get("/auth/health")).json() == {"status": "ok"}


@pytest.mark.parametrize("kind", ["another issuer", "http", "no address", "loopback by name"])
async def test_discovery_that_is_wrong(issuer: Issuer, kind: str) -> None:
    """Without keys nobody is let in: 503, since nobody can say whether the token is good."""
    changes = {
        "another issuer": {"issuer": "https://evil.example"},
        "http": {"jwks_uri": "http://10.0.0.1/jwks"},
        "no address": {"jwks_uri": None},
        "loopback by name": {"jwks_uri": "http://localhost.evil.example/jwks"},
    }
    issuer.answers[DISCOVERY] = says({**issuer.discovery(), **changes[kind]})
    world = make_world(issuer)
    answer = await world.call(issuer.token())
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert JWKS not in issuer.fetched


async def test_an_issuer_that_is_down_at_the_start(issuer: Issuer) -> None:
    """The application starts; its own sign-in works; health says so; once the issuer is back its users are let in."""
    issuer.answers[DISCOVERY] = says({}, 503)
    world = make_world(issuer)
    async with world.poto.running():
        token = issuer.token()
        assert await world.status(token) == 503
        assert (await world.http.post("/auth/visitor")).status_code == 200
        assert (await world.http.get("/auth/health")).json()["status"] == "degraded"
        await asyncio.gather(*(world.status(token) for _ in range(50)))
        assert issuer.fetched[DISCOVERY] == 1
        del issuer.answers[DISCOVERY]
        world.clock.advance(5)
        assert await world.status(token) == 200


async def test_down_for_ten_minutes(issuer: Issuer, world: World) -> None:
    """Known keys go on all the time, and it is asked no more than once in 30 s."""
    assert await world.status(issuer.token(exp=int(world.clock()) + 10_000)) == 200
    token = issuer.token(exp=int(world.clock()) + 10_000)
    issuer.answers[JWKS] = issuer.answers[DISCOVERY] = says({}, 502)
    issuer.fetched.clear()
    for _ in range(60):
        world.clock.advance(10)
        assert await world.status(token) == 200
        await settled(world)
    assert 5 <= issuer.fetched[DISCOVERY] <= 20
    issuer.answers.clear()
    world.clock.advance(31)
    assert await world.status(token) == 200
    await settled(world)
    assert (await world.http.get("/auth/health")).json() == {"status": "ok"}


async def settled(world: World) -> None:
    """Wait for a refresh in the background, if there is one."""
    task = world.oidc.keys._fetching
    if task is not None:
        await task


async def test_keys_are_refreshed_in_the_background(issuer: Issuer, world: World) -> None:
    """Nobody waits for it; a key that is no longer published verifies nothing, remembered tokens included."""
    token = issuer.token(exp=int(world.clock()) + 10_000)
    assert await world.status(token) == 200
    issuer.keys = {"two": RSAKey.generate_key(2048)}
    world.clock.advance(301)
    assert await world.status(token) == 200
    await settled(world)
    assert await world.status(token) == 401


async def test_rotation_under_load(issuer: Issuer, world: World) -> None:
    """While keys come and go, with tokens signed by each as soon as it signs, no valid token is refused."""
    refused: list[int] = []
    calls = 0
    enough = asyncio.Event()

    async def call() -> None:
        nonlocal calls
        while not enough.is_set():
            status = await world.status(issuer.token(n=calls))
            calls += 1
            if status != 200:
                refused.append(status)
            await asyncio.sleep(0)

    async def more_calls() -> None:
        wanted = calls + 20
        while calls < wanted:
            await asyncio.sleep(0.01)

    callers = [asyncio.create_task(call()) for _ in range(8)]
    for n in range(6):
        await more_calls()
        issuer.keys = {f"next{n}": RSAKey.generate_key(2048), **issuer.keys}
        await more_calls()
        world.clock.advance(31)
    enough.set()
    await asyncio.gather(*callers)
    assert refused == []
    assert issuer.fetched[JWKS] >= 7
