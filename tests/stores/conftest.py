"""The stores of the sessions' suites, for the logs beside the records."""

from uuid import uuid4

import pytest

from tests.sessions.conftest import (  # noqa: F401 - fixtures
    SHARED_STORES,
    postgres_server,
    redis_server,
    store,
    store_url,
    url_of,
)


@pytest.fixture
def key() -> str:
    """A log that no other test uses."""
    return f"test:{uuid4().hex}"
