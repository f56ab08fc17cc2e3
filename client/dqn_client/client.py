"""The client for programs without an event loop. Its methods may be called from several threads."""

import ssl
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from dqn_client import calls
from dqn_client.answers import Action, Actions, Manifest, Model, Promotion, QValues, QValuesBatch, Readiness, Refresh
from dqn_client.calls import Call, Options
from dqn_client.encoding import Observation, Values
from dqn_client.endpoint import Endpoint
from dqn_client.errors import NotReadyError, PolicyClientError
from dqn_client.retries import Attempts, Retries
from dqn_client.stream.blocking import Stream
from dqn_client.stream.frames import Encoding
from dqn_client.stream.session import OnVersion, Session

Answer = TypeVar("Answer")


class PolicyClient:
    """Calls a dqn-serve.

    Acting changes nothing in the server, so it is safe to ask twice: every call is repeated after a 502, 503 or 504 and
    after a lost or refused connection, as `retries` says; `promote` only where the lost one cannot have arrived.
    A 4xx is never repeated, neither is a call that timed out. Every method raises a PolicyClientError where it fails.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None = None,
        token: str | None = None,
        timeout: float = 5.0,
        retries: Retries = Retries(),  # noqa: B008  (immutable)
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Opens no connection yet.

        Args:
            base_url: such as http://127.0.0.1:8000, with the prefix that a proxy puts before all paths, if any.
            model: whose policy acts; without it the server's default model (DQN_MODEL).
            token: the bearer token, where the server asks for one.
            timeout: seconds to wait for a connection, and for each part of an answer.
            retries: how persistent to be.
            headers: sent with every request.
            tls: how to check the server's certificate, or how to show one's own; default: the system's authorities.
            transport: instead of `httpx.HTTPTransport()`, for proxies or Unix sockets; `tls` is then the transport's
                matter. Streams do not use it.
        """
        self._endpoint = Endpoint(base_url, token=token, timeout=timeout, headers=headers, tls=tls)
        self._retries = retries
        self._model = model
        self._prefix = calls.model_path(model) if model is not None else ""
        self._transport = transport or httpx.HTTPTransport(verify=self._endpoint.verify, limits=self._endpoint.pool)

    def act(self, observation: Observation, **options: Unpack[Options]) -> Action:
        """The action for one observation: numbers in the shape of the observation space, as lists or an array."""
        return self._call(calls.act(self._prefix, observation, **options))

    def act_batch(self, observations: Values, **options: Unpack[Options]) -> Actions:
        """The actions for observations in an array [batch, *shape] or a list."""
        return self._call(calls.act_batch(self._prefix, observations, **options))

    def q_values(self, observation: Observation, **options: Unpack[Options]) -> QValues:
        """The Q-value of each action for one observation, and the action chosen."""
        return self._call(calls.q_values(self._prefix, observation, **options))

    def q_values_batch(self, observations: Values, **options: Unpack[Options]) -> QValuesBatch:
        """The Q-values [batch, actions] for many observations, and the actions chosen."""
        return self._call(calls.q_values_batch(self._prefix, observations, **options))

    def stream(
        self,
        *,
        pin: bool = False,
        version: int | str | None = None,
        q_values: bool = False,
        encoding: Encoding = "msgpack",
        on_version: OnVersion | None = None,
    ) -> Stream:
        """Acts over one WebSocket, for a control loop: `with client.stream() as stream: stream.act(observation)`.

        Args:
            pin: keep the version that acts first for the whole stream, also across lost connections.
            version: a number or an alias instead of the champion; the stream is then pinned as well.
            q_values: put the Q-values into each action.
            encoding: of the frames.
            on_version: called with the new number after another version came to act, before `act` returns.
        """
        session = Session(
            self._endpoint,
            self._prefix,
            pin=pin,
            version=version,
            q_values=q_values,
            encoding=encoding,
            on_version=on_version,
        )
        return Stream(session, self._endpoint, self._retries)

    def ready(self) -> Readiness:
        """Whether the server can act, and if not, why; asked once. Raises ConnectionLostError where nobody answers."""
        try:
            return self._send(calls.ready)
        except NotReadyError as error:
            return Readiness(ready=False, detail=error.detail)

    def models(self) -> tuple[Model, ...]:
        """Every model that the server knows."""
        return self._call(calls.models).models

    def model(self, name: str | None = None) -> Model:
        """One model; without a name this client's."""
        return self._call(calls.model(name or self._model_name()))

    def manifest(self, version: int | str = "champion") -> Manifest:
        """Everything that is known about a version (a number or an alias): see `dqn_models.manifest`."""
        return self._call(calls.manifest(self._model_name(), version))

    def promote(self, version: int, alias: str = "champion") -> Promotion:
        """Makes the alias name the version; a new champion answers before this returns. Needs the token."""
        return self._call(calls.promote(self._model_name(), version, alias))

    def refresh(self) -> Refresh:
        """Makes the server look at its repository now. Needs the token."""
        return self._call(calls.refresh(self._model_name()))

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Closes the connections."""
        self.close()

    def _model_name(self) -> str:
        return self._model if self._model is not None else calls.default_model(self.models())

    def _call(self, call: Call[Answer]) -> Answer:
        attempts = Attempts(self._retries, may_repeat=call.may_repeat)
        while True:
            try:
                return self._send(call)
            except PolicyClientError as error:
                pause = attempts.pause_after(error)
            time.sleep(pause)

    def _send(self, call: Call[Answer]) -> Answer:
        with self._endpoint.explained():
            response = self._transport.handle_request(self._endpoint.request(call))
            try:
                response.read()
            finally:
                response.close()
        return self._endpoint.read(call, response)
