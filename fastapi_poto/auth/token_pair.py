"""What a client gets when it signs in or refreshes: the body of the response, and what a client keeps."""

import math
import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


def _expires_at(data: dict[str, Any]) -> float:
    expires_in: float = data.get("expires_in", math.inf)
    return time.time() + expires_in


class TokenPair(BaseModel):
    """Two tokens: one for calls, and one for the next pair. Neither is shown by `repr`."""

    model_config = ConfigDict(frozen=True)

    access_token: str = Field(repr=False)
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="Seconds until the access token expires.")
    refresh_token: str = Field(repr=False)
    user_id: str
    expires_at: float = Field(default_factory=_expires_at, exclude=True)
    """Seconds since 1970, by the clock of who holds it: counted from when the pair was made or received."""

    @property
    def headers(self) -> dict[str, str]:
        """For any HTTP client."""
        return {"Authorization": f"Bearer {self.access_token}"}


class VisitorTokens(TokenPair):
    """Two tokens for a new visitor, and the password with which it can sign in again; it is shown this once."""

    password: str = Field(repr=False)
