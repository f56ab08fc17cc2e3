"""Liveness, readiness and metrics."""

from fastapi import APIRouter, Request, Response

from dqn_serving.api.documents import problems
from dqn_serving.api.responses import Alive, Ready
from dqn_serving.problems import Problem
from dqn_serving.services import Services


def health_router(services: Services) -> APIRouter:
    """`/healthz`, `/readyz` and `/metrics`."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="Is the process alive?")
    async def healthz() -> Alive:
        return Alive()

    @router.get("/readyz", summary="Can it act?", responses=problems(503))
    async def readyz() -> Ready:
        reason = services.unavailable_reason()
        if reason is not None:
            raise Problem(503, reason)
        champion = services.registry.get(None).require_champion()
        return Ready(model=champion.model, version=champion.version)

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The metrics."}},
    )
    async def metrics(request: Request) -> Response:
        body, content_type = services.exposition.render(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    return router
