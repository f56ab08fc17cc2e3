"""The calls of the protocol as routes, each with its operation in `/openapi.json`."""

from collections.abc import Callable
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
    TensorMetadata,
    decode_index_request,
    encode,
)
from dqn_serving.api.oip.metadata import (
    EXTENSIONS,
    PLATFORM,
    model_config,
    model_metadata,
    repository_index,
    server_metadata,
)
from dqn_serving.http.middleware import CallRoute
from dqn_serving.policies.registry import ServedModel
from dqn_serving.problems import Answer, Problem, make_answer
from dqn_serving.services import Services

_MODEL = "/v2/models/{model}"
_STATISTICS = {"model_stats": [{"name": "cartpole", "version": "3", "inference_count": 12, "execution_count": 3}]}


class OipApi:
    """Everything below /v2."""

    def __init__(self, services: Services, infer: InferCall) -> None:
        self._services = services
        self._infer = infer
        self._statistics = infer.statistics

    def routes(self) -> list[BaseRoute]:
        """The routes, for the framework: the first that fits a path answers."""
        index = "/v2/repository/index"
        server = ServerMetadata("dqn-policy-server", "0.1.0", EXTENSIONS)
        return [
            CallRoute(index, self._index, "POST", openapi.index_operation(index)),
            self._get("/v2", server_metadata, "Server metadata", server),
            self._get("/v2/health/live", Live, "Is the process alive?", Live()),
            self._get("/v2/health/ready", self._ready, "Can it infer?", ServerReady(), 503),
            self._get("/v2/models/stats", self._all_statistics, "Statistics of all versions", _STATISTICS),
            *self._model_routes(_MODEL),
            *self._model_routes(f"{_MODEL}/versions/{{version}}"),
        ]

    def _model_routes(self, root: str) -> list[BaseRoute]:
        inputs, outputs = (
            [TensorMetadata("observation", "FP32", [-1, 4])],
            [TensorMetadata("q_values", "FP32", [-1, 2])],
        )
        metadata = ModelMetadata("cartpole", ["1", "2", "3"], PLATFORM, inputs, outputs)
        config = {"name": "cartpole", "platform": PLATFORM, "max_batch_size": 4096}
        of_metadata, of_config = partial(model_metadata, self._services), partial(model_config, self._services)
        return [
            self._get(root, of_metadata, "Model metadata", metadata, 404, 503),
            self._get(f"{root}/ready", self._model_ready, "Can it infer?", ModelReady("cartpole"), 404, 503),
            self._get(f"{root}/config", of_config, "Configuration, as Triton's", config, 404, 503),
            self._get(f"{root}/stats", self._model_statistics, "Statistics, as Triton's", _STATISTICS, 404),
            CallRoute(f"{root}/infer", self._respond_infer, "POST", openapi.infer_operation(f"{root}/infer")),
        ]

    def _get(self, path: str, call: Callable[..., Any], summary: str, example: Any, *errors: int) -> BaseRoute:
        """A GET whose answer is the result of `call`: of the model and the version in the path, if it has any."""

        async def answer(request: Request) -> Answer:
            found = await call(*self._named(request)) if path.startswith(_MODEL) else call()
            return make_answer(encode(found))

        return CallRoute(path, answer, "GET", openapi.operation(path, summary, example, errors))

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
