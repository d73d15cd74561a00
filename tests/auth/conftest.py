"""Sign-in wired on the memory store, with a clock to move."""

from collections.abc import Iterator

import pytest

from tests.auth.house import House, make_house


@pytest.fixture
def house() -> Iterator[House]:
    made = make_house()
    yield made
    made.poto.passwords.close()
