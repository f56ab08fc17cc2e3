"""The client for asyncio: PolicyClient with `await`. Its methods may be called from several tasks at once."""

import asyncio
import ssl
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
from dqn_client.stream.aio import AsyncStream
from dqn_client.stream.frames import Encoding
from dqn_client.stream.session import OnVersion, Session

Answer = TypeVar("Answer")


class AsyncPolicyClient:
    """Calls a dqn-serve; what is said of PolicyClient holds here."""

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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Opens no connection yet; the arguments are those of PolicyClient."""
        self._endpoint = Endpoint(base_url, token=token, timeout=timeout, headers=headers, tls=tls)
        self._retries = retries
        self._model = model
        self._prefix = calls.model_path(model) if model is not None else ""
        self._transport = transport or httpx.AsyncHTTPTransport(
            verify=self._endpoint.verify, limits=self._endpoint.pool
        )

    async def act(self, observation: Observation, **options: Unpack[Options]) -> Action:
        """The action for one observation: numbers in the shape of the observation space, as lists or an array."""
        return await self._call(calls.act(self._prefix, observation, **options))

    async def act_batch(self, observations: Values, **options: Unpack[Options]) -> Actions:
        """The actions for observations in an array [batch, *shape] or a list."""
        return await self._call(calls.act_batch(self._prefix, observations, **options))

    async def q_values(self, observation: Observation, **options: Unpack[Options]) -> QValues:
        """The Q-value of each action for one observation, and the action chosen."""
        return await self._call(calls.q_values(self._prefix, observation, **options))

    async def q_values_batch(self, observations: Values, **options: Unpack[Options]) -> QValuesBatch:
        """The Q-values [batch, actions] for many observations, and the actions chosen."""
        return await self._call(calls.q_values_batch(self._prefix, observations, **options))

    def stream(
        self,
        *,
        pin: bool = False,
        version: int | str | None = None,
        q_values: bool = False,
        encoding: Encoding = "msgpack",
        on_version: OnVersion | None = None,
    ) -> AsyncStream:
        """Acts over one WebSocket: `async with client.stream() as stream: await stream.act(observation)`.

        The arguments are those of `PolicyClient.stream`.
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
        return AsyncStream(session, self._endpoint, self._retries)

    async def ready(self) -> Readiness:
        """Whether the server can act, and if not, why; asked once. Raises ConnectionLostError where nobody answers."""
        try:
            return await self._send(calls.ready)
        except NotReadyError as error:
            return Readiness(ready=False, detail=error.detail)

    async def models(self) -> tuple[Model, ...]:
        """Every model that the server knows."""
        return (await self._call(calls.models)).models

    async def model(self, name: str | None = None) -> Model:
        """One model; without a name this client's."""
        return await self._call(calls.model(name or await self._model_name()))

    async def manifest(self, version: int | str = "champion") -> Manifest:
        """Everything that is known about a version (a number or an alias): see `dqn_models.manifest`."""
        return await self._call(calls.manifest(await self._model_name(), version))

    async def promote(self, version: int, alias: str = "champion") -> Promotion:
        """Makes the alias name the version; a new champion answers before this returns. Needs the token."""
        return await self._call(calls.promote(await self._model_name(), version, alias))

    async def refresh(self) -> Refresh:
        """Makes the server look at its repository now. Needs the token."""
        return await self._call(calls.refresh(await self._model_name()))

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        """Returns itself."""
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Closes the connections."""
        await self.close()

    async def _model_name(self) -> str:
        return self._model if self._model is not None else calls.default_model(await self.models())

    async def _call(self, call: Call[Answer]) -> Answer:
        attempts = Attempts(self._retries, may_repeat=call.may_repeat)
        while True:
            try:
                return await self._send(call)
            except PolicyClientError as error:
                pause = attempts.pause_after(error)
            await asyncio.sleep(pause)

    async def _send(self, call: Call[Answer]) -> Answer:
        with self._endpoint.explained():
            response = await self._transport.handle_async_request(self._endpoint.request(call))
            try:
                await response.aread()
            finally:
                await response.aclose()
        return self._endpoint.read(call, response)
