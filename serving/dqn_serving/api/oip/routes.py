"""The calls of the protocol as routes of the framework; every error is `{"error": ...}` with a fitting status."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope

from dqn_models.layout import CHAMPION, version_number
from dqn_serving.api.oip.explain import decode_problem
from dqn_serving.api.oip.framing import collect, inflate
from dqn_serving.api.oip.infer import InferCall
from dqn_serving.api.oip.messages import IndexRequest, Live, ModelReady, ServerReady, decode_index_request, encode
from dqn_serving.api.oip.metadata import model_config, model_metadata, repository_index, server_metadata
from dqn_serving.api.oip.paths import TEMPLATES
from dqn_serving.http.middleware import CallRoute
from dqn_serving.policies.registry import ServedModel
from dqn_serving.problems import Answer, Problem, make_answer
from dqn_serving.services import Services


class OipApi:
    """Everything below /v2."""

    def __init__(self, services: Services, infer: InferCall) -> None:
        self._services = services
        self._infer = infer
        self._statistics = infer.statistics
        self._bodies = services.bodies
        self._model_calls: dict[str, Callable[[ServedModel, int | None], Awaitable[Any]]] = {
            "": lambda served, version: model_metadata(services, served, version),
            "config": lambda served, version: model_config(services, served, version),
            "ready": self._model_ready,
            "stats": self._model_statistics,
        }

    def routes(self) -> list[BaseRoute]:
        """The routes of the calls, for the framework."""
        return [
            CallRoute(template, self._endpoint(name), methods=[method], include_in_schema=False)
            for template, method, name in TEMPLATES
        ]

    def _endpoint(self, name: str) -> Callable[[Request], Awaitable[Answer]]:
        async def answer(request: Request) -> Answer:
            return await self._respond(name, request)

        return answer

    async def _respond(self, name: str, request: Request) -> Answer:
        """Raises Problem, ModelError and ClientDisconnect."""
        scope, receive = request.scope, request.receive
        model, named = request.path_params.get("model"), request.path_params.get("version")
        if model is None:
            return make_answer(encode(await self._of_server(name, scope, receive)))
        served = self._services.registry.get(model)
        version = None if named is None else version_number(named)
        if version is None and named is not None:
            raise Problem(404, f"{served.name} has no version {named[:40]!r}; versions are positive integers.")
        if name == "infer":
            return await self._infer.respond(served, version, scope, receive)
        return make_answer(encode(await self._model_calls[name](served, version)))

    async def _of_server(self, name: str, scope: Scope, receive: Receive) -> Any:
        if name == "index":
            request = await self._index_request(scope, receive)
            return await repository_index(self._services, only_ready=request.ready)
        if name == "ready":
            reason = self._services.unavailable_reason()
            if reason is not None:
                raise Problem(503, reason)
            return ServerReady()
        if name == "stats":
            return {"model_stats": self._statistics.documents()}
        return Live() if name == "live" else server_metadata()

    async def _index_request(self, scope: Scope, receive: Receive) -> IndexRequest:
        body = await self._bodies.read(scope, receive)
        body = inflate(body, collect(scope), self._bodies.limit)
        try:
            request: IndexRequest = decode_index_request(body or b"{}")
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise decode_problem(body, error) from None
        return request

    async def _model_ready(self, served: ServedModel, version: int | None) -> ModelReady:
        """A version that is not in memory is loaded: only then it is known whether it can infer."""
        await self._services.loader.select(served, CHAMPION if version is None else version)
        return ModelReady(served.name)

    async def _model_statistics(self, served: ServedModel, version: int | None) -> Any:
        found = self._statistics.documents(served.name, version)
        if not found:
            which = "versions" if version is None else f"version {version}"
            raise Problem(404, f"{served.name} has no {which} in memory, and so no statistics.")
        return {"model_stats": found}
