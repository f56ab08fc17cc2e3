"""The calls of the protocol, as plain ASGI; every error is `{"error": ...}` with the status that fits it."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from dqn_models.errors import ModelError
from dqn_models.layout import CHAMPION, version_number
from dqn_serving.api.oip.errors import error_answer
from dqn_serving.api.oip.explain import decode_problem
from dqn_serving.api.oip.framing import collect, inflate
from dqn_serving.api.oip.messages import IndexRequest, Live, ModelReady, ServerReady, decode_index_request, encode
from dqn_serving.api.oip.metadata import model_config, model_metadata, repository_index, server_metadata
from dqn_serving.api.oip.paths import Call, find_call
from dqn_serving.http.body import DisconnectedError
from dqn_serving.http.reply import SERVED
from dqn_serving.policies.registry import ServedModel
from dqn_serving.problems import Answer, Problem, from_model_error, internal_error, make_answer
from dqn_serving.security.access import OPEN_PATHS
from dqn_serving.services import Services
from dqn_serving.telemetry.metrics import OTHER_ENDPOINT

log = structlog.get_logger()


class OipApi:
    """Everything below /v2."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._infer = services.infer
        self._statistics = services.infer.statistics
        self._bodies = services.bodies
        self._model_calls: dict[str, Callable[[ServedModel, int | None], Awaitable[Any]]] = {
            "": lambda served, version: model_metadata(services, served, version),
            "config": lambda served, version: model_config(services, served, version),
            "ready": self._model_ready,
            "stats": self._model_statistics,
        }

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> str:
        """Answers a request; returns its route's template, for the metrics."""
        call = find_call(scope["path"])
        template = call.template if call else OTHER_ENDPOINT
        try:
            self._services.gate.check(scope)
            if scope["path"] not in OPEN_PATHS:
                self._services.admission.check()
            answer = await self._respond(call, scope, receive)
        except Problem as problem:
            answer = error_answer(problem)
        except ModelError as error:
            answer = error_answer(from_model_error(error))
        except DisconnectedError:
            return template
        except Exception:
            log.exception("request failed", path=scope["path"])
            answer = error_answer(internal_error())
        scope[SERVED] = answer.served
        await send(answer.start)
        await send(answer.body)
        return template

    async def _respond(self, call: Call | None, scope: Scope, receive: Receive) -> Answer:
        if call is None:
            raise Problem(404, "There is no such path here; /docs lists those that there are.")
        if {"HEAD": "GET"}.get(scope["method"], scope["method"]) != call.method:
            detail = f"{scope['method'][:20]} is not allowed here; use {call.method}."
            raise Problem(405, detail, headers=((b"allow", call.method.encode()),))
        if call.model is None:
            return make_answer(encode(await self._of_server(call.name, scope, receive)))
        served = self._services.registry.get(call.model)
        version = None if call.version is None else version_number(call.version)
        if version is None and call.version is not None:
            detail = f"{served.name} has no version {call.version[:40]!r}; versions are positive integers."
            raise Problem(404, detail)
        if call.name == "infer":
            return await self._infer.respond(served, version, scope, receive)
        return make_answer(encode(await self._model_calls[call.name](served, version)))

    async def _of_server(self, name: str, scope: Scope, receive: Receive) -> Any:
        if name == "index":
            request = await self._index_request(scope, receive)
            return await repository_index(self._services, only_ready=request.ready)
        if name == "ready":
            self._check_ready()
            return ServerReady()
        if name == "stats":
            return {"model_stats": self._statistics.documents()}
        return Live() if name == "live" else server_metadata()

    def _check_ready(self) -> None:
        reason = self._services.registry.not_ready()
        if self._services.lifecycle.is_draining:
            reason = "The server is shutting down."
        if reason is not None:
            raise Problem(503, reason)

    async def _index_request(self, scope: Scope, receive: Receive) -> IndexRequest:
        body = await self._bodies.read(scope, receive)
        body = inflate(body, collect(scope), self._bodies.limit)
        try:
            request: IndexRequest = decode_index_request(body or b"{}")
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise decode_problem(body, error) from None
        return request

    async def _model_ready(self, served: ServedModel, version: int | None) -> ModelReady:
        """A version that is not in memory is loaded: only then it is known whether it can infer."""
        await self._services.selector.select(served, CHAMPION if version is None else version)
        return ModelReady(served.name)

    async def _model_statistics(self, served: ServedModel, version: int | None) -> Any:
        found = self._statistics.documents(served.name, version)
        if not found:
            which = "versions" if version is None else f"version {version}"
            raise Problem(404, f"{served.name} has no {which} in memory, and so no statistics.")
        return {"model_stats": found}
