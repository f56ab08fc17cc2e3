"""The end of a connection on which the client may still be sending."""

import asyncio
from collections.abc import Callable

from typing_extensions import override

_LINGER_SECONDS = 2.0


class Outlet:
    """Where a request writes its answer. To close it does not cut off a client that still sends."""

    __slots__ = ("_transport", "close", "is_closing")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        """`close` ends the connection."""
        self._transport = transport
        self.is_closing = transport.is_closing
        self.close = close

    def write(self, data: bytes) -> None:
        """Writes, or does nothing where the client has gone: uvicorn tells only the latest of its requests."""
        if not self._transport.is_closing():
            self._transport.write(data)


class LingeringClose(asyncio.Protocol):
    """Takes over a connection that owes at most its last answers, and discards what still arrives.

    A socket that is closed with unread bytes resets its connection, and the reset may reach the client before the
    answer does (RFC 9112, section 9.6).
    """

    def __init__(self, protocol: asyncio.Protocol, transport: asyncio.Transport) -> None:
        """`protocol` still gets flow control and the end."""
        self._protocol = protocol
        self._transport = transport
        self._is_sent = self._is_half_closed = False
        transport.set_protocol(self)

    def send_final(self, response: bytes = b"") -> None:
        """Sends the last bytes; closes when the client does, or after a moment."""
        if self._is_sent or self._transport.is_closing():
            return
        self._is_sent = True
        self._transport.write(response)
        if self._is_half_closed:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.abort)

    @override
    def eof_received(self) -> bool:
        """Closes, but stays open (as TLS cannot) for an answer that is still to come."""
        self._is_half_closed = True
        return not self._is_sent and self._transport.can_write_eof()

    @override
    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    @override
    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
