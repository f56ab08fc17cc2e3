"""The ASGI application: counts and guards every request, answers the native calls itself and passes on the rest."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.body import CLIENT_GONE, DisconnectedError, read_body
from serving.api.native import Route
from serving.api.oip.paths import is_below
from serving.api.oip.routes import OipApi
from serving.api.rest import create_rest_app
from serving.metrics import OTHER_ENDPOINT
from serving.problems import Answer, Problem, internal_error
from serving.services import Services

_DOCUMENT_PATHS = frozenset({"/docs", "/openapi.json"})
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})

log = structlog.get_logger()


class PolicyServer:
    """One server process as an ASGI callable."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._requests = services.requests
        self._max_body_bytes = services.settings.max_body_bytes
        self._native = services.native
        self._oip = OipApi(services)
        self._rest: ASGIApp = create_rest_app(services, self._lifespan)

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request (or runs the lifespan)."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        started = perf_counter()
        if self._services.lifecycle.is_draining:
            send = _closing(send)
        route = self._native.route(scope["path"])
        if route is None and is_below(scope["path"]):
            template, status = await self._oip.serve(scope, receive, send)
            measures = self._requests.endpoint(template)
        elif route is None:
            template, status = await self._pass_on(scope, receive, send)
            measures = self._requests.endpoint(template)
        else:
            measures, status = route.measures, await self._act(route, scope, receive, send)
        self._services.journal.record(measures, scope["method"], scope["path"], status, started)

    async def _act(self, route: Route, scope: Scope, receive: Receive, send: Send) -> int:
        try:
            self._services.gate.check(scope)
            answer = await self._native.respond(route, scope, receive)
        except Problem as problem:
            answer = problem.answer()
        except DisconnectedError:
            return CLIENT_GONE
        except Exception:
            log.exception("request failed", path=scope["path"])
            answer = internal_error().answer()
        await _send(answer, send)
        return answer.status

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> tuple[str, int]:
        """Lets FastAPI answer; returns the route's template and the status."""
        inner: Scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else dict(scope)
        sent: list[int] = []

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent.append(message["status"])
            await send(message)

        try:
            self._services.gate.check(scope)
            if scope["method"] in _METHODS_WITH_BODY:
                receive = _replay(await read_body(scope, receive, self._max_body_bytes))
            await self._rest(inner, receive, watch)
        except Problem as problem:
            await _send(problem.answer(), watch)
        except DisconnectedError:
            return OTHER_ENDPOINT, CLIENT_GONE
        except Exception:
            log.exception("request failed", path=scope["path"])
            if not sent:
                await _send(internal_error().answer(), watch)
        return _template(inner), sent[0] if sent else CLIENT_GONE


def _template(scope: Scope) -> str:
    """The route's template, so that the number of labels is bounded whatever paths are asked for."""
    if scope["path"] in _DOCUMENT_PATHS:
        return str(scope["path"])
    route: Any = scope.get("route")
    return str(getattr(route, "path", OTHER_ENDPOINT))


async def _send(answer: Answer, send: Send) -> None:
    await send(answer.start)
    await send(answer.body)


def _closing(send: Send) -> Send:
    """Asks the client to connect anew next time, and so to another server."""

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return closing


def _replay(body: bytes) -> Receive:
    """A `receive` for a body that was read already."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive
