"""Whether the stores answer: for load balancers and for whoever is on call."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from .errors import Unavailable
from .stores import Store


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Degraded(BaseModel):
    """Calls go on without what does not answer: an issuer, say, whose keys are known."""

    status: Literal["degraded"] = "degraded"
    problems: dict[str, str]


class _Probe:
    """Whether a store answers. It is asked to write once a second, whoever wants to know, and else to read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wrote = 0.0

    async def __call__(self) -> None:
        now = monotonic()
        if now < self._wrote + 1:
            await self._store.read("probe", ("at",))
            return
        before, self._wrote = self._wrote, now
        try:
            await self._store.ping()
        except BaseException:
            self._wrote = before
            raise


def add_health(router: APIRouter, stores: Sequence[Store], problems: Callable[[], dict[str, str]] = dict) -> None:
    """Add `GET /health`: 200 if every store answers, else 503 with `Retry-After`, within a second."""
    probes = [_Probe(store) for store in stores]

    @router.get(
        "/health",
        operation_id="Auth_health",
        summary="Whether the stores answer",
        responses={503: {"description": Unavailable.default_detail()}},
    )
    async def health() -> Health | Degraded:
        await asyncio.gather(*(probe() for probe in probes))
        found = problems()
        return Degraded(problems=found) if found else Health()
