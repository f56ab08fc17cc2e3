"""Middleware of the slow path: request ids, counting, CORS, admission and error handling."""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any

import structlog
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dqn_serving.inference.admission import Admission
from dqn_serving.problems import CLOSE, SERVED
from dqn_serving.security.auth import OPEN_PATHS, Access
from dqn_serving.telemetry import request_context
from dqn_serving.telemetry.metrics import OTHER_ENDPOINT, RequestMeasures
from dqn_serving.telemetry.request_context import REQUEST_ID
from dqn_serving.telemetry.request_log import RequestLog

CLIENT_GONE = 499  # nginx's status for it; it appears in the metrics only
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ALWAYS_ANSWERED = OPEN_PATHS | {"/metrics"}

HandleError = Callable[[Request, Exception], Awaitable[Any]]


class ObserveRequests:
    """Gives each request its id, and counts, logs and traces it once it is answered."""

    def __init__(self, app: ASGIApp, requests: RequestMeasures, request_log: RequestLog, admission: Admission) -> None:
        self._app = app
        self._requests = requests
        self._log = request_log
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request (or runs the lifespan)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        sent = request_context.read(scope["headers"])
        context = sent.with_request_id()
        is_named = sent is context or self._log.assigns_request_ids
        inner: Scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        # Counted before it is sent: a worker that is killed in between has counted everything that it answered.
        reply: list[Message] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                reply.clear()  # a second start replaces a response that failed after the first
            reply.append(message)

        with structlog.contextvars.bound_contextvars(**context.fields()):
            await self._app(inner, receive, keep)
        # By the route's template, which bounds the number of labels whatever paths are requested.
        measures = self._requests.endpoint(getattr(inner.get("route"), "path", OTHER_ENDPOINT))
        status = reply[0]["status"] if reply else CLIENT_GONE
        seconds = perf_counter() - started
        self._log.observe(measures, scope["method"], scope["path"], status, seconds, context, inner.get(SERVED))
        own = [(REQUEST_ID, (context.request_id or "").encode())] if is_named or status >= 400 else []
        own += CLOSE if self._admission.is_draining else ()
        for message in reply:
            if message["type"] == "http.response.start":
                message["headers"] = [*(header for header in message["headers"] if header not in own), *own]
            await send(message)


class AdmitRequests:
    """Checks a request's token and the server's load, and turns any exception into a response."""

    def __init__(self, app: ASGIApp, access: Access, admission: Admission, handle_error: HandleError) -> None:
        """`handle_error` returns the response to an exception, or None if the client has gone."""
        self._app = app
        self._access = access
        self._admission = admission
        self._handle_error = handle_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request (or runs the lifespan)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._access.check(scope)
            if scope["method"] not in _METHODS_WITH_BODY and scope["path"] not in _ALWAYS_ANSWERED:
                self._admission.check()  # the others are checked once their body has arrived
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001  (the handler logs unexpected ones)
            response = await self._handle_error(Request(scope), error)
            if response is not None:
                await response(scope, receive, send)


def allow_origins(app: ASGIApp, origins: Sequence[str]) -> CORSMiddleware:
    """Answers preflight requests, and lets pages of these origins read the responses.

    Tokens are sent in a header, not in cookies, so credentials stay forbidden.
    """
    sent = ("Authorization", "Content-Encoding", "Content-Type", "Inference-Header-Content-Length")
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PUT"),
        allow_headers=(*sent, "X-Request-ID", "traceparent", "tracestate"),
        expose_headers=("Inference-Header-Content-Length", "Retry-After", "X-Request-ID"),
        max_age=600,
    )
