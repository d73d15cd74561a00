"""`Poto-Timeout-Ms`, as a pure function."""

import time

import pytest

from fastapi_poto.deadline import parse_deadline
from fastapi_poto.errors import BadRequest


@pytest.mark.parametrize(
    ("value", "seconds"), [(b"0", 0), (b"250", 0.25), (b" 1500\t", 1.5), (b"9999999999", 9_999_999.999)]
)
def test_milliseconds_from_now(value: bytes, seconds: float) -> None:
    """The deadline is that of the monotonic clock."""
    before = time.monotonic()
    deadline = parse_deadline(value)
    assert before + seconds <= deadline <= time.monotonic() + seconds + 0.001


@pytest.mark.parametrize(
    "value", [b"", b"soon", b"-1", b"1.5", b"1e3", b"12345678901", b"1_000", b"\xb2", "٣".encode()]
)
def test_any_other_value_is_a_bad_request(value: bytes) -> None:
    """A deadline that is not understood is not ignored."""
    with pytest.raises(BadRequest):
        parse_deadline(value)
