"""The headers of a refusal (RFC 6750, section 3)."""


def challenge(realm: str, error: str | None = None) -> dict[str, str]:
    """Headers of a 401. `error="invalid_token"` when a token came but does not hold."""
    value = f'Bearer realm="{realm}"'
    if error is not None:
        value += f', error="{error}"'
    return {"WWW-Authenticate": value, "Cache-Control": "no-store"}


def insufficient() -> dict[str, str]:
    """Headers of a 403 for a caller who lacks a role."""
    return {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
