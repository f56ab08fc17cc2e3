"""The end of a connection on which the client may still be sending."""

import asyncio

_LINGER_SECONDS = 2.0


class Farewell(asyncio.Protocol):
    """Takes over a connection that owes at most its last answers, and discards what still arrives.

    A socket that is closed with unread bytes resets its connection, and the reset may reach the client before the
    answer does (RFC 9112, section 9.6).
    """

    def __init__(self, protocol: asyncio.Protocol, transport: asyncio.Transport) -> None:
        """`protocol` is still told of flow control and of the end."""
        self._protocol = protocol
        self._transport = transport
        self._is_said = self._is_half_closed = False
        transport.set_protocol(self)

    def say(self, last_words: bytes = b"") -> None:
        """Sends the last bytes; closes when the client does, or after a moment."""
        if self._is_said or self._transport.is_closing():
            return
        self._is_said = True
        self._transport.write(last_words)
        if self._is_half_closed:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.abort)

    def eof_received(self) -> bool:
        """Closes, but stays open (as TLS cannot) for an answer that is still to come."""
        self._is_half_closed = True
        return not self._is_said and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        """Passes it on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Passes it on."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Passes it on."""
        self._protocol.connection_lost(exc)
