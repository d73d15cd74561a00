"""What an application waits for before its first request: the import, and the routes of 1,000 methods.

Each measurement is a process of its own, in turn with its opponent's, and counts processor time: what else the machine
does changes it little. Modules are byte-compiled first, as they are wherever an application starts twice.
"""

import os
import statistics
import subprocess
import sys
import tempfile

ROUNDS = 7
MODULES, METHODS = 20, 50

_TYPES = """
from typing import Annotated
from pydantic import BaseModel
from fastapi import APIRouter, Body, FastAPI
class Line(BaseModel):
    sku: str
    quantity: int = 1
class Order(BaseModel):
    number: int
    lines: list[Line]
"""
# A pair of methods, twenty-five times over in each module: the plainest there are, and what applications have.
_PLAIN = """
    async def act_{n}(self, line: Line) -> Line: ...
    async def get_{n}(self, number: int) -> int: ..."""
_PLAIN_ROUTES = """
@r.post("/M{m}/act_{n}")
async def act_{n}(line: Line) -> Line: ...
@r.get("/M{m}/{n}")
async def get_{n}(number: int) -> int: ..."""
_USUAL = """
    async def act_{n}(self, line: Line, note: str | None = None, count: int = 1) -> Order: ...
    async def get_{n}(self, name: str, limit: int = 10) -> list[Line]: ..."""
_USUAL_ROUTES = """
@r.post("/M{m}/act_{n}")
async def act_{n}(
    line: Annotated[Line, Body()], note: Annotated[str | None, Body()] = None, count: Annotated[int, Body()] = 1
) -> Order: ...
@r.get("/M{m}/{n}")
async def get_{n}(name: str, limit: int = 10) -> list[Line]: ..."""
_MEASURED = "import time; began = time.process_time()\n{work}\nprint(time.process_time() - began)"


def _poto(pair: str) -> str:
    pairs = "".join(pair.format(n=n) for n in range(METHODS // 2))
    classes = "".join(f"\nclass M{m}(PotoModule):{pairs}" for m in range(MODULES))
    names = ", ".join(f"M{m}" for m in range(MODULES))
    work = f"{classes}\napp = FastAPI()\napp.include_router(poto_router({names}, poto=poto))"
    first = "import secrets\nfrom fastapi_poto import Poto, PotoModule, poto_router\n"
    return f"{_TYPES}{first}poto = Poto(secrets.token_urlsafe(48))\n" + _MEASURED.format(work=work)


def _fastapi(pair: str) -> str:
    routes = "".join(pair.format(n=n, m=m) for m in range(MODULES) for n in range(METHODS // 2))
    work = f"r = APIRouter(){routes}\napp = FastAPI()\napp.include_router(r)"
    return _TYPES + _MEASURED.format(work=work)


def _seconds(code: str, cache: str) -> float:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(found.stdout)


def compare(title: str, ours: str, theirs: str, wanted: str) -> None:
    """Print the ratio of two programs that print how long their work took."""
    with tempfile.TemporaryDirectory() as cache:
        for code in (ours, theirs):
            _seconds(code, cache)
        pairs = [(_seconds(ours, cache), _seconds(theirs, cache)) for _ in range(ROUNDS)]
    mine, other = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(one / two for one, two in pairs)
    print(f"  {title:44} {mine * 1e3:7.0f} ms  {other * 1e3:7.0f} ms  {ratio:6.2f}  ({wanted})")


def main() -> None:
    print(f"\n  {'':44} {'poto':>10}  {'FastAPI':>10}  {'ratio':>6}")
    compare(
        "import fastapi_poto / import fastapi",
        _MEASURED.format(work="import fastapi_poto"),
        _MEASURED.format(work="import fastapi"),
        "at most 1.25",
    )
    compare("1,000 methods with one parameter / routes", _poto(_PLAIN), _fastapi(_PLAIN_ROUTES), "at most 2")
    compare("1,000 methods as they are / routes", _poto(_USUAL), _fastapi(_USUAL_ROUTES), "at most 2")
