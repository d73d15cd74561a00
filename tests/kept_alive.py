"""One kept-alive connection, written by hand: an order of requests that an HTTP library would avoid."""

import json
import socket
from typing import Any


def post(path: str, body: bytes = b"{}", token: str | None = None) -> bytes:
    """A call as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    bearer = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"{head}{bearer}\r\n".encode() + body


class KeptAlive:
    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.file = self.socket.makefile("rb")

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, *requests: bytes) -> None:
        """All of them in one write."""
        self.socket.sendall(b"".join(requests))

    def read(self) -> Any:
        """The next answer, which is a good one."""
        status = self.file.readline()
        length = 0
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = self.file.read(length)
        assert b" 200 " in status, (status, body)
        return json.loads(body)
