"""One world for the tests of a process that leave it as it is, and one for each test that does not."""

from collections.abc import Iterator

import pytest

from tests.security.world import World, world


@pytest.fixture(scope="session")
def shared() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.fixture
def own() -> Iterator[World]:
    with world() as made:
        yield made
