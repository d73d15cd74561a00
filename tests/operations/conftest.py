"""What the suites of mistakes share."""

import pytest

from fastapi_poto import Poto
from tests.secret import SECRET


@pytest.fixture
def poto() -> Poto:
    return Poto(SECRET)
