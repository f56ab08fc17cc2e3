"""The infer call: from a request of the protocol to its answer, with the native calls' policies, run and choice.

A request for one observation shares the run of its turn, with native requests too; a larger one runs by itself.
"""

from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import NamedTuple

import numpy as np
from starlette.types import Receive, Scope

from dqn_models.layout import CHAMPION
from dqn_serving.api.oip.compression import deflate
from dqn_serving.api.oip.errors import error_answer
from dqn_serving.api.oip.outputs import ACTION, DTYPES, PROPENSITY, Q_VALUES, Outputs, write
from dqn_serving.api.oip.reading import Asked, read
from dqn_serving.api.oip.statistics import Durations, Statistics
from dqn_serving.inference.admission import overload
from dqn_serving.inference.batcher import Decision, PendingRequest
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.registry import ServedModel
from dqn_serving.problems import Answer, Problem, make_answer
from dqn_serving.services import Services
from dqn_serving.telemetry.metrics import EndpointMeasures, ModelMeasures

TEMPLATE = "/v2/models/{model}/infer"


class InferRoute(NamedTuple):
    """An infer call of a champion: where to count, and the model."""

    call: "InferCall"
    measures: EndpointMeasures
    refusal: Answer
    model: str

    def begin(self, scope: Scope, body: bytes, deliver: Callable[[Answer], None]) -> bool:
        """See `InferCall.begin`."""
        return self.call.begin(self.model, scope, body, deliver)


class InferCall:
    """Answers infer requests."""

    def __init__(self, services: Services) -> None:
        self.statistics = Statistics(services.registry)
        self._models = services.registry.models
        self._loader = services.loader
        self._measures = services.requests.endpoint(TEMPLATE)
        self._refusal = error_answer(overload())
        self._bodies = services.bodies
        self._batcher = services.batcher

    def route(self, path: str) -> InferRoute | None:
        """The route of a path to a champion's infer call; None for any other path."""
        parts = path.split("/")
        is_infer = len(parts) == 5 and (parts[1], parts[2], parts[4]) == ("v2", "models", "infer")
        return InferRoute(self, self._measures, self._refusal, parts[3]) if is_infer else None

    def begin(self, model: str, scope: Scope, body: bytes, deliver: Callable[[Answer], None]) -> bool:
        """Takes a call that needs no waiting and has no fault: `deliver` gets its answer, at the latest in this turn.

        False where there is more to do: see `respond`.
        """
        served = self._models.get(model)
        if served is None or served.champion is None:
            return False
        loaded = served.champion
        try:
            asked = read(body, loaded, scope, self._bodies.limit)
        except Exception:  # noqa: BLE001  (it is met again, answered and logged on the slow path)
            return False
        if len(asked.observations) == 1:
            self._batcher.submit(loaded, served.measures, self._pending(asked), deliver)
        else:
            deliver(self._answer(asked, loaded, served.measures))
        return True

    async def respond(self, served: ServedModel, version: int | None, scope: Scope, receive: Receive) -> Answer:
        """The answer to a request for a version, or for the champion. Raises Problem and DisconnectedError."""
        loaded = None
        try:
            body = await self._bodies.read(scope, receive)
            loaded = served.champion if version is None else None
            if loaded is None:
                loaded = await self._loader.select(served, CHAMPION if version is None else version)
            started = perf_counter_ns()
            asked = read(body, loaded, scope, self._bodies.limit)
        except Problem as problem:
            if loaded is not None:
                self.statistics.count_failure(loaded, perf_counter_ns() - started)
            if problem.reason is not None:
                served.measures.rejected.add(problem.reason)
            raise
        if len(asked.observations) > 1:
            return self._answer(asked, loaded, served.measures)
        return await self._batcher.answer(loaded, served.measures, self._pending(asked))

    def _pending(self, asked: Asked) -> PendingRequest[Answer]:
        options = asked.parameters
        render = partial(self._answer_single, asked)
        return PendingRequest(asked.observations[0], asked.mask, options.epsilon, options.seed, render)

    def _answer_single(self, asked: Asked, loaded: LoadedPolicy, found: Decision | Problem) -> Answer:
        if isinstance(found, Problem):
            self.statistics.count_failure(loaded, perf_counter_ns() - asked.began)
            return error_answer(found)
        values = {Q_VALUES: found.q_values, ACTION: found.action_index + loaded.start, PROPENSITY: found.propensity}
        outputs = {name: np.array([values[name]], DTYPES[name]) for name in asked.wanted}
        return self._written(asked, outputs, loaded)

    def _answer(self, asked: Asked, loaded: LoadedPolicy, measures: ModelMeasures) -> Answer:
        found = self._batcher.run_batch(loaded, measures, asked.observations, asked.mask, asked.parameters)
        if isinstance(found, Problem):
            self.statistics.count_failure(loaded, perf_counter_ns() - asked.began)
            return error_answer(found)
        outputs: Outputs = {Q_VALUES: found.q_values, ACTION: found.indices + loaded.start}
        if found.propensities is not None:
            outputs[PROPENSITY] = found.propensities
        return self._written(asked, outputs, loaded)

    def _written(self, asked: Asked, outputs: Outputs, loaded: LoadedPolicy) -> Answer:
        inferred = perf_counter_ns()
        body = write(asked.identity, asked.wanted, outputs, loaded)
        data, encoding = deflate(body.data, asked.headers)
        answer = make_answer(data, 200, body.content_type, (*body.headers, *encoding), loaded.served)
        durations = Durations(asked.read - asked.began, inferred - asked.read, perf_counter_ns() - inferred)
        self.statistics.count_success(loaded, len(asked.observations), durations)
        return answer
