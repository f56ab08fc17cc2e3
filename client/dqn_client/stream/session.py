"""The state of a stream across its connections: its options, its pending request, and the version that answers."""

import itertools
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import msgspec

from dqn_client.api import Action
from dqn_client.encoding import Observation, Values, flat_mask
from dqn_client.endpoint import Endpoint
from dqn_client.errors import UnexpectedResponseError, excerpt, refusal
from dqn_client.stream.frames import CODECS, ActionFrame, Draining, Encoding, ErrorFrame, Frame, Hello, Version
from dqn_client.stream.wire import Wire

OnVersion = Callable[[int], None]


class Session:
    """One stream across all its connections."""

    def __init__(
        self,
        endpoint: Endpoint,
        prefix: str,
        *,
        pin: bool = False,
        version: int | str | None = None,
        q_values: bool = False,
        encoding: Encoding = "msgpack",
        on_version: OnVersion | None = None,
    ) -> None:
        """`prefix` is that of the client's calls; for the other arguments see `PolicyClient.stream`.

        Raises ValueError for an unknown encoding.
        """
        if encoding not in CODECS:
            raise ValueError(f"encoding is {encoding!r}; expected one of {', '.join(CODECS)}.")
        self.codec = CODECS[encoding]
        self.is_draining = False
        self._endpoint = endpoint
        self._path = f"{prefix}/act/stream"
        self._pin = pin
        self._version = version
        self._q_values = q_values
        self._on_version = on_version
        self._hello: Hello | None = None
        self._notified_version = 0
        self._ids = itertools.count(1)
        self._pending_id = 0

    def wire(self) -> Wire:
        """A new connection; to the same version if the stream was pinned to one."""
        version, pin = self._version, self._pin
        if self._hello and self._hello.pinned:
            version, pin = self._hello.version, True
        query = {"version": version, "pin": "true" if pin else None, "q_values": "true" if self._q_values else None}
        given = {name: value for name, value in query.items() if value is not None}
        encoded = urlencode(given, errors="surrogateescape")
        url = f"ws{self._endpoint.url.removeprefix('http')}{self._path}{'?' if encoded else ''}{encoded}"
        return Wire(url, self._endpoint.headers, self.codec.subprotocol)

    def receive_hello(self, message: bytes) -> None:
        """Processes the first message of a connection. Raises UnexpectedResponseError for anything but a hello."""
        frame = self._decode(message)
        if not isinstance(frame, Hello):
            raise UnexpectedResponseError(
                f"{self._endpoint.url}{self._path} began with {excerpt(message)}; expected a hello frame."
            )
        self._hello = frame
        self.is_draining = False
        if not self._notified_version:
            self._notified_version = frame.version

    def notify(self) -> None:
        """Calls `on_version` if the version changed."""
        if self._hello and self._hello.version != self._notified_version:
            self._notified_version = self._hello.version
            if self._on_version:
                self._on_version(self._hello.version)

    def request(
        self,
        observation: Observation,
        *,
        epsilon: float | None = None,
        seed: int | None = None,
        action_mask: Values | None = None,
    ) -> bytes:
        """The message that requests an action; answers to earlier requests are ignored from now on."""
        self._pending_id = next(self._ids)
        fields: dict[str, Any] = {"observation": observation, "id": self._pending_id}
        if epsilon is not None:
            fields["epsilon"] = epsilon
        if seed is not None:
            fields["seed"] = seed
        if action_mask is not None:
            fields["action_mask"] = flat_mask(action_mask)
        return self.codec.encode(fields)

    def receive(self, message: bytes) -> Action | None:
        """The requested action; None if the message is something else. Raises the server's refusal."""
        frame = self._decode(message)
        if isinstance(frame, ActionFrame):
            if frame.id != self._pending_id:  # for an abandoned request
                return None
            return Action(frame.action, self.serving.model, frame.version, frame.propensity, frame.q_values)
        if isinstance(frame, ErrorFrame):
            if frame.id not in {self._pending_id, None}:
                return None
            raise refusal(frame.status, frame.title, frame.detail, frame.reason)
        self._note(frame)
        return None

    @property
    def serving(self) -> Hello:
        """The version that answers, as last announced by the server. Raises RuntimeError if the stream is not open."""
        if self._hello is None:
            raise RuntimeError("The stream is not open; use it as `with client.stream() as stream:`.")
        return self._hello

    def _decode(self, message: bytes) -> Frame:
        try:
            return self.codec.decode(message)
        except msgspec.DecodeError as error:
            raise UnexpectedResponseError(
                f"{self._endpoint.url}{self._path} sent {excerpt(message)}, which is not a dqn-serve frame: {error}."
            ) from None

    def _note(self, frame: Hello | Version | Draining) -> None:
        if isinstance(frame, Draining):
            self.is_draining = True
        elif isinstance(frame, Version):
            self._hello = msgspec.structs.replace(
                self.serving,
                version=frame.version,
                observation_space=frame.observation_space,
                action_space=frame.action_space,
            )
