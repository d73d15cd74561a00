"""A client with a socket of its own: it reads when the test says so, and leaves as rudely as it likes."""

import fcntl
import json
import socket
import struct
import termios
import time
from array import array
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlencode


class Connection:
    """One HTTP/1.1 request. `received` is all that came, chunk sizes included."""

    def __init__(
        self,
        url: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect((host, int(port)))
        self.received = b""
        self.ended = False
        target = f"{path}?{urlencode(query)}" if query else path
        content = b"" if body is None else json.dumps(body).encode()
        sent = {"Host": host, **(headers or {})}
        if body is not None:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        verb = "GET" if body is None else "POST"
        self.socket.sendall(f"{verb} {target} HTTP/1.1\r\n{head}\r\n".encode() + content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def read_some(self, seconds: float = 5.0) -> bytes:
        """What is there; waits for it. Empty at the end of the connection."""
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(262_144)
        except TimeoutError:
            raise AssertionError(f"nothing came within {seconds} s after {self.received[-200:]!r}") from None
        except ConnectionResetError:
            data = b""
        self.ended = not data
        self.received += data
        return data

    def wait_full(self) -> None:
        """Return when nothing more arrives, as nothing is read: what is sent has to wait."""
        waiting, before = array("i", [0]), -1
        while waiting[0] != before:
            before = waiting[0]
            time.sleep(0.1)
            fcntl.ioctl(self.socket, termios.FIONREAD, waiting)

    def read_until(self, text: bytes, seconds: float = 5.0) -> bytes:
        """All that came so far, once `text` is in it."""
        until = time.monotonic() + seconds
        while text not in self.received:
            if not self.read_some(max(0.01, until - time.monotonic())):
                raise AssertionError(f"{text!r} never came: {self.received[-300:]!r}")
        return self.received

    def read_all(self, seconds: float = 10.0) -> bytes:
        """Everything up to the end of the response."""
        until = time.monotonic() + seconds
        while not self.is_complete and self.read_some(max(0.01, until - time.monotonic())):
            pass
        return self.received

    @property
    def is_complete(self) -> bool:
        """Whether the last chunk came."""
        return self.received.endswith(b"\r\n0\r\n\r\n")

    @property
    def body(self) -> bytes:
        """What came of the body, without the chunks' sizes."""
        rest = self.received.partition(b"\r\n\r\n")[2]
        chunks: list[bytes] = []
        while b"\r\n" in rest:
            size, _, rest = rest.partition(b"\r\n")
            chunks.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        return b"".join(chunks)

    @property
    def status(self) -> int:
        return int(self.received.split(b" ", 2)[1])

    def leave(self) -> float:
        """Close the connection, and give the time."""
        at = time.monotonic()
        self.socket.close()
        return at

    def reset(self) -> float:
        """Cut it with a TCP reset, as a client that died."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return self.leave()


SHUTTING_DOWN = b'event: error\ndata: {"$error":{"code":"shutting_down","detail":"The server is shutting down"}}\n\n'
