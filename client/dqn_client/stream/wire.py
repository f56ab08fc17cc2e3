"""The WebSocket protocol without I/O (sans-io): bytes in, messages out, and the reverse.

The caller sends `data_to_send()` after each `send` and `receive_data`, so no second thread is needed for reading, which
would double the time of a round trip.
"""

from collections import deque
from collections.abc import Mapping

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import WebSocketException
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from dqn_client.errors import (
    ConnectionLostError,
    PolicyClientError,
    RequestRefusedError,
    UnexpectedResponseError,
    error_from,
)

_MAX_MESSAGE_BYTES = 2**24  # a hello frame with the bounds of every pixel is long


class Wire:
    """One connection, from handshake to close."""

    def __init__(self, url: str, headers: Mapping[str, str], subprotocol: str) -> None:
        """Begins the handshake; `url` is ws:// or wss://."""
        uri = parse_uri(url)
        self.url = url
        self.address = (uri.host, uri.port)
        self._protocol = ClientProtocol(uri, subprotocols=[Subprotocol(subprotocol)], max_size=_MAX_MESSAGE_BYTES)
        self._messages: deque[bytes] = deque()
        self._fragments: list[bytes] = []
        request = self._protocol.connect()
        request.headers.update(Headers(headers))
        self._protocol.send_request(request)

    def data_to_send(self) -> bytes:
        """The bytes to send now."""
        return b"".join(self._protocol.data_to_send())

    def send(self, message: bytes, *, is_text: bool) -> None:
        """Queues a message. Raises ConnectionLostError if the server has closed the connection."""
        if self._protocol.state is not State.OPEN:
            raise ConnectionLostError(self._close_message(), was_open=True)
        (self._protocol.send_text if is_text else self._protocol.send_binary)(message)

    def receive_data(self, data: bytes) -> None:
        """Processes received bytes; empty at end of file. Raises the error of a refused handshake."""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._append(event)
            elif isinstance(event, Response) and event.status_code != 101:
                raise error_from(event.status_code, event.headers, bytes(event.body or b""), self.url)
        if self._protocol.handshake_exc is not None:
            raise self._failed_handshake(self._protocol.handshake_exc)

    def next_message(self) -> bytes | None:
        """The next message; None if more bytes are needed. Raises a PolicyClientError if the connection has ended."""
        if self._messages:
            return self._messages.popleft()
        if self._protocol.state in {State.CLOSING, State.CLOSED}:
            raise self._end()
        return None

    def close(self) -> None:
        """Queues a close frame if the connection is open."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)

    def _append(self, frame: Frame) -> None:
        if frame.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                self._messages.append(b"".join(self._fragments))
                self._fragments.clear()

    def _failed_handshake(self, error: Exception) -> PolicyClientError:
        if isinstance(error, WebSocketException) and not isinstance(error.__cause__, EOFError):
            return UnexpectedResponseError(f"{self.url} does not speak WebSocket: {error}.")
        return ConnectionLostError(f"Lost the connection to {self.url} in the handshake.", was_open=True)

    def _end(self) -> PolicyClientError:
        received = self._protocol.close_rcvd
        if received is not None and received.code == CloseCode.MESSAGE_TOO_BIG:
            return RequestRefusedError(413, "Content Too Large", self._close_message(), "too_large")
        return ConnectionLostError(self._close_message(), was_open=True)

    def _close_message(self) -> str:
        received = self._protocol.close_rcvd
        if received is None:
            return f"Lost the stream {self.url}."
        return f"{self.url} closed the stream ({int(received.code)}: {received.reason or 'no reason given'})."
