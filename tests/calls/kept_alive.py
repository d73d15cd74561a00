"""One kept-alive connection, written and read by hand."""

import json
import socket
from typing import Any


class Wire:
    """One kept-alive connection, written and read by hand."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.file = self.socket.makefile("rb")

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def write(self, *requests: tuple[str | None, bytes]) -> None:
        """Calls of `peek`, all in one write: a token or None, and the body."""
        self.socket.sendall(
            b"".join(
                b"POST /Who/peek HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                + (f"Authorization: Bearer {token}\r\n".encode() if token else b"")
                + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
                for token, body in requests
            )
        )

    def read(self) -> Any:
        status = self.file.readline()
        length = 0
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert b" 200 " in status, status
        return json.loads(self.file.read(length))
