"""Sockets: listening, accepting connections, and raising the limit on open files."""

import asyncio
import contextlib
import ctypes
import os
import resource
import socket
import struct
from collections.abc import Callable
from typing import Any

import structlog

BACKLOG = 2048
SPARE = 512
"""File descriptors for everything but accepted connections: models, logs, and connections being refused."""

_MAX_ACCEPTED_AT_ONCE = 256
_HANDSHAKE_SECONDS = 0.1  # for handshakes under way once no more may begin
_PAUSE_SECONDS = 0.2  # when no file descriptors are left; connections wait meanwhile

_SO_ATTACH_FILTER = 26  # of Linux; the socket module has no name for it
_DROP_SYN = (  # a classic packet filter (linux/filter.h): code, two jumps, operand
    struct.pack("HBBI", 0x30, 0, 0, 13)  # load the byte of TCP flags
    + struct.pack("HBBI", 0x45, 0, 1, 0x02)  # if SYN is not set, skip one instruction
    + struct.pack("HBBI", 0x06, 0, 0, 0)  # drop the packet
    + struct.pack("HBBI", 0x06, 0, 0, 0xFFFFFFFF)  # keep the whole packet
)

log = structlog.get_logger()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError with a sentence if the address cannot be used."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return _create(family, address[:2])
    except OSError as error:
        has_number = error.errno is not None and not isinstance(error, socket.gaierror)
        reason = os.strerror(error.errno or 0) if has_number else error.strerror or str(error)
        raise OSError(f"Cannot listen on {host} port {port}: {reason}. Choose another with --port or --host.") from None


def listen_together(host: str, port: int, workers: int) -> list[socket.socket]:
    """A listening socket for each worker, all on one port: the kernel distributes connections among them.

    Raises OSError with a sentence if the address cannot be used.
    """
    with listen(host, port) as probe:  # fails if another server has the port; those below would share it
        family, address = probe.family, probe.getsockname()[:2]
    return [_create(family, address, reuse_port=True) for _ in range(workers)]


def _create(family: int, address: tuple[Any, ...], *, reuse_port: bool = False) -> socket.socket:
    """A listening socket; `::` also covers all IPv4 addresses if the system has dual-stack sockets."""
    is_dual = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=reuse_port, dualstack_ipv6=is_dual)


def raise_file_limit(connections: int) -> int:
    """Raises the limit on open files as far as allowed; returns how many of these connections fit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:  # some systems then refuse it as a soft limit
        hard = connections + SPARE
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = max(1, hard - SPARE)
    if room < connections:
        log.warning(
            "few file descriptors",
            limit=hard,
            max_connections=room,
            detail=f"DQN_MAX_CONNECTIONS is {connections}; raise the limit (ulimit -n) for more than {room}.",
        )
    return min(room, connections)


class Acceptor:
    """Accepts the connections of a listener.

    uvloop's own server accepts one in each turn of the event loop: under load every new connection, those of health
    checks included, would wait one turn for each connection before it. Here all pending ones are accepted at once.
    """

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol], tls: dict[str, Any]) -> None:
        """`protocol` creates the protocol of a connection; `tls` holds the TLS options of its transport."""
        self._listener = listener
        self._protocol = protocol
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._is_stopped = False
        listener.settimeout(0)
        self._start()

    async def stop(self) -> None:
        """Accepts the connections whose handshake has begun, and none after them."""
        self._is_stopped = True
        _ignore_new_connections(self._listener)
        await asyncio.sleep(_HANDSHAKE_SECONDS)
        while self._accept():
            pass
        self._loop.remove_reader(self._listener)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing it would leave it open in other processes
        await asyncio.gather(*self._connecting)

    def _start(self) -> None:
        if not self._is_stopped:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> bool:
        """Accepts many connections; False if none is left for now."""
        for _ in range(_MAX_ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return False
            except ConnectionAbortedError:
                continue
            except OSError:
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_PAUSE_SECONDS, self._start)
                return False
            task = self._loop.create_task(self._connect(connection))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        return True

    async def _connect(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # gone already, or no TLS
            connection.settimeout(0)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._protocol, connection, **self._tls)


def _ignore_new_connections(listener: socket.socket) -> None:
    """Makes the kernel ignore new attempts to connect; handshakes under way still complete and can be accepted.

    Otherwise connections that arrive between the last `accept` and the end of listening would be reset, along with
    their requests. A client that is ignored retries after a second and is then refused, or accepted by another worker.
    Linux only; elsewhere this does nothing.
    """
    memory = ctypes.create_string_buffer(_DROP_SYN)
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 4, ctypes.addressof(memory)))
