"""Promoting, rolling back and refreshing over HTTP; every call requires a bearer token."""

import asyncio

import structlog
from msgspec.json import Decoder
from starlette.requests import Request

from dqn_models.errors import IntegrityError, ManifestError, PolicyError
from dqn_models.layout import check_alias_name
from dqn_serving.api.calls import CallRoute, encode, operation, reference, success
from dqn_serving.api.explain import decode_problem
from dqn_serving.api.responses import AliasChange, AliasChanged, RefreshAnswer
from dqn_serving.policies.observations import DECODE_ERRORS
from dqn_serving.problems import Answer, Problem, make_answer
from dqn_serving.services import Services

_ALIAS, _REFRESH = "/models/{model}/aliases/{alias}", "/models/{model}/refresh"
# for the document
_BODY = {"schema": reference("AliasChange"), "example": {"version": 2}}
_CHANGED = AliasChanged(model="cartpole", alias="champion", version=2, previous=3, champion=2)
_REFRESHED = RefreshAnswer(model="cartpole", champion=4, outcome="refreshed", detail=None)

_decode_change = Decoder(AliasChange).decode

log = structlog.get_logger()


class AdminCalls:
    """`PUT /models/{model}/aliases/{alias}` and `POST /models/{model}/refresh`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[CallRoute]:
        """The routes, each with its operation."""
        change = operation(
            *(_ALIAS, "change_alias", "admin", "Promote or roll back", success(_CHANGED)),
            *(401, 403, 404, 409, 413, 415, 422),
            description="Points the alias at the version; a new champion is being served when this call returns.",
            requestBody={"required": True, "content": {"application/json": _BODY}},
        )
        refresh = operation(
            *(_REFRESH, "refresh", "admin", "Check the repository now", success(_REFRESHED), 401, 403, 404),
            description="A version that failed to load before is tried again at once.",
        )
        return [
            CallRoute("PUT", _ALIAS, self._change_alias, change),
            CallRoute("POST", _REFRESH, self._refresh, refresh),
        ]

    async def _change_alias(self, request: Request) -> Answer:
        model, alias = request.path_params["model"], request.path_params["alias"]
        caller, body = await self._read(request)
        try:
            version = int(_decode_change(body).version)
        except DECODE_ERRORS as error:
            raise decode_problem(body, error) from None
        previous = await asyncio.to_thread(self._promote, model, alias, version, caller)
        log.info("alias set", model=model, alias=alias, version=version, previous=previous, by=caller)
        await self._services.refresher.refresh(model, at_once=True)
        return make_answer(encode(AliasChanged(model, alias, version, previous, self._champion(model))))

    async def _refresh(self, request: Request) -> Answer:
        model, services = request.path_params["model"], self._services
        caller, _ = await self._read(request)  # the body should be empty, but the connection is reused
        log.info("refresh requested", model=model[:128], by=caller)
        if model not in services.registry.models and not await asyncio.to_thread(services.repository.versions, model):
            raise Problem(404, f"There is no model {model[:128]!r} in the repository.")
        refreshed = await services.refresher.refresh(model, at_once=True)
        services.registry.choose_default()
        return make_answer(encode(RefreshAnswer(model, self._champion(model), *refreshed)))

    async def _read(self, request: Request) -> tuple[str, bytes]:
        """The caller's name, and the body. Raises Problem."""
        caller = self._services.access.check_admin(request.scope)
        return caller, await self._services.bodies.read_json(request.scope, request.receive, is_always_answered=True)

    def _champion(self, model: str) -> int | None:
        champion = self._services.registry.get(model).champion
        return champion.version if champion else None

    def _promote(self, model: str, alias: str, version: int, caller: str) -> int | None:
        try:
            check_alias_name(alias)
            return self._services.repository.promote(model, version, alias=alias, by=caller, reason="PUT by HTTP")
        except ValueError as error:
            raise Problem(422, str(error)) from None
        except (IntegrityError, ManifestError, PolicyError) as error:
            raise Problem(409, str(error)) from None
