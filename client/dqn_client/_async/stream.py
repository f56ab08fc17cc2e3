"""A stream for asyncio: one WebSocket, read by the caller."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar, Unpack

from dqn_client.api import Action, SelectionOptions
from dqn_client.backends.aio import INTERRUPTIONS, Lock, Owner, Socket, current_owner, drop_ended, sleep
from dqn_client.encoding import Observation
from dqn_client.endpoint import Endpoint
from dqn_client.errors import ConnectionLostError, PolicyClientError, lost, timed_out, unreachable
from dqn_client.retries import Attempts, RetryPolicy
from dqn_client.stream.session import Session
from dqn_client.stream.wire import Wire

Result = TypeVar("Result")

_READ_BYTES = 65536


class AsyncConnection:
    """A WebSocket on a socket."""

    def __init__(self, wire: Wire, socket: Socket, timeout: float) -> None:
        self._wire = wire
        self._socket = socket
        self._timeout = timeout

    @classmethod
    async def open(cls, wire: Wire, endpoint: Endpoint) -> Self:
        """Connects and sends the handshake. Raises ConnectionLostError."""
        try:
            socket = await Socket.connect(wire.address, endpoint.tls, endpoint.timeout)
        except OSError as error:
            raise unreachable(wire.url, error) from error
        connection = cls(wire, socket, endpoint.timeout)
        await connection._flush()
        return connection

    async def send(self, message: bytes, *, is_text: bool) -> None:
        """Sends a message. Raises ConnectionLostError."""
        self._wire.send(message, is_text=is_text)
        await self._flush()

    async def receive(self) -> bytes:
        """The next message. Raises TimedOutError, ConnectionLostError, or the error that the server closed with."""
        while (message := self._wire.next_message()) is None:
            try:
                data = await self._socket.receive(_READ_BYTES)
            except TimeoutError:
                raise timed_out(self._wire.url, self._timeout) from None
            except OSError as error:
                raise lost(self._wire.url, error) from error
            self._wire.receive_data(data)
            await self._flush()
        return message

    async def close(self) -> None:
        """Sends a close frame if possible, and closes the socket."""
        self._wire.close()
        await self._socket.close(self._wire.data_to_send())

    async def _flush(self) -> None:
        if data := self._wire.data_to_send():
            try:
                await self._socket.send(data)
            except OSError as error:  # or a timeout: a message sent in part cannot be taken back
                raise lost(self._wire.url, error) from error


@dataclass
class _Local:
    """What must not leave the process, or event loop, that it was created in."""

    lock: Lock = field(default_factory=Lock)
    connection: AsyncConnection | None = None


class AsyncStream:
    """Acts over one WebSocket; created by `AsyncPolicyClient.stream`.

    For one control loop; tasks that share it wait for each other. Each process, and event loop, opens its own
    connection.
    """

    def __init__(self, session: Session, endpoint: Endpoint, retries: RetryPolicy) -> None:
        """Opens no connection yet."""
        self._session = session
        self._endpoint = endpoint
        self._retries = retries
        self._locals: dict[Owner, _Local] = {}

    @property
    def model(self) -> str:
        """The name of the model that acts."""
        return self._session.serving.model

    @property
    def version(self) -> int:
        """The version that acts; it changes with the champion unless the stream is pinned."""
        return self._session.serving.version

    @property
    def pinned(self) -> bool:
        """Whether the version stays the same for the whole stream."""
        return self._session.serving.pinned

    @property
    def observation_space(self) -> dict[str, Any]:
        """As in the manifest: {"type": "Box", "shape", "dtype", "low", "high"}, {"type": "Dict", "spaces": {...}}."""
        return self._session.serving.observation_space

    @property
    def action_space(self) -> dict[str, Any]:
        """As in the manifest: {"type": "Discrete", "n", "start"}, or {"type": "MultiDiscrete", "nvec", "start"}."""
        return self._session.serving.action_space

    async def act(self, observation: Observation, **options: Unpack[SelectionOptions]) -> Action:
        """The action for one observation, with `epsilon`, `seed` and `action_mask` as in `AsyncPolicyClient.act`.

        A lost connection is reopened, to the same version if the stream is pinned, and the observation is sent again.
        Raises a PolicyClientError.
        """
        local = self._local()
        try:
            async with local.lock:
                message = self._session.request(observation, **options)
                return await self._retry(local, lambda: self._exchange(local, message))
        finally:
            self._session.notify()

    async def close(self) -> None:
        """Closes the connection; a later `act` opens a new one."""
        if local := self._locals.get(current_owner()):
            await _disconnect(local)

    async def __aenter__(self) -> Self:
        """Connects, and waits for the server to announce which version answers. Raises a PolicyClientError."""
        local = self._local()
        async with local.lock:
            await self._retry(local, lambda: self._connected(local))
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Closes the connection."""
        await self.close()

    def __reduce__(self) -> NoReturn:
        """A connection cannot be pickled. Raises PolicyClientError."""
        raise PolicyClientError(
            "A stream cannot be pickled or copied; pickle its client, and open a stream from it in the other process."
        )

    def _local(self) -> _Local:
        owner = current_owner()
        return self._locals.get(owner) or self._new_local(owner)

    def _new_local(self, owner: Owner) -> _Local:
        if drop_ended(self._locals, owner):
            raise PolicyClientError("This stream is in use in another event loop; open one stream for each.")
        return self._locals.setdefault(owner, _Local())

    async def _retry(self, local: _Local, attempt: Callable[[], Awaitable[Result]]) -> Result:
        attempts = Attempts(self._retries)
        while True:
            try:
                return await attempt()
            except PolicyClientError as error:
                if isinstance(error, ConnectionLostError):
                    await _disconnect(local)
                backoff = attempts.backoff_after(error)
            except INTERRUPTIONS:
                await _disconnect(local)
                raise
            await sleep(backoff)

    async def _exchange(self, local: _Local, message: bytes) -> Action:
        connection = await self._connected(local)
        await connection.send(message, is_text=self._session.codec.is_text)
        while (action := self._session.receive(await connection.receive())) is None:
            pass
        return action

    async def _connected(self, local: _Local) -> AsyncConnection:
        if local.connection is None:
            local.connection = await self._connect()
        elif self._session.is_draining:
            self._session.is_draining = False
            with contextlib.suppress(PolicyClientError):  # then the old one is used until it ends
                new = await self._connect()
                await _disconnect(local)
                local.connection = new
        return local.connection

    async def _connect(self) -> AsyncConnection:
        connection = await AsyncConnection.open(self._session.wire(), self._endpoint)
        try:
            self._session.receive_hello(await connection.receive())
        except BaseException:
            await connection.close()
            raise
        return connection


async def _disconnect(local: _Local) -> None:
    connection, local.connection = local.connection, None
    if connection is not None:
        await connection.close()
