"""The status of a server: liveness, readiness, metrics, and the models and versions on disk and in memory."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response

from dqn_models.errors import ModelError, NotFoundError
from dqn_models.layout import version_number
from dqn_serving.api.calls import CallRoute, get, operation, reference, success
from dqn_serving.api.responses import Alive, ModelList, ModelSpaces, ModelSummary, Ready
from dqn_serving.problems import Answer, Problem, make_answer
from dqn_serving.services import Services

# examples for the OpenAPI document
_SUMMARY = ModelSummary(
    model="cartpole",
    is_default=True,
    champion=3,
    aliases={"champion": 3, "challenger": 4},
    versions=[1, 2, 3, 4],
    loaded_versions=[3],
    problem=None,
)
_SPACES = ModelSpaces(
    observation="4 numbers of type float32",
    observation_space={"type": "Box", "shape": [4], "dtype": "float32", "low": "-inf", "high": "inf"},
    example_observation=[0.01, -0.02, 0.03, 0.04],
    left_out=[],
    action="one integer from 0 to 1",
    action_space={"type": "Discrete", "n": 2, "start": 0},
    example_action=0,
    n_actions=2,
    action_mask=None,
)
_METRICS = {"200": {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
_MANIFEST = {"200": {"description": "Success.", "content": {"application/json": {"schema": reference("Manifest")}}}}


class StatusCalls:
    """`/healthz`, `/readyz`, `/metrics`, and the calls that list `/models`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[CallRoute]:
        """The routes, each with its operation."""
        path, summary, meaning = (
            "/models/{model}/versions/{version}",
            "Show a version's manifest",
            "The version is a number or an alias.",
        )
        manifest = operation(path, "show_version", "models", summary, _MANIFEST, 404, description=meaning)
        metrics = operation("/metrics", "metrics", "health", "Prometheus metrics", _METRICS)
        return [
            _get("/healthz", self.healthz, "health", "Check that the process is alive", Alive()),
            _get("/readyz", self.readyz, "health", "Check that the default model can act", Ready("cartpole", 3)),
            CallRoute("GET", "/metrics", self.metrics, metrics),
            _get("/models", self.list_models, "models", "List the models", ModelList([_SUMMARY])),
            _get(
                "/models/{model}",
                self.show_model,
                "models",
                "Show a model",
                structs.replace(_SUMMARY, spaces=_SPACES),
                404,
            ),
            CallRoute("GET", path, self.show_version, manifest),
        ]

    async def healthz(self, _request: Request) -> Alive:
        """Answers as long as the process does."""
        return Alive()

    async def readyz(self, _request: Request) -> Ready:
        """The champion that is ready to act. Raises Problem (503)."""
        reason = self._services.unavailable_reason()
        if reason is not None:
            raise Problem(503, reason)
        return Ready(*self._services.registry.get(None).require_champion().served)

    async def metrics(self, request: Request) -> Response:
        """The metrics of all workers, in the format that the client accepts."""
        body, content_type = self._services.exposition.render(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def list_models(self, _request: Request) -> ModelList:
        """All models; those in memory are listed even if the repository cannot be read."""
        services, names = self._services, list[str]()
        with contextlib.suppress(ModelError, OSError):
            names = await asyncio.to_thread(services.repository.models)
        return ModelList([await self._summary(name) for name in sorted({*names, *services.registry.models})])

    async def show_model(self, request: Request) -> ModelSummary:
        """One model, with the spaces of its champion. Raises NotFoundError."""
        model = request.path_params["model"]
        summary = await self._summary(model)
        if not summary.versions and model not in self._services.registry.models:
            raise NotFoundError(f"There is no model {model[:128]!r} here.")
        served = self._services.registry.models.get(model)
        if served is None or served.champion is None:
            return summary
        return structs.replace(summary, spaces=ModelSpaces.of(served.champion.manifest))

    async def show_version(self, request: Request) -> Answer:
        """The manifest of a version with a number or an alias. Raises ModelError."""
        model, version = request.path_params["model"], request.path_params["version"]
        repository = self._services.repository
        number = await asyncio.to_thread(repository.resolve, model, version_number(version) or version)
        manifest = await asyncio.to_thread(repository.manifest, model, number)
        return make_answer(manifest.model_dump_json().encode())

    async def _summary(self, model: str) -> ModelSummary:
        registry = self._services.registry
        served = registry.models.get(model)
        champion = served.champion if served else None
        return ModelSummary(
            model=model,
            is_default=model == registry.default,
            champion=champion.version if champion else None,
            aliases=served.aliases if served else {},
            versions=await published_versions(self._services, model),
            loaded_versions=registry.loaded_versions(model),
            problem=None if champion or not served else served.describe_unavailability(),
        )


async def published_versions(services: Services, model: str) -> list[int]:
    """The versions in the repository, or those in memory if it cannot be read or has none."""
    published: list[int] = []
    with contextlib.suppress(ModelError, OSError):
        published = await asyncio.to_thread(services.repository.versions, model)
    return published or services.registry.loaded_versions(model)


def _get(
    path: str, call: Callable[[Request], Awaitable[Any]], tag: str, summary: str, example: Any, *errors: int
) -> CallRoute:
    return get(path, call, operation(path, call.__name__, tag, summary, success(example), *errors))
