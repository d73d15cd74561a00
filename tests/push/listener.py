"""A subscription over HTTP, read by a thread of its own."""

import json
import threading
from contextlib import suppress
from typing import Any

import httpx
from httpx_sse import ServerSentEvent, connect_sse


class Listener:
    """A subscription over HTTP, read by a thread of its own."""

    def __init__(self, url: str, path: str, headers: dict[str, str]) -> None:
        self.events: list[ServerSentEvent] = []
        self.failure: tuple[int, Any] | None = None
        self._changed = threading.Condition()
        self._is_left = False
        self._thread = threading.Thread(target=self._read, args=(url + path, headers), daemon=True)
        self._thread.start()

    def _read(self, url: str, headers: dict[str, str]) -> None:
        with (
            suppress(httpx.TransportError),  # the server is gone
            httpx.Client(timeout=20) as client,
            connect_sse(client, "GET", url, headers=headers) as source,
        ):
            if source.response.status_code != 200:
                source.response.read()
                with self._changed:
                    self.failure = (source.response.status_code, source.response.json())
                    self._changed.notify_all()
                return
            for event in source.iter_sse():
                with self._changed:
                    self.events.append(event)
                    self._changed.notify_all()
                    if self._is_left:
                        return

    def wait(self, count: int, name: str = "message") -> list[Any]:
        """The data of the events of this name, when there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.named(name)) >= count, 15), self.events
            return [json.loads(event.data) for event in self.named(name)]

    def named(self, name: str) -> list[ServerSentEvent]:
        return [event for event in self.events if event.event == name]

    def opened(self) -> "Listener":
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.named("open")) or self.failure is not None, 15)
        assert self.failure is None, self.failure
        return self

    @property
    def last_id(self) -> str:
        return self.events[-1].id

    def cut_off(self) -> list[Any]:
        """All the data of messages that came until the server was gone."""
        self._thread.join(15)
        assert not self._thread.is_alive()
        return [json.loads(event.data) for event in self.named("message")]

    def leave(self) -> None:
        """The next event is the last one that is read."""
        self._is_left = True
