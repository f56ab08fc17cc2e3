"""A stream for programs without an event loop: one socket, read by whoever asks."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
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


class Connection:
    """A WebSocket on a socket."""

    def __init__(self, wire: Wire, tls: ssl.SSLContext | None, timeout: float) -> None:
        """Connects and sends the handshake. Raises ConnectionLostError."""
        self._wire = wire
        self._timeout = timeout
        try:
            self._socket = _connect(wire.address, tls, timeout)
        except OSError as error:
            raise unreachable(wire.url, error) from error
        self._flush()

    def send(self, message: bytes, *, is_text: bool) -> None:
        """Sends a message."""
        self._wire.send(message, is_text=is_text)
        self._flush()

    def receive(self) -> bytes:
        """The next message."""
        while (message := self._wire.next_message()) is None:
            try:
                data = self._socket.recv(_READ_BYTES)
            except TimeoutError:
                raise TimedOutError(f"{self._wire.url} did not answer within {self._timeout:g} s.") from None
            except OSError as error:
                raise ConnectionLostError(
                    f"Lost the stream {self._wire.url}: {reason_of(error)}.", was_open=True
                ) from error
            self._wire.feed(data)
            self._flush()
        return message

    def close(self) -> None:
        """Says farewell where that is possible at once, and closes the socket."""
        try:
            self._wire.close()
            self._flush()
        except ConnectionLostError:
            pass
        finally:
            self._socket.close()

    def _flush(self) -> None:
        try:
            if data := self._wire.outgoing():
                self._socket.sendall(data)
        except OSError as error:  # a timeout as well: what was sent in part cannot be taken back
            raise ConnectionLostError(
                f"Lost the stream {self._wire.url}: {reason_of(error)}.", was_open=True
            ) from error


def _connect(address: tuple[str, int], tls: ssl.SSLContext | None, timeout: float) -> socket.socket:
    connected = socket.create_connection(address, timeout)
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls.wrap_socket(connected, server_hostname=address[0]) if tls else connected
    except OSError:
        connected.close()
        raise


class Stream(StreamState):
    """Acts over one WebSocket; made by `PolicyClient.stream`. For one control loop; threads wait for each other."""

    def __init__(self, session: Session, endpoint: Endpoint, retries: Retries) -> None:
        """Opens no connection yet."""
        super().__init__(session)
        self._endpoint = endpoint
        self._retries = retries
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def act(self, observation: Observation, **choosing: Unpack[Choosing]) -> Action:
        """The action for one observation.

        With `epsilon`, `seed` and `action_mask` as in `PolicyClient.act`. A lost connection is opened again,
        to the same version if the stream is pinned, and the observation sent again.
        """
        try:
            with self._lock:
                message = self._session.ask(observation, **choosing)
                return self._persist(lambda: self._exchange(message))
        finally:
            self._session.announce()

    def close(self) -> None:
        """Closes the connection; a later `act` opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        """Connects, and waits for the server to say what answers."""
        with self._lock:
            self._persist(self._connected)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Closes the connection."""
        self.close()

    def _persist(self, attempt: Callable[[], Result]) -> Result:
        attempts = Attempts(self._retries)
        while True:
            try:
                return attempt()
            except PolicyClientError as error:
                if isinstance(error, ConnectionLostError):
                    self.close()
                pause = attempts.pause_after(error)
            except BaseException:  # interrupted, perhaps in the middle of a message
                self.close()
                raise
            time.sleep(pause)

    def _exchange(self, message: bytes) -> Action:
        connection = self._connected()
        connection.send(message, is_text=self._session.codec.is_text)
        while (action := self._session.take(connection.receive())) is None:
            pass
        return action

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._connect()
        elif self._session.is_draining:
            self._session.is_draining = False
            with contextlib.suppress(PolicyClientError):  # then the old one serves to its end
                new = self._connect()
                self.close()
                self._connection = new
        return self._connection

    def _connect(self) -> Connection:
        connection = Connection(self._session.wire(), self._endpoint.tls, self._endpoint.timeout)
        try:
            self._session.greet(connection.receive())
        except BaseException:
            connection.close()
            raise
        return connection
