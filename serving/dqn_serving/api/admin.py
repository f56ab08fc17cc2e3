"""Promoting, rolling back and refreshing by HTTP; every call needs the bearer token."""

import asyncio
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from dqn_models.errors import IntegrityError, ManifestError, PolicyError
from dqn_models.layout import check_alias_name
from dqn_serving.api.documents import problems
from dqn_serving.api.responses import AliasChange, AliasChanged, RefreshAnswer
from dqn_serving.problems import Problem
from dqn_serving.services import Services

_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/AliasChange"}, "example": {"version": 2}}
    },
}

log = structlog.get_logger()


def admin_router(services: Services) -> APIRouter:
    """`PUT /models/{model}/aliases/{alias}` and `POST /models/{model}/refresh`."""

    def authorise(request: Request) -> str:
        return services.access.check_admin(request.scope)

    router = APIRouter(prefix="/models/{model}", tags=["admin"])

    @router.put(
        "/aliases/{alias}",
        summary="Promote or roll back",
        responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 503),
        openapi_extra={"requestBody": _BODY},
    )
    async def change_alias(
        model: str, alias: str, caller: Annotated[str, Depends(authorise)], request: Request
    ) -> AliasChanged:
        """Makes the alias name the version; a new champion answers before this call does."""
        change = _parse(await services.bodies.read_json(request.scope, request.receive, is_always_answered=True))
        previous = await asyncio.to_thread(_promote, services, model, alias, change.version, caller)
        log.info("alias set", model=model, alias=alias, version=change.version, previous=previous, by=caller)
        await services.refresher.refresh(model, at_once=True)
        champion = _champion(services, model)
        return AliasChanged(model=model, alias=alias, version=change.version, previous=previous, champion=champion)

    @router.post("/refresh", summary="Look at the repository now", responses=problems(401, 403, 404, 503))
    async def refresh(model: str, caller: Annotated[str, Depends(authorise)], request: Request) -> RefreshAnswer:
        """A version that failed to load before is tried again."""
        # The body is expected to be empty, and is read so that the connection may be used again.
        await services.bodies.read_json(request.scope, request.receive, is_always_answered=True)
        log.info("refresh asked for", model=model[:128], by=caller)
        if model not in services.registry.models and not await asyncio.to_thread(services.repository.versions, model):
            raise Problem(404, f"There is no model {model[:128]!r} in the repository.")
        refreshed = await services.refresher.refresh(model, at_once=True)
        services.registry.choose_default()
        return RefreshAnswer(
            model=model, champion=_champion(services, model), outcome=refreshed.outcome, detail=refreshed.detail
        )

    return router


def _parse(body: bytes) -> AliasChange:
    """The change in a body, which is JSON whatever its Content-Type says. Raises RequestValidationError."""
    try:
        return AliasChange.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from None


def _champion(services: Services, model: str) -> int | None:
    champion = services.registry.get(model).champion
    return champion.version if champion else None


def _promote(services: Services, model: str, alias: str, version: int, caller: str) -> int | None:
    try:
        check_alias_name(alias)
        return services.repository.promote(model, version, alias=alias, by=caller, reason="PUT by HTTP")
    except ValueError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    except (IntegrityError, ManifestError, PolicyError) as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from None
