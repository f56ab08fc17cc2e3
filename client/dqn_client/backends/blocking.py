"""The backend without an event loop: plain sockets, read by the calling thread; it defines the same names as `aio`."""

import os
import socket
import ssl
from threading import Lock
from time import sleep
from typing import Any, Self

__all__ = ["INTERRUPTIONS", "Lock", "Owner", "Socket", "current_owner", "drop_ended", "sleep"]


INTERRUPTIONS = (BaseException,)
"""Exceptions that may leave a message half sent or half received, which makes its connection unusable."""

Owner = int
"""Who may use a connection: the process that opened it, by its id."""

current_owner = os.getpid


def drop_ended(by_owner: dict[Owner, Any], owner: Owner) -> bool:
    """Drops what a parent process opened, sending nothing: the parent still uses it. Returns False: no loops."""
    for other in list(by_owner):
        if other != owner:
            by_owner.pop(other, None)
    return False


class Socket:
    """A TCP or TLS connection. Every method raises OSError, also after `timeout` seconds."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.receive = connected.recv
        self.send = connected.sendall

    @classmethod
    def connect(cls, address: tuple[str, int], tls: ssl.SSLContext | None, timeout: float) -> Self:
        """Opens a connection to (host, port)."""
        connected = socket.create_connection(address, timeout)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return cls(tls.wrap_socket(connected, server_hostname=address[0]) if tls else connected)
        except OSError:
            connected.close()
            raise

    def close(self, last: bytes) -> None:
        """Sends `last` if possible, and closes."""
        try:
            self._socket.sendall(last)
        except OSError:  # a close frame is a courtesy
            pass
        finally:
            self._socket.close()
