"""The sockets that the server listens on."""

import contextlib
import ctypes
import os
import socket
import struct

BACKLOG = 2048

_SO_ATTACH_FILTER = 26  # of Linux; the socket module has no name for it
_INSTRUCTION = struct.Struct("HBBI")  # of the classic packet filter (linux/filter.h): code, jumps, operand
_PASS_OVER_SYN = (
    (0x30, 0, 0, 13),  # load the byte of TCP's flags
    (0x45, 0, 1, 0x02),  # if SYN is not among them, pass over one instruction
    (0x06, 0, 0, 0),  # drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all of it
)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError with a sentence where the address cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        has_number = error.errno is not None and not isinstance(error, socket.gaierror)
        reason = os.strerror(error.errno or 0) if has_number else error.strerror or str(error)
        raise OSError(f"Cannot listen on {host} port {port}: {reason}. Choose another with --port or --host.") from None


def begin_no_more(listener: socket.socket) -> None:
    """From now on the kernel passes over attempts to connect; those that have begun still come to be accepted.

    Without it others would come between the last `accept` and the end of listening, and be reset with their requests. A
    client that is passed over tries again after a second and then finds nobody, or another worker. Linux only;
    elsewhere it does nothing.
    """
    program = b"".join(_INSTRUCTION.pack(*instruction) for instruction in _PASS_OVER_SYN)
    memory = ctypes.create_string_buffer(program)
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 4, ctypes.addressof(memory)))


def last_connections(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait to be accepted; none comes after them."""
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
