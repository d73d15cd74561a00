"""What the suites of records and of logs share."""

from uuid import uuid4

import pytest


@pytest.fixture
def key() -> str:
    """A log that no other test uses."""
    return f"test:{uuid4().hex}"


@pytest.fixture
def name() -> str:
    """A record that no other test uses."""
    return f"test:{uuid4().hex}"
