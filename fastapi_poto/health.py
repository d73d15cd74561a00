"""Whether the stores answer: for load balancers and for whoever is on call."""

import asyncio
from collections.abc import Callable, Sequence
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


def add_health(router: APIRouter, stores: Sequence[Store], problems: Callable[[], dict[str, str]] = dict) -> None:
    """Add `GET /health`: 200 if every store answers, else 503 with `Retry-After`, within a second."""

    @router.get(
        "/health",
        operation_id="Auth_health",
        summary="Whether the stores answer",
        responses={503: {"description": Unavailable.default_detail()}},
    )
    async def health() -> Health | Degraded:
        await asyncio.gather(*(store.ping() for store in stores))
        found = problems()
        return Degraded(problems=found) if found else Health()
