"""A WebSocket client for tests: the `websockets` package, with frames as Python objects."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import msgspec
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from dqn_testing.server import Server

RIGHT, LEFT = [0.1, 0.2, 0.3, 0.4], [-0.5, 0.1, -0.3, 0.2]
JSON, MSGPACK = "dqn.json", "dqn.msgpack"
OPENING = (
    b"GET /act/stream?q_values=true HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
NO_MASK = bytes(4)


class Stream:
    """An open stream; `hello` is the first frame."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.is_packed = connection.subprotocol == MSGPACK
        self.hello = self.receive()

    def send(self, **frame: Any) -> None:
        """Sends a frame with these fields."""
        self.connection.send(msgspec.msgpack.encode(frame) if self.is_packed else json.dumps(frame))

    def receive(self) -> Any:
        """The next frame."""
        frame = self.connection.recv(timeout=20)
        assert isinstance(frame, bytes) is self.is_packed
        return msgspec.msgpack.decode(frame) if isinstance(frame, bytes) else json.loads(frame)

    def ask(self, **frame: Any) -> Any:
        """Sends a frame and returns the next one."""
        self.send(**frame)
        return self.receive()

    def ask_raw(self, frame: bytes | str) -> Any:
        """Sends a frame as it is, text or binary, and returns the next one."""
        self.connection.send(frame)
        return self.receive()


@contextlib.contextmanager
def stream(server: Server, path: str = "/act/stream", *subprotocols: str, **headers: str) -> Iterator[Stream]:
    """A stream with one of the subprotocols; underscores in the names of headers stand for hyphens."""
    url = server.url.replace("http", "ws", 1) + path
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    offered = [Subprotocol(name) for name in subprotocols] or None
    # No pings by the client: it would draw random numbers for them in a thread, to which Hypothesis objects.
    options: dict[str, Any] = {"open_timeout": 20, "ping_interval": None, "proxy": None}
    with connect(url, subprotocols=offered, additional_headers=named, **options) as connection:
        yield Stream(connection)


def refusal(server: Server, path: str, *subprotocols: str, **headers: str) -> Any:
    """The problem document with which a stream is refused."""
    try:
        with stream(server, path, *subprotocols, **headers):
            raise AssertionError("it was not refused")
    except InvalidStatus as error:
        response = error.response
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["x-request-id"]
        document = json.loads(response.body)
        assert document["status"] == response.status_code
        return document


@contextlib.contextmanager
def bare_stream(server: Server) -> Iterator[socket.socket]:
    """An open stream as a bare socket; the hello is read."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(OPENING)
        received = b""
        while b'"action_space"' not in received:
            received += connection.recv(65536)
        yield connection


def framed(payload: bytes) -> bytes:
    """A text frame of at most 125 bytes."""
    return bytes((0x81, 0x80 | len(payload))) + NO_MASK + payload
