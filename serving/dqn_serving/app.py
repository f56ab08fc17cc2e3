"""The ASGI application: counts and guards every request, answers the native calls itself and passes on the rest."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dqn_serving.api.act import Route
from dqn_serving.api.oip.paths import is_below
from dqn_serving.api.oip.routes import OipApi
from dqn_serving.api.rest import create_rest_app
from dqn_serving.http.body import CLIENT_GONE, DisconnectedError
from dqn_serving.http.cross_origin import allow_origins
from dqn_serving.http.options import MethodsTold
from dqn_serving.http.reply import SERVED, Reply
from dqn_serving.problems import Answer, Problem, internal_error
from dqn_serving.security.access import OPEN_PATHS
from dqn_serving.services import Services
from dqn_serving.telemetry import request_context
from dqn_serving.telemetry.metrics import OTHER_ENDPOINT

_DOCUMENT_PATH = "/openapi.json"  # of a route that tells no path
_ALWAYS_ANSWERED = OPEN_PATHS | {"/metrics"}
_MEASURES = "dqn.measures"
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})

log = structlog.get_logger()


class PolicyServer:
    """One server process as an ASGI callable."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._requests = services.requests
        self._bodies = services.bodies
        self._native = services.native
        self._oip = OipApi(services)
        self._rest: ASGIApp = create_rest_app(services, self._lifespan)
        origins = services.settings.cors_origins
        self._answer = allow_origins(self._find_and_answer, origins) if origins else self._find_and_answer

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Loads what there is before the first request, then keeps watch until the last."""
        await self._services.refresher.look()
        watches = [self._services.refresher.run(), *(files.watch() for files in self._services.reloaded)]
        tasks = [asyncio.create_task(watch) for watch in watches]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._services.journal.traces is not None:
            self._services.journal.traces.close(self._services.settings.shutdown_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request (or runs the lifespan)."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        started = perf_counter()
        sent = request_context.read(scope["headers"])
        named = sent.named()
        is_named = sent is named or self._services.journal.names_every_request
        reply = Reply(send, named, is_named=is_named, is_last=self._services.lifecycle.is_draining)
        with structlog.contextvars.bound_contextvars(**named.fields()):
            await self._answer(scope, receive, reply)
        measures = scope.get(_MEASURES) or self._requests.endpoint(OTHER_ENDPOINT)
        status = reply.status or CLIENT_GONE
        served = scope.get(SERVED)
        self._services.journal.record(measures, scope["method"], scope["path"], status, started, named, served)
        await reply.send()

    async def _find_and_answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, and leaves where to count it in the scope."""
        if scope["method"] == "OPTIONS":
            send = MethodsTold(send)
        route = self._native.route(scope["path"])
        if route is not None:
            scope[_MEASURES] = route.measures
            await self._act(route, scope, receive, send)
        else:
            answer = self._oip.serve if is_below(scope["path"]) else self._pass_on
            scope[_MEASURES] = self._requests.endpoint(await answer(scope, receive, send))

    async def _act(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._services.gate.check(scope)
            answer = await self._native.respond(route, scope, receive)
        except Problem as problem:
            answer = problem.answer()
        except DisconnectedError:
            return
        except Exception:
            log.exception("request failed", path=scope["path"])
            answer = internal_error().answer()
        scope[SERVED] = answer.served
        await _send(answer, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> str:
        """Lets FastAPI answer; returns the route's template."""
        inner: Scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else dict(scope)
        has_begun = False

        async def watch(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            self._services.gate.check(scope)
            if scope["method"] not in _METHODS_WITH_BODY and scope["path"] not in _ALWAYS_ANSWERED:
                self._services.admission.check()
            if scope["method"] in _METHODS_WITH_BODY:
                receive = _replay(await self._bodies.read(scope, receive))
            await self._rest(inner, receive, watch)
        except Problem as problem:
            await _send(problem.answer(), watch)
        except DisconnectedError:
            return OTHER_ENDPOINT
        except Exception:
            log.exception("request failed", path=scope["path"])
            if not has_begun:
                await _send(internal_error().answer(), watch)
        return _template(inner)


def _template(scope: Scope) -> str:
    """The route's template, so that the number of labels is bounded whatever paths are asked for."""
    if scope["path"] == _DOCUMENT_PATH:
        return _DOCUMENT_PATH
    route: Any = scope.get("route")
    return str(getattr(route, "path", OTHER_ENDPOINT))


async def _send(answer: Answer, send: Send) -> None:
    await send(answer.start)
    await send(answer.body)


def _replay(body: bytes) -> Receive:
    """A `receive` for a body that was read already."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive
