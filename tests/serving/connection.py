"""A client in control of every byte, for tests of single connections."""

import json
import socket
from typing import Any, NamedTuple

from dqn_testing.server import Server

RIGHT, LEFT = b'{"observation": [0.1, 0.2, 0.3, 0.4]}', b'{"observation": [-0.5, 0.1, -0.3, 0.2]}'
"""Bodies of act calls that the test policies answer with 1 and 0."""


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: dict[str, str]
    document: Any


class Connection:
    """One connection, in control of every byte."""

    def __init__(self, server: Server) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self.socket.makefile("rb")

    def send(self, *requests: bytes) -> None:
        """Sends everything at once."""
        self.socket.sendall(b"".join(requests))

    def receive(self) -> Answer:
        """The next answer."""
        status = int(self._stream.readline().split()[1])
        headers = {}
        while (line := self._stream.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            assert name not in headers
            headers[name] = value
        return Answer(status, headers, json.loads(self._stream.read(int(headers["content-length"]))))

    def is_closed(self) -> bool:
        """Waits for the end of the connection; returns whether it came without another byte."""
        return self._stream.read(1) == b""

    def close(self) -> None:
        """Closes the connection."""
        self._stream.close()
        self.socket.close()


def call(body: bytes, *headers: bytes, path: bytes = b"/act", http: bytes = b"1.1") -> bytes:
    """A request as bytes."""
    lines = [b"POST %b HTTP/%b" % (path, http), b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])
