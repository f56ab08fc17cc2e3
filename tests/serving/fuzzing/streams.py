"""Streams as entry points of a server: frames, or any bytes, on a connection without a socket."""

import asyncio
import json
from typing import Any

import msgspec
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from dqn_serving.api.stream.connection import StreamConnection
from dqn_serving.api.stream.hub import StreamHub
from dqn_serving.services import Services
from dqn_serving.telemetry.request_context import EMPTY

_ALLOWED = {400, 413, 415, 422}
_PATHS = ("/act/stream", "/models/lake/act/stream")
_CODECS: dict[str, Any] = {"dqn.json": json.loads, "dqn.msgpack": msgspec.msgpack.decode}
_MASK = b"\x11\x22\x33\x44"


class Streams:
    """Streams of a server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._streams = StreamHub(services)

    async def frame(self, data: bytes) -> str:
        """A whole frame, whose first byte chooses path and encoding: exactly an action or an error comes back."""
        encoding = sorted(_CODECS)[data[0] % 2]
        opcode = Opcode.TEXT if encoding == "dqn.json" else Opcode.BINARY
        received = await self._exchange(_PATHS[data[0] // 2 % 2], encoding, [_masked(opcode, data[1:])])
        hello, *answers = (_CODECS[encoding](payload) for payload in received)
        assert hello["type"] == "hello"
        (answer,) = answers
        assert answer["type"] in {"action", "error"}
        assert answer["type"] == "action" or answer["status"] in _ALLOWED, answer
        return f"stream {answer.get('status', 200)}"

    async def piece(self, data: bytes) -> str:
        """Any bytes, split where the first byte says: what comes back is valid frames."""
        middle = 1 + data[0] % len(data)
        received = await self._exchange(_PATHS[0], "dqn.json", [data[1:middle], data[middle:]])
        kinds = [json.loads(payload)["type"] for payload in received]
        assert set(kinds) <= {"hello", "action", "error"}
        return f"stream bytes {len(kinds) - 1}"

    async def _exchange(self, path: str, encoding: str, pieces: list[bytes]) -> list[bytes]:
        """Payloads of the messages that come back."""
        transport = _Transport()
        route = self._streams.route(path)
        assert route is not None
        connection = StreamConnection(self._streams, route, set(), EMPTY)
        connection.connection_made(transport)
        scope = {
            "path": path,
            "query_string": b"",
            "headers": [*_HANDSHAKE, (b"sec-websocket-protocol", encoding.encode())],
        }
        await connection.open(scope, lambda problem, _: problem.answer().wire)
        for piece in pieces:
            if piece and not transport.is_closing():
                connection.data_received(piece)
        await asyncio.sleep(0)  # the turn ends
        await asyncio.sleep(0)
        connection.shutdown()
        connection.connection_lost(None)
        head, _, frames = transport.written.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        return _messages(frames)


_HANDSHAKE = [
    (b"host", b"x"),
    (b"connection", b"Upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
]


def _masked(opcode: Opcode, payload: bytes) -> bytes:
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
    masked = bytes(byte ^ _MASK[index % 4] for index, byte in enumerate(payload[: 2**16 - 1]))
    return bytes([0x80 | opcode]) + length + _MASK + masked


def _messages(data: bytes) -> list[bytes]:
    client = ClientProtocol(parse_uri("ws://x"), state=OPEN, max_size=None)
    client.receive_data(data)
    assert client.parser_exc is None
    frames = [event for event in client.events_received() if isinstance(event, Frame)]
    return [bytes(frame.data) for frame in frames if frame.opcode in {Opcode.TEXT, Opcode.BINARY}]


class _Transport(asyncio.Transport):
    """Records what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self._is_closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    def abort(self) -> None:
        self._is_closing = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass
