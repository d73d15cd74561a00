"""The cookies that a request brings."""

from collections.abc import Mapping
from typing import Any


def sent_cookies(scope: Mapping[str, Any], name: str) -> list[bytes]:
    """The values of a request's cookies of this name; an honest one has at most one."""
    prefix = name.encode() + b"="
    return [
        part.removeprefix(prefix)
        for header, value in scope["headers"]
        if header == b"cookie"
        for part in map(bytes.strip, value.split(b";"))
        if part.startswith(prefix)
    ]
