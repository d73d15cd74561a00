"""One call as HTTP will have it."""

from dataclasses import dataclass, field
from typing import Any

Pairs = list[tuple[str, str | int | float | bool | None]]


@dataclass(slots=True)
class Outgoing:
    """What is sent, perhaps more than once."""

    method: str
    path: str
    query: Pairs = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    fields: list[tuple[str, str]] = field(default_factory=list)
    """Headers that are arguments. One name may stand several times."""
    cookies: list[tuple[str, str]] = field(default_factory=list)
    members: dict[str, Any] = field(default_factory=dict)
    """The arguments that the JSON body, or the query, is made of."""
    content: bytes | None = None
    form: dict[str, Any] = field(default_factory=dict)
    files: list[tuple[str, Any]] = field(default_factory=list)

    def set_json(self, content: bytes) -> None:
        self.content = content
        self.headers["Content-Type"] = "application/json"

    @property
    def can_be_sent_again(self) -> bool:
        """Whether all of it can be read a second time: a pipe, or a download that is passed on, cannot."""
        opened = (file[1] if isinstance(file, tuple) else file for _, file in self.files)
        return all(isinstance(one, str | bytes) or _is_seekable(one) for one in opened)


def _is_seekable(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    return bool(seekable()) if callable(seekable) else hasattr(file, "seek")
