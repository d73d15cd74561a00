"""What a body costs that is refused, against parsing it; and how long another call waits beside it."""

import asyncio
import contextlib
import json
import secrets
import statistics
import time
from collections.abc import Callable
from functools import partial

import httpx
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from pydantic_core import from_json, to_json

from fastapi_poto import Poto, PotoModule, poto_router, public
from fastapi_poto.calls.arguments import Binder
from fastapi_poto.operations import compile_module

SIZE = 512 * 1024
ROUNDS = 7


class Line(BaseModel):
    sku: str
    quantity: int
    price: float
    note: str | None


class Cat(BaseModel):
    cat: int


class Dog(BaseModel):
    dog: int


@public
class Shop(PotoModule):
    async def texts(self, it: list[str]) -> int:
        return len(it)

    async def wide(self, a: int, b: int, c: str, d: list[int], e: Line, f: float) -> int:
        return a

    async def lines(self, it: list[Line]) -> int:
        return len(it)

    async def table(self, it: dict[str, int]) -> int:
        return len(it)

    async def pet(self, it: Cat | Dog | None) -> int:
        return 1

    async def get_ready(self) -> int:
        return 1


_ONES = b"[" + b",".join([b"1"] * (SIZE // 2)) + b"]"
_MEMBERS = b",".join(b'"a%d":"x"' % number for number in range(SIZE // 13))
_GOOD = b",".join([b'{"sku":"a","quantity":1,"price":2,"note":null}'] * (SIZE // 48))
BODIES = {
    "numbers for texts": ("texts", b'{"it":' + _ONES + b"}"),
    "unknown members": ("texts", b'{"it":[],' + _MEMBERS + b"}"),
    "members missing": ("wide", b'{"other":' + _ONES + b"}"),
    "empty objects": ("lines", b'{"it":[' + b",".join([b"{}"] * (SIZE // 3)) + b"]}"),
    "the last one wrong": ("lines", b'{"it":[' + _GOOD + b",{}]}"),
    "texts for numbers": ("table", b'{"it":{' + _MEMBERS + b"}}"),
    "none of several": ("pet", b'{"it":{"other":' + _ONES + b"}}"),
    "no JSON": ("texts", _ONES[:-1]),
}


def _best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _parse(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        from_json(body)


def _refuse(binder: Binder, body: bytes) -> int:
    try:
        binder.body(body)
    except RequestValidationError as error:
        return len(to_json(error.errors()))
    raise AssertionError("was taken")


async def _wait_beside(name: str, body: bytes) -> float:
    """The longest that a small call took while four of these bodies were refused."""
    app = FastAPI()
    app.include_router(poto_router(Shop, poto=Poto(secrets.token_urlsafe(48))))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://bench") as client:
        await client.get("/Shop/ready")
        headers = {"content-type": "application/json"}
        refused = [asyncio.ensure_future(client.post(f"/Shop/{name}", content=body, headers=headers)) for _ in range(4)]
        waits = []
        while not all(one.done() for one in refused):
            began = time.perf_counter()
            await asyncio.sleep(0)  # as a request of a server's would arrive
            await client.get("/Shop/ready")
            waits.append(time.perf_counter() - began)
        assert {one.status_code for one in await asyncio.gather(*refused)} == {422}
        return max(waits)


def main() -> None:
    binders = {operation.name: Binder(operation) for operation in compile_module(Shop)}
    print(f"\nBodies of {SIZE // 1024} KiB that are refused")
    print(f"  {'':22} {'parse':>8} {'json':>8} {'refuse':>8} {'ratio':>6} {'answer':>8} {'other call waits':>17}")
    ratios = []
    for title, (name, body) in BODIES.items():
        binder = binders[name]
        size = _refuse(binder, body)
        parse, refuse = _best(partial(_parse, body)), _best(partial(_refuse, binder, body))
        loads = parse if title == "no JSON" else _best(partial(json.loads, body))
        wait = statistics.median(asyncio.run(_wait_beside(name, body)) for _ in range(3))
        ratios.append(refuse / parse)
        print(
            f"  {title:22} {parse * 1e3:5.1f} ms {loads * 1e3:5.1f} ms {refuse * 1e3:5.1f} ms {ratios[-1]:6.2f} "
            f"{size:6} B {wait * 1e3:14.0f} ms"
        )
    print(f"  worst ratio {max(ratios):.2f}  (at most 3); waits at most 100 ms")
