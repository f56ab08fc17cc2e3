"""The backend for asyncio: streams, sleep and locks; it defines the same names as `blocking`."""

import asyncio
import contextlib
import os
import ssl
from asyncio import Lock, sleep
from typing import Any, NamedTuple, Self

from dqn_client.errors import PolicyClientError

__all__ = ["INTERRUPTIONS", "Lock", "Owner", "Socket", "current_owner", "drop_ended", "sleep"]

_CLOSE_SECONDS = 1.0

INTERRUPTIONS: tuple[type[BaseException], ...] = ()
"""Exceptions that may leave a message half sent or half received: none, since a transport finishes every write."""


class Owner(NamedTuple):
    """Who may use a connection: the event loop that opened it, but not in a fork of its process."""

    loop: asyncio.AbstractEventLoop
    process: int


def current_owner() -> Owner:
    """The running event loop. Raises PolicyClientError outside of one."""
    try:
        return Owner(asyncio.get_running_loop(), os.getpid())
    except RuntimeError:
        raise PolicyClientError(
            "No asyncio event loop is running in this process; after a fork, start one with asyncio.run(...), "
            "or use PolicyClient, which needs none."
        ) from None


def drop_ended(by_owner: dict[Owner, Any], owner: Owner) -> bool:
    """Drops what belongs to closed event loops. Returns whether other loops of this process are still in use.

    Raises PolicyClientError in a loop that was inherited by a fork.
    """
    is_shared = False
    for other in list(by_owner):
        if other.loop is owner.loop and other.process != owner.process:
            raise PolicyClientError(
                f"This event loop belongs to process {other.process}, from which this one was forked; "
                "start a new one with asyncio.run(...)."
            )
        if other.process != owner.process:
            continue  # stays: deleting it would remove its sockets from the selector shared with the parent
        if other.loop.is_closed():
            by_owner.pop(other, None)
        elif other != owner:
            is_shared = True
    return is_shared


class Socket:
    """A TCP or TLS connection. Every method raises OSError, also after `timeout` seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout = timeout

    @classmethod
    async def connect(cls, address: tuple[str, int], tls: ssl.SSLContext | None, timeout: float) -> Self:  # noqa: ASYNC109  (the pair's signature)
        """Opens a connection to (host, port)."""
        async with asyncio.timeout(timeout):
            return cls(*await asyncio.open_connection(*address, ssl=tls), timeout)

    async def send(self, data: bytes) -> None:
        """Sends all the data."""
        self._writer.write(data)
        async with asyncio.timeout(self._timeout):
            await self._writer.drain()

    async def receive(self, size: int) -> bytes:
        """The next bytes, at most `size`; empty at the end of the stream."""
        async with asyncio.timeout(self._timeout):
            return await self._reader.read(size)

    async def close(self, last: bytes) -> None:
        """Sends `last` if that is possible at once, and closes."""
        self._writer.write(last)
        self._writer.close()
        with contextlib.suppress(OSError):  # or a timeout
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._writer.wait_closed()
