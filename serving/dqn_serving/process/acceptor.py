"""Takes the connections that come to a listener.

uvloop's own server takes one in each turn of the event loop: under load every new connection, those of health checks as
well, would wait for as many turns as there are others before it. Here all that wait are taken at once.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from dqn_serving.process.listeners import begin_no_more, last_connections

_MOST_AT_ONCE = 256
_HANDSHAKE_SECONDS = 0.1  # for those who have half a connection when no more may begin
_PAUSE_SECONDS = 0.2  # where there are no descriptors left; what comes meanwhile waits


class Acceptor:
    """One listener's connections."""

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol], tls: dict[str, Any]) -> None:
        """`protocol` makes a connection's protocol; `tls` are the options of its transport."""
        self._listener = listener
        self._protocol = protocol
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._taking: set[asyncio.Task[None]] = set()
        self._is_stopped = False
        listener.settimeout(0)
        self._start()

    async def stop(self) -> None:
        """Takes the connections that have begun until now, and nothing after them."""
        self._is_stopped = True
        begin_no_more(self._listener)
        await asyncio.sleep(_HANDSHAKE_SECONDS)
        self._loop.remove_reader(self._listener)
        for connection in last_connections(self._listener):
            self._take(connection)
        await asyncio.gather(*self._taking)

    def _start(self) -> None:
        if not self._is_stopped:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError:
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_PAUSE_SECONDS, self._start)
                return
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        task = self._loop.create_task(self._connect(connection))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    async def _connect(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # gone already, or no TLS
            connection.settimeout(0)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._protocol, connection, **self._tls)
