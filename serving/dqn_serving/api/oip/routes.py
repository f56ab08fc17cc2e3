"""The calls of the protocol as routes, each with its operation in `/openapi.json`."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute

from dqn_models.layout import CHAMPION, version_number
from dqn_serving.api.oip import openapi
from dqn_serving.api.oip.explain import decode_problem
from dqn_serving.api.oip.framing import collect, inflate
from dqn_serving.api.oip.infer import InferCall
from dqn_serving.api.oip.messages import (
    IndexRequest,
    Live,
    ModelMetadata,
    ModelReady,
    ServerMetadata,
    ServerReady,
    decode_index_request,
    encode,
)
from dqn_serving.api.oip.metadata import model_config, model_metadata, repository_index, server_metadata
from dqn_serving.http.middleware import CallRoute
from dqn_serving.policies.registry import ServedModel
from dqn_serving.problems import Answer, Problem, make_answer
from dqn_serving.services import Services

ModelCall = Callable[[ServedModel, int | None], Awaitable[Any]]
ServerCall = Callable[[], Any]


class OipApi:
    """Everything below /v2."""

    def __init__(self, services: Services, infer: InferCall) -> None:
        self._services = services
        self._infer = infer
        self._statistics = infer.statistics

    def routes(self) -> list[BaseRoute]:
        """The routes, for the framework: the first that fits a path answers."""
        server_calls: list[tuple[str, ServerCall, str, type | None, Any, tuple[int, ...]]] = [
            ("", server_metadata, "Server metadata", ServerMetadata, openapi.SERVER, ()),
            ("/health/live", Live, "Is the process alive?", Live, {"live": True}, ()),
            ("/health/ready", self._ready, "Can it infer?", ServerReady, {"ready": True}, (503,)),
            ("/models/stats", self._all_statistics, "Statistics of all versions", None, openapi.STATISTICS, ()),
        ]
        ready = {"name": "cartpole", "ready": True}
        metadata, config = partial(model_metadata, self._services), partial(model_config, self._services)
        model_calls: list[tuple[str, ModelCall, str, type | None, Any, tuple[int, ...]]] = [
            ("", metadata, "Model metadata", ModelMetadata, openapi.METADATA, (404, 503)),
            ("/ready", self._model_ready, "Can it infer?", ModelReady, ready, (404, 503)),
            ("/config", config, "Configuration, as Triton's", None, openapi.CONFIG, (404, 503)),
            ("/stats", self._model_statistics, "Statistics, as Triton's", None, openapi.STATISTICS, (404,)),
        ]
        path = "/v2/repository/index"
        routes: list[BaseRoute] = [CallRoute(path, self._index, "POST", openapi.index_operation(path))]
        for tail, of_server, *documented in server_calls:
            path = f"/v2{tail}"
            routes.append(CallRoute(path, _of_server(of_server), "GET", openapi.operation(path, *documented)))
        for root in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            for tail, of_model, *documented in model_calls:
                path = root + tail
                routes.append(CallRoute(path, self._of_model(of_model), "GET", openapi.operation(path, *documented)))
            path = f"{root}/infer"
            routes.append(CallRoute(path, self._respond_infer, "POST", openapi.infer_operation(path)))
        return routes

    def _of_model(self, call: ModelCall) -> Callable[[Request], Awaitable[Answer]]:
        async def answer(request: Request) -> Answer:
            return make_answer(encode(await call(*self._named(request))))

        return answer

    def _named(self, request: Request) -> tuple[ServedModel, int | None]:
        """The model and the version that a path names. Raises Problem (404)."""
        served = self._services.registry.get(request.path_params["model"])
        named = request.path_params.get("version")
        version = None if named is None else version_number(named)
        if version is None and named is not None:
            raise Problem(404, f"{served.name} has no version {named[:40]!r}; versions are positive integers.")
        return served, version

    async def _respond_infer(self, request: Request) -> Answer:
        return await self._infer.respond(*self._named(request), request.scope, request.receive)

    async def _index(self, request: Request) -> Answer:
        bodies = self._services.bodies
        body = await bodies.read(request.scope, request.receive)
        body = inflate(body, collect(request.scope), bodies.limit)
        try:
            index: IndexRequest = decode_index_request(body or b"{}")
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise decode_problem(body, error) from None
        return make_answer(encode(await repository_index(self._services, only_ready=index.ready)))

    def _ready(self) -> ServerReady:
        reason = self._services.unavailable_reason()
        if reason is not None:
            raise Problem(503, reason)
        return ServerReady()

    def _all_statistics(self) -> dict[str, Any]:
        return {"model_stats": self._statistics.documents()}

    async def _model_ready(self, served: ServedModel, version: int | None) -> ModelReady:
        """A version that is not in memory is loaded: only then it is known whether it can infer."""
        await self._services.loader.select(served, CHAMPION if version is None else version)
        return ModelReady(served.name)

    async def _model_statistics(self, served: ServedModel, version: int | None) -> dict[str, Any]:
        found = self._statistics.documents(served.name, version)
        if not found:
            which = "versions" if version is None else f"version {version}"
            raise Problem(404, f"{served.name} has no {which} in memory, and so no statistics.")
        return {"model_stats": found}


def _of_server(call: ServerCall) -> Callable[[Request], Awaitable[Answer]]:
    async def answer(_request: Request) -> Answer:
        return make_answer(encode(call()))

    return answer
