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
from dqn_serving.http.body import BodyReader
from dqn_serving.inference.admission import Admission
from dqn_serving.inference.exploration import take
from dqn_serving.inference.run import count_actions, run_policy
from dqn_serving.inference.singles import Chosen, Single
from dqn_serving.inference.turn import Turn
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.loader import VersionSelector
from dqn_serving.policies.registry import Registry, ServedModel
from dqn_serving.problems import Answer, Problem, make_answer
from dqn_serving.telemetry.metrics import EndpointMeasures, ModelMeasures, RequestMeasures

TEMPLATE = "/v2/models/{model}/infer"


class InferRoute(NamedTuple):
    """An infer call of a champion: where to count, and the model."""

    template: str
    measures: EndpointMeasures
    model: str


class InferCall:
    """Answers infer requests."""

    def __init__(
        self,
        registry: Registry,
        selector: VersionSelector,
        requests: RequestMeasures,
        bodies: BodyReader,
        admission: Admission,
        turn: Turn,
    ) -> None:
        self.statistics = Statistics(registry)
        self._models = registry.models
        self._selector = selector
        self._measures = requests.endpoint(TEMPLATE)
        self._bodies = bodies
        self._admission = admission
        self._turn = turn
        self._generator = np.random.default_rng()

    def route(self, path: str) -> InferRoute | None:
        """The route of a path to a champion's infer call; None for any other path."""
        parts = path.split("/")
        is_infer = len(parts) == 5 and (parts[1], parts[2], parts[4]) == ("v2", "models", "infer")
        return InferRoute(TEMPLATE, self._measures, parts[3]) if is_infer else None

    def begin(self, route: InferRoute, scope: Scope, body: bytes, deliver: Callable[[Answer], None]) -> bool:
        """Takes a call that needs no waiting and has no fault: `deliver` gets its answer, at the latest in this turn.

        False where there is more to do: see `respond`.
        """
        served = self._models.get(route.model)
        if served is None or served.champion is None:
            return False
        loaded = served.champion
        try:
            asked = read(body, loaded, scope, self._bodies.limit)
            answer = None if len(asked.observations) == 1 else self._answer(asked, loaded, served.measures)
        except Exception:  # noqa: BLE001  (it is met again, told and logged on the long way)
            return False
        if answer is None:
            self._turn.join(loaded, served.measures, self._single(asked), deliver)
        else:
            deliver(answer)
        return True

    async def respond(self, served: ServedModel, version: int | None, scope: Scope, receive: Receive) -> Answer:
        """The answer to a request for a version, or for the champion. Raises Problem and DisconnectedError."""
        loaded = None
        try:
            body = await self._bodies.read(scope, receive)
            self._admission.check()
            loaded = served.champion if version is None else None
            if loaded is None:
                loaded = await self._selector.select(served, CHAMPION if version is None else version)
            started = perf_counter_ns()
            asked = read(body, loaded, scope, self._bodies.limit)
            answer = None if len(asked.observations) == 1 else self._answer(asked, loaded, served.measures)
        except Problem as problem:
            if loaded is not None:
                self.statistics.count_failure(loaded, perf_counter_ns() - started)
            if problem.reason is not None:
                served.measures.rejected[problem.reason] += 1
            raise
        if answer is None:
            answer = await self._turn.answer(loaded, served.measures, self._single(asked))
        return answer

    def _single(self, asked: Asked) -> Single[Answer]:
        options = asked.parameters
        return Single(
            asked.observations[0], asked.mask, options.epsilon, options.seed, partial(self._answer_single, asked)
        )

    def _answer_single(self, asked: Asked, loaded: LoadedPolicy, found: Chosen | Problem) -> Answer:
        if isinstance(found, Problem):
            self.statistics.count_failure(loaded, perf_counter_ns() - asked.began)
            return error_answer(found)
        values = {Q_VALUES: found.q_values, ACTION: found.action_index + loaded.start, PROPENSITY: found.propensity}
        outputs = {name: np.array([values[name]], DTYPES[name]) for name in asked.wanted}
        return self._written(asked, outputs, loaded)

    def _answer(self, asked: Asked, loaded: LoadedPolicy, measures: ModelMeasures) -> Answer:
        q_values, actions = run_policy(loaded, measures, asked.observations)
        taken = take(q_values, actions - loaded.start, asked.mask, asked.parameters, self._generator)
        outputs: Outputs = {Q_VALUES: q_values, ACTION: taken.indices + loaded.start}
        if taken.propensities is not None:
            outputs[PROPENSITY] = taken.propensities
        answer = self._written(asked, outputs, loaded)
        count_actions(loaded, taken.indices)
        return answer

    def _written(self, asked: Asked, outputs: Outputs, loaded: LoadedPolicy) -> Answer:
        inferred = perf_counter_ns()
        body = write(asked.identity, asked.wanted, outputs, loaded)
        data, encoding = deflate(body.data, asked.headers)
        answer = make_answer(data, 200, body.content_type, (*body.headers, *encoding), loaded.served)
        durations = Durations(asked.read - asked.began, inferred - asked.read, perf_counter_ns() - inferred)
        self.statistics.count_success(loaded, len(asked.observations), durations)
        return answer
