"""What a stream knows, whichever way its bytes travel: how to ask, what the server said, where to connect again."""

import itertools
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import msgspec

from dqn_client.answers import Action
from dqn_client.encoding import Observation, Values
from dqn_client.endpoint import Endpoint
from dqn_client.errors import UnexpectedAnswerError, refusal, shown
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
        """`prefix` is that of the client's calls; the rest is explained at `PolicyClient.stream`."""
        if encoding not in CODECS:
            raise ValueError(f"encoding is {encoding!r}; it must be one of {', '.join(CODECS)}.")
        self.codec = CODECS[encoding]
        self.is_draining = False
        self._endpoint = endpoint
        self._path = f"{prefix}/act/stream"
        self._pin = pin
        self._version = version
        self._q_values = q_values
        self._on_version = on_version
        self._hello: Hello | None = None
        self._announced = 0
        self._ids = itertools.count(1)
        self._asked = 0

    def wire(self) -> Wire:
        """A new connection; to the same version if the stream was pinned to one."""
        version, pin = self._version, self._pin
        if self._hello and self._hello.pinned:
            version, pin = self._hello.version, True
        query = {"version": version, "pin": "true" if pin else None, "q_values": "true" if self._q_values else None}
        words = urlencode({name: value for name, value in query.items() if value is not None})
        url = f"ws{self._endpoint.url.removeprefix('http')}{self._path}{'?' if words else ''}{words}"
        return Wire(url, self._endpoint.headers, self.codec.subprotocol)

    def greet(self, message: bytes) -> None:
        """Takes the first message of a connection. Raises UnexpectedAnswerError for anything but a hello."""
        frame = self._decode(message)
        if not isinstance(frame, Hello):
            raise UnexpectedAnswerError(
                f"{self._endpoint.url}{self._path} began with {shown(message)}, not with a hello."
            )
        self._hello = frame
        self.is_draining = False
        if not self._announced:
            self._announced = frame.version

    def announce(self) -> None:
        """Tells `on_version` of a change."""
        if self._hello and self._hello.version != self._announced:
            self._announced = self._hello.version
            if self._on_version:
                self._on_version(self._hello.version)

    def ask(
        self,
        observation: Observation,
        *,
        epsilon: float | None = None,
        seed: int | None = None,
        action_mask: Values | None = None,
    ) -> bytes:
        """The message that asks for an action; from now on only its answer counts."""
        self._asked = next(self._ids)
        fields: dict[str, Any] = {"observation": observation, "id": self._asked}
        options = {"epsilon": epsilon, "seed": seed, "action_mask": action_mask}
        return self.codec.encode(fields | {name: value for name, value in options.items() if value is not None})

    def take(self, message: bytes) -> Action | None:
        """The answer that was asked for; None where the message is something else. Raises the server's refusal."""
        frame = self._decode(message)
        if isinstance(frame, ActionFrame):
            if frame.id != self._asked:  # of a question whose asker gave up
                return None
            return Action(frame.action, self.serving.model, frame.version, frame.propensity, frame.q_values)
        if isinstance(frame, ErrorFrame):
            if frame.id not in {self._asked, None}:
                return None
            raise refusal(frame.status, frame.title, frame.detail, frame.reason)
        self._note(frame)
        return None

    @property
    def serving(self) -> Hello:
        """What the server said last of the version that answers. Raises RuntimeError before there was a connection."""
        if self._hello is None:
            raise RuntimeError("The stream is not open; use it as `with client.stream() as stream:`.")
        return self._hello

    def _decode(self, message: bytes) -> Frame:
        try:
            return self.codec.decode(message)
        except msgspec.DecodeError as error:
            raise UnexpectedAnswerError(
                f"{self._endpoint.url}{self._path} sent {shown(message)}, which is no frame of dqn-serve: {error}."
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


class StreamState:
    """What both kinds of stream tell about themselves."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def model(self) -> str:
        """Whose policy acts."""
        return self._session.serving.model

    @property
    def version(self) -> int:
        """The version that acts; it changes with the champion unless the stream is pinned."""
        return self._session.serving.version

    @property
    def pinned(self) -> bool:
        """Whether the version stays for the whole stream."""
        return self._session.serving.pinned

    @property
    def observation_space(self) -> dict[str, Any]:
        """As the manifest has it: {"type": "Box", "shape", "dtype", "low", "high"} or {"type": "Discrete", "n"}."""
        return self._session.serving.observation_space

    @property
    def action_space(self) -> dict[str, Any]:
        """As the manifest has it: {"type": "Discrete", "n", "start"}."""
        return self._session.serving.action_space
