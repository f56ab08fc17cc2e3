"""Assembles a server: its parts, its APIs, one application for all calls, and what the fast path needs from them."""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.routing import Router
from starlette.types import ASGIApp

from dqn_serving.api.act import ActCalls
from dqn_serving.api.admin import AdminCalls
from dqn_serving.api.calls import CallRoute
from dqn_serving.api.docs_page import docs_routes
from dqn_serving.api.errors import handle_error, render_problem
from dqn_serving.api.oip.infer import InferCall
from dqn_serving.api.oip.routes import OipApi
from dqn_serving.api.openapi import describe, with_models
from dqn_serving.api.status import StatusCalls
from dqn_serving.api.stream.connection import StreamConnection
from dqn_serving.api.stream.hub import StreamHub
from dqn_serving.api.stream.routes import stream_routes
from dqn_serving.http.head_cache import FastRoute, RequestHeadCache
from dqn_serving.http.middleware import AdmitRequests, ObserveRequests, allow_origins
from dqn_serving.http.parts import ConnectionParts
from dqn_serving.security.reloading import POLL_SECONDS
from dqn_serving.services import Services
from dqn_serving.telemetry.metrics import OTHER_ENDPOINT

_DESCRIPTION = (
    "Observations in, actions and Q-values out, from the champion of each model in the repository. Errors are RFC 9457 "
    'problem documents (`application/problem+json`), and `{"error": ...}` under `/v2`; a method not listed below gets '
    "405 with `Allow`, except that `HEAD` works wherever `GET` does. Any request may carry `X-Request-ID` and "
    "`traceparent`: both appear in the log, and the response returns the id."
)


class Server:
    """What one process serves: the APIs and the application; nothing is read or started yet."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.streams = StreamHub(services)
        self._acts = ActCalls(services)
        self._infer = InferCall(services)
        calls = [
            *self._acts.routes(),  # first: requested most often
            *OipApi(services, self._infer).routes(),
            *StatusCalls(services).routes(),
            *AdminCalls(services).routes(),
            *stream_routes(),
        ]
        self.app = _create_app(services, calls)

    def find_route(self, path: str) -> FastRoute | None:
        """The call at this path, if the fast path may take it."""
        return self._acts.find(path) or self._infer.route(path)

    def connection_parts(self) -> ConnectionParts:
        """What all HTTP connections share."""
        services, settings = self.services, self.services.settings
        measures = services.requests.endpoint(OTHER_ENDPOINT)
        heads = RequestHeadCache(self.find_route, settings.max_body_bytes, origins=settings.cors_origins)
        shared = (settings, services.access, services.admission, services.request_log, measures)
        return ConnectionParts(*shared, services.batcher.flush, heads, render_problem, self._open_stream)

    def _open_stream(self, path: str) -> Callable[..., StreamConnection] | None:
        route = self.streams.route(path)
        if route is None:
            return None
        return lambda connections, context: StreamConnection(self.streams, route, connections, context)


def _create_app(services: Services, calls: Sequence[CallRoute]) -> FastAPI:
    """FastAPI's application and its `/openapi.json`; each request goes straight to Starlette's router."""
    settings = services.settings
    app = FastAPI(
        title="dqn-policy-server",
        version=version("dqn-policy-server"),
        description=_DESCRIPTION,
        routes=[*calls, *docs_routes()],
        redoc_url=None,
        docs_url=None,  # FastAPI's page loads its assets from a CDN
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours is; FastAPI's reads the environment
    )

    @functools.cache
    def document() -> dict[str, Any]:
        info = {"title": app.title, "version": app.version, "description": app.description}
        needs_token = settings.require_token
        return describe(info, calls, token_needed=needs_token, max_batch_size=settings.max_batch_size)

    def openapi() -> dict[str, Any]:
        champions = [served.champion for served in services.registry.models.values() if served.champion is not None]
        return with_models(document(), [champion.manifest for champion in champions])

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented extension point
    router = Router(app.routes, redirect_slashes=False, lifespan=lambda _app: _watch(services))
    admitted: ASGIApp = AdmitRequests(router, services.access, services.admission, handle_error)
    if settings.cors_origins:
        admitted = allow_origins(admitted, settings.cors_origins)
    app.middleware_stack = ObserveRequests(admitted, services.requests, services.request_log, services.admission)
    return app


@contextlib.asynccontextmanager
async def _watch(services: Services) -> AsyncIterator[None]:
    """Loads the models before the first request, then watches for changes until shutdown."""
    await services.tasks.start("refresh", services.refresher.poll, services.settings.refresh_seconds, at_once=True)
    for files in services.reloaded:
        await services.tasks.start(files.kind, files.poll_in_thread, POLL_SECONDS)
    yield
    await services.tasks.stop()
    if services.traces is not None:
        services.traces.close(services.settings.shutdown_seconds)
