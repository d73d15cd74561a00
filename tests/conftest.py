"""What every test may use."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio: the loop that FastAPI apps are served on."""
    return "asyncio"
