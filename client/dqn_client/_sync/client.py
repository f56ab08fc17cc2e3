# Generated from client/dqn_client/_async/client.py by scripts/unasync.py: change that file, then run `make generate`.
"""The client for programs without an event loop."""

import ssl
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from dqn_client import api
from dqn_client._sync.stream import Stream
from dqn_client.api import (
    Action,
    Actions,
    ActOptions,
    Call,
    Manifest,
    Model,
    Promotion,
    QValues,
    QValuesBatch,
    Readiness,
    Refresh,
    Result,
)
from dqn_client.backends.blocking import Owner, current_owner, drop_ended, sleep
from dqn_client.encoding import Observation, Observations
from dqn_client.endpoint import Endpoint
from dqn_client.errors import NotReadyError, PolicyClientError
from dqn_client.retries import Attempts, RetryPolicy
from dqn_client.stream.frames import Encoding
from dqn_client.stream.session import OnVersion, Session


class PolicyClient:
    """A client of dqn-serve, which several threads may share.

    Acting changes nothing on the server, so calls can safely be repeated: every call is retried after a 502, 503 or 504
    and after a lost or refused connection, as `retries` specifies; `promote` only if the server cannot have got it. A
    4xx is never retried, nor is a call that timed out. Every method raises a PolicyClientError if it fails.

    Each process opens its own connections. A pickled client consists of its arguments, token included.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None = None,
        token: str | None = None,
        timeout: float = 5.0,
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008  (immutable)
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Opens no connection yet. Raises ValueError for an invalid argument.

        Args:
            base_url: such as http://127.0.0.1:8000, including the path prefix of a proxy, if any.
            model: the model that acts; default: the server's default model (DQN_MODEL).
            token: the bearer token, if the server requires one.
            timeout: seconds to wait for a connection, and for each part of a response.
            retries: when to retry.
            headers: sent with every request.
            tls: how to check the server's certificate, or present a client certificate; default: the system's
                authorities.
            transport: replaces `httpx.HTTPTransport()`, for proxies or Unix sockets, and is then in charge of TLS.
                Streams do not use it.
        """
        self._arguments: dict[str, Any] = {
            "base_url": base_url,
            "model": model,
            "token": token,
            "timeout": timeout,
            "retries": retries,
            "headers": dict(headers) if headers is not None else None,
            "tls": tls,
            "transport": transport,
        }
        self._endpoint = Endpoint(base_url, token=token, timeout=timeout, headers=headers, tls=tls)
        self._retries = retries
        self._model = model
        self._prefix = api.model_path(model) if model is not None else ""
        self._custom_transport = transport
        self._transports: dict[Owner, httpx.BaseTransport] = {}

    def act(self, observation: Observation, **options: Unpack[ActOptions]) -> Action:
        """The action for one observation, in the form that `env.step` returns: numbers, arrays, lists, dicts, tuples.

        If actions are arrays, pass `np.asarray(client.act(observation).action, env.action_space.dtype)` to `env.step`.
        """
        return self._call(api.act(self._prefix, observation, **options))

    def act_batch(self, observations: Observations, **options: Unpack[ActOptions]) -> Actions:
        """The actions for observations in a list, in an array [batch, *shape], or as a vector environment returns them.

        That is a dict of arrays for a Dict space. Of a Tuple space pass `list(zip(*observations))`: a tuple is taken
        for a list.
        """
        return self._call(api.act_batch(self._prefix, observations, **options))

    def q_values(self, observation: Observation, **options: Unpack[ActOptions]) -> QValues:
        """The Q-values of all joint actions for one observation, and the selected action.

        If actions branch, there is one for each value of each component, component after component.
        """
        return self._call(api.q_values(self._prefix, observation, **options))

    def q_values_batch(self, observations: Observations, **options: Unpack[ActOptions]) -> QValuesBatch:
        """The Q-values [batch, actions] for observations as in `act_batch`, and the selected actions."""
        return self._call(api.q_values_batch(self._prefix, observations, **options))

    def stream(
        self,
        *,
        pin: bool = False,
        version: int | str | None = None,
        q_values: bool = False,
        encoding: Encoding = "msgpack",
        on_version: OnVersion | None = None,
    ) -> Stream:
        """Acts over one WebSocket: `with client.stream() as stream: stream.act(observation)`.

        Args:
            pin: keep the version that answers first for the whole stream, even across lost connections.
            version: a number or an alias instead of the champion; the stream is then pinned as well.
            q_values: include the Q-values in each action.
            encoding: of the frames, "msgpack" or "json".
            on_version: called with the new number after another version has taken over, before `act` returns.
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
        """Whether the server can act, and if not, why; never retried. Raises ConnectionLostError if it is down."""
        try:
            return self._send(api.ready)
        except NotReadyError as error:
            return Readiness(ready=False, detail=error.detail)

    def models(self) -> tuple[Model, ...]:
        """Every model that the server knows."""
        known = self._call(api.models)
        return known.models

    def model(self, name: str | None = None) -> Model:
        """The model with this name; default: this client's."""
        return self._call(api.model(name or self._model_name()))

    def manifest(self, version: int | str = "champion") -> Manifest:
        """The manifest of a version (a number or an alias): see docs/versions.md."""
        return self._call(api.manifest(self._model_name(), version))

    def promote(self, version: int, alias: str = "champion") -> Promotion:
        """Points the alias at the version; a new champion is served before this returns. Requires the token."""
        return self._call(api.promote(self._model_name(), version, alias))

    def refresh(self) -> Refresh:
        """Makes the server check its repository now. Requires the token."""
        return self._call(api.refresh(self._model_name()))

    def close(self) -> None:
        """Closes the connections."""
        unused = None if self._transports else self._custom_transport
        if transport := self._transports.pop(current_owner(), unused):
            transport.close()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Closes the connections."""
        self.close()

    def __reduce__(self) -> tuple[partial[Self], tuple[()]]:
        """Pickles the constructor's arguments. Raises PolicyClientError for those that cannot be pickled."""
        for name in ("tls", "transport"):
            if self._arguments[name] is not None:
                raise PolicyClientError(
                    f"A client with `{name}` cannot be pickled or copied; create it in the process that uses it."
                )
        return partial(type(self), **self._arguments), ()

    def _transport(self) -> httpx.BaseTransport:
        owner = current_owner()
        return self._transports.get(owner) or self._new_transport(owner)

    def _new_transport(self, owner: Owner) -> httpx.BaseTransport:
        if self._custom_transport is not None and self._transports.keys() - {owner}:
            raise PolicyClientError(
                "A client with `transport` works only in the process that used it first; create another client here."
            )
        drop_ended(self._transports, owner)
        transport = self._custom_transport or httpx.HTTPTransport(
            verify=self._endpoint.verify, limits=self._endpoint.pool
        )
        return self._transports.setdefault(owner, transport)

    def _model_name(self) -> str:
        return self._model if self._model is not None else api.default_model(self.models())

    def _call(self, call: Call[Result]) -> Result:
        attempts = Attempts(self._retries, may_repeat=call.may_repeat)
        while True:
            try:
                return self._send(call)
            except PolicyClientError as error:
                backoff = attempts.backoff_after(error)
            sleep(backoff)

    def _send(self, call: Call[Result]) -> Result:
        transport = self._transport()
        with self._endpoint.translated_errors():
            response = transport.handle_request(self._endpoint.request(call))
            try:
                response.read()
            finally:
                response.close()
        return self._endpoint.decode(call, response)
