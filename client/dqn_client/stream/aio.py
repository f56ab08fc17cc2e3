"""A stream for asyncio; Stream with `await`."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar, Unpack

from dqn_client.answers import Action
from dqn_client.calls import Choosing
from dqn_client.encoding import Observation
from dqn_client.endpoint import Endpoint
from dqn_client.errors import (
    ConnectionLostError,
    PolicyClientError,
    TimedOutError,
    reason_of,
    unreachable,
)
from dqn_client.retries import Attempts, Retries
from dqn_client.stream.session import Session, StreamState
from dqn_client.stream.wire import Wire

Result = TypeVar("Result")

_READ_BYTES = 65536
_CLOSE_SECONDS = 1.0


class Connection:
    """A WebSocket on a pair of asyncio streams."""

    def __init__(self, wire: Wire, tls: ssl.SSLContext | None, timeout: float) -> None:
        """Does nothing yet."""
        self._wire = wire
        self._tls = tls
        self._timeout = timeout

    async def open(self) -> None:
        """Connects and sends the handshake. Raises ConnectionLostError."""
        host, port = self._wire.address
        try:
            async with asyncio.timeout(self._timeout):
                self._reader, self._writer = await asyncio.open_connection(host, port, ssl=self._tls)
        except OSError as error:
            raise unreachable(self._wire.url, error) from error
        await self._flush()

    async def send(self, message: bytes, *, is_text: bool) -> None:
        """Sends a message."""
        self._wire.send(message, is_text=is_text)
        await self._flush()

    async def receive(self) -> bytes:
        """The next message."""
        while (message := self._wire.next_message()) is None:
            try:
                async with asyncio.timeout(self._timeout):
                    data = await self._reader.read(_READ_BYTES)
            except TimeoutError:
                raise TimedOutError(f"{self._wire.url} did not answer within {self._timeout:g} s.") from None
            except OSError as error:
                raise ConnectionLostError(
                    f"Lost the stream {self._wire.url}: {reason_of(error)}.", was_open=True
                ) from error
            self._wire.feed(data)
            await self._flush()
        return message

    async def close(self) -> None:
        """Says farewell where that is possible at once, and closes the connection."""
        self._wire.close()
        self._writer.write(self._wire.outgoing())
        self._writer.close()
        with contextlib.suppress(OSError):  # a timeout as well
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._writer.wait_closed()

    async def _flush(self) -> None:
        if not (data := self._wire.outgoing()):
            return
        self._writer.write(data)
        try:
            async with asyncio.timeout(self._timeout):
                await self._writer.drain()
        except OSError as error:  # a timeout as well
            raise ConnectionLostError(
                f"Lost the stream {self._wire.url}: {reason_of(error)}.", was_open=True
            ) from error


class AsyncStream(StreamState):
    """Acts over one WebSocket; made by `AsyncPolicyClient.stream`. For one control loop; tasks wait for each other."""

    def __init__(self, session: Session, endpoint: Endpoint, retries: Retries) -> None:
        """Opens no connection yet."""
        super().__init__(session)
        self._endpoint = endpoint
        self._retries = retries
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    async def act(self, observation: Observation, **choosing: Unpack[Choosing]) -> Action:
        """The action for one observation.

        With `epsilon`, `seed` and `action_mask` as in `PolicyClient.act`. A lost connection is opened again,
        to the same version if the stream is pinned, and the observation sent again.
        """
        try:
            async with self._lock:
                message = self._session.ask(observation, **choosing)
                return await self._persist(lambda: self._exchange(message))
        finally:
            self._session.announce()

    async def close(self) -> None:
        """Closes the connection; a later `act` opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def __aenter__(self) -> Self:
        """Connects, and waits for the server to say what answers."""
        async with self._lock:
            await self._persist(self._connected)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Closes the connection."""
        await self.close()

    async def _persist(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        attempts = Attempts(self._retries)
        while True:
            try:
                return await attempt()
            except PolicyClientError as error:
                if isinstance(error, ConnectionLostError):
                    await self.close()
                pause = attempts.pause_after(error)
            await asyncio.sleep(pause)

    async def _exchange(self, message: bytes) -> Action:
        connection = await self._connected()
        await connection.send(message, is_text=self._session.codec.is_text)
        while (action := self._session.take(await connection.receive())) is None:
            pass
        return action

    async def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = await self._connect()
        elif self._session.is_draining:
            self._session.is_draining = False
            with contextlib.suppress(PolicyClientError):  # then the old one serves to its end
                new = await self._connect()
                await self.close()
                self._connection = new
        return self._connection

    async def _connect(self) -> Connection:
        connection = Connection(self._session.wire(), self._endpoint.tls, self._endpoint.timeout)
        await connection.open()
        try:
            self._session.greet(await connection.receive())
        except BaseException:
            await connection.close()
            raise
        return connection
