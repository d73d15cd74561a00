"""Whether the stores answer: for load balancers and for whoever is on call."""

import asyncio
from collections.abc import Sequence
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from .errors import Unavailable
from .stores import Store


class Health(BaseModel):
    status: Literal["ok"] = "ok"


def add_health(router: APIRouter, stores: Sequence[Store]) -> None:
    """Add `GET /health`: 200 if every store answers, else 503 with `Retry-After`, within a second."""

    @router.get(
        "/health",
        operation_id="Auth_health",
        summary="Whether the stores answer",
        responses={503: {"description": Unavailable.default_message()}},
    )
    async def health() -> Health:
        await asyncio.gather(*(store.ping() for store in stores))
        return Health()
