"""Models and versions, in the repository and in memory."""

import asyncio
import contextlib

from fastapi import APIRouter

from dqn_models.errors import ModelError, NotFoundError
from dqn_models.layout import version_number
from dqn_models.manifest import Manifest
from dqn_serving.api.documents import problems
from dqn_serving.api.responses import ModelList, ModelSummary
from dqn_serving.services import Services


def catalog_router(services: Services) -> APIRouter:
    """`GET /models`, `/models/{model}` and `/models/{model}/versions/{version}`."""
    router = APIRouter(prefix="/models", tags=["models"])

    @router.get("", summary="Every model")
    async def list_models() -> ModelList:
        names = await asyncio.to_thread(_published_models, services)
        known = sorted({*names, *services.registry.models})
        return ModelList(models=[await _summary(services, name) for name in known])

    @router.get("/{model}", summary="One model", responses=problems(404))
    async def show_model(model: str) -> ModelSummary:
        summary = await _summary(services, model)
        if not summary.versions and model not in services.registry.models:
            raise NotFoundError(f"There is no model {model[:128]!r} here.")
        return summary

    @router.get("/{model}/versions/{version}", summary="A version's manifest", responses=problems(404, 503))
    async def show_version(model: str, version: str) -> Manifest:
        """The version is a number or the name of an alias."""
        return await asyncio.to_thread(_manifest, services, model, version)

    return router


def _published_models(services: Services) -> list[str]:
    with contextlib.suppress(ModelError, OSError):  # what is in memory is still served, and listed
        return services.repository.models()
    return []


def published_versions(services: Services, model: str) -> list[int]:
    """The versions in the repository, or those in memory if it cannot be read or has none."""
    with contextlib.suppress(ModelError, OSError):
        return services.repository.versions(model) or services.registry.loaded_versions(model)
    return services.registry.loaded_versions(model)


def _manifest(services: Services, model: str, version: str) -> Manifest:
    number = services.repository.resolve(model, version_number(version) or version)
    return services.repository.manifest(model, number)


async def _summary(services: Services, model: str) -> ModelSummary:
    versions = await asyncio.to_thread(published_versions, services, model)
    served = services.registry.models.get(model)
    champion = served.champion if served else None
    return ModelSummary(
        model=model,
        is_default=model == services.registry.default,
        champion=champion.version if champion else None,
        aliases=served.aliases if served else {},
        versions=versions,
        loaded_versions=services.registry.loaded_versions(model),
        problem=None if champion or not served else served.describe_unavailability(),
    )
