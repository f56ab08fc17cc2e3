"""The sockets that the server listens on."""

import contextlib
import os
import socket

BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError with a sentence where the address cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        has_number = error.errno is not None and not isinstance(error, socket.gaierror)
        reason = os.strerror(error.errno or 0) if has_number else error.strerror or str(error)
        raise OSError(f"Cannot listen on {host} port {port}: {reason}. Choose another with --port or --host.") from None


def last_connections(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait to be accepted; none comes after them, and none of them is reset."""
    connections = []
    listener.settimeout(0)
    with contextlib.suppress(OSError):  # BlockingIOError, where there are no more
        while True:
            connections.append(listener.accept()[0])
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)  # closing it would leave it to those processes that have it too
    return connections


def listen_together(host: str, port: int, workers: int) -> list[socket.socket]:
    """A listening socket for each worker, all on one port: the kernel deals connections out among them.

    Raises OSError with a sentence where the address cannot be had.
    """
    with listen(host, port) as alone:  # fails where another server has the port; those below would share it
        family, address = alone.family, alone.getsockname()[:2]
    return [socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=True) for _ in range(workers)]
