"""Micro-batches: requests that arrived in one turn of the event loop run together, and each gets its decision back.

Batches are formed from what is waiting, never by a timer: a lone request runs alone and at once, and the longer a run
takes, the more requests arrive meanwhile and share the next one.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite
from time import perf_counter
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import structlog
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from dqn_models.policy import FloatArray, IntArray, Observations
from dqn_serving.inference.exploration import Exploring, select_actions
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.observations import BoolArray
from dqn_serving.problems import Problem, internal_error
from dqn_serving.telemetry.metrics import ModelMeasures

MAX_BATCH = 128
"""More gain nothing by sharing a run, and would have to wait for one another."""

log = structlog.get_logger()


class Decision(NamedTuple):
    """The index of the selected action, the Q-values [n_actions], and the propensity where the request explores."""

    action_index: int
    q_values: list[float]
    propensity: float | UnsetType


class BatchDecision(NamedTuple):
    """Q-values [batch, n_actions], indices of the selected actions [batch], propensities [batch] where it explores."""

    q_values: FloatArray
    indices: IntArray
    propensities: NDArray[np.float64] | None


Rendered = TypeVar("Rendered")
Renderer = Callable[[LoadedPolicy, Decision | Problem], Rendered]
"""Makes the answer that one kind of request wants."""
Deliver = Callable[[Rendered], None]


class PendingRequest(NamedTuple, Generic[Rendered]):
    """A decoded request for one observation: others may run with it."""

    observation: Any
    """A number or nested lists, in the policy's shape."""
    mask: BoolArray | None
    """[1, n_actions]"""
    epsilon: float | UnsetType
    seed: int | UnsetType
    render: Renderer[Rendered]


class _Waiting(NamedTuple):
    """What waits for one policy: entry i of one list belongs to entry i of the other."""

    measures: ModelMeasures
    requests: list[PendingRequest[Any]]
    deliveries: list[Deliver[Any]]


class MicroBatcher:
    """Collects requests for one observation, and answers all at the end of the event loop's turn."""

    def __init__(self, generator: np.random.Generator) -> None:
        """`generator` draws for requests that have an epsilon and no seed."""
        self._generator = generator
        self._waiting: dict[LoadedPolicy, _Waiting] = {}

    def submit(
        self,
        loaded: LoadedPolicy,
        measures: ModelMeasures,
        request: PendingRequest[Rendered],
        deliver: Deliver[Rendered],
    ) -> None:
        """Has a request answered with those of this turn; `deliver` is called then, and must not raise."""
        waiting = self._waiting.get(loaded)
        if waiting is None:
            if not self._waiting:
                asyncio.get_running_loop().call_soon(self.flush)
            waiting = self._waiting[loaded] = _Waiting(measures, [], [])
        waiting.requests.append(request)
        waiting.deliveries.append(deliver)
        if len(waiting.requests) == MAX_BATCH:
            self.flush()

    async def answer(
        self, loaded: LoadedPolicy, measures: ModelMeasures, request: PendingRequest[Rendered]
    ) -> Rendered:
        """The answer to a request, decided with those of this turn."""
        answer: asyncio.Future[Rendered] = asyncio.get_running_loop().create_future()
        self.submit(loaded, measures, request, partial(_settle, answer))
        return await answer

    def flush(self) -> None:
        """Answers everything that waits; what comes later is another turn's."""
        turn, self._waiting = self._waiting, {}
        for loaded, waiting in turn.items():
            decisions = self._decide(loaded, waiting)
            for request, deliver, decision in zip(waiting.requests, waiting.deliveries, decisions, strict=True):
                deliver(request.render(loaded, decision))

    def run_batch(
        self,
        loaded: LoadedPolicy,
        measures: ModelMeasures,
        observations: Observations,
        mask: BoolArray | None,
        exploring: Exploring,
    ) -> BatchDecision | Problem:
        """Decides about one request's many observations [batch, *shape], at once; `mask` is [batch, n_actions].

        A Problem (422) where a Q-value is not finite, and (500) where the run fails.
        """
        try:
            q_values, actions = _run(loaded, measures, observations)
            if not np.isfinite(q_values).all():
                return _overflow(loaded, measures)
            indices, propensities = select_actions(q_values, actions - loaded.start, mask, exploring, self._generator)
        except Exception:
            log.exception("request failed", model=loaded.model, version=loaded.version)
            return internal_error()
        for index, count in enumerate(np.bincount(indices, minlength=len(loaded.action_counts)).tolist()):
            loaded.action_counts[index] += count
        return BatchDecision(q_values, indices, propensities)

    def _decide(self, loaded: LoadedPolicy, waiting: _Waiting) -> Sequence[Decision | Problem]:
        try:
            return self._run_together(waiting.requests, loaded, waiting.measures)
        except Exception:
            structlog.contextvars.clear_contextvars()  # the first one's, who is not the only one concerned
            log.exception("request failed", model=loaded.model, version=loaded.version)
            return [internal_error()] * len(waiting.requests)

    def _run_together(
        self, requests: Sequence[PendingRequest[Any]], loaded: LoadedPolicy, measures: ModelMeasures
    ) -> list[Decision | Problem]:
        """A decision for each request, from one run; none depends on what else is among them."""
        observations = np.array([request.observation for request in requests], loaded.observations.dtype)
        q_values, actions = _run(loaded, measures, observations)
        decisions: list[Decision | Problem] = []
        rows = zip(requests, actions.tolist(), q_values.tolist(), strict=True)
        for row, (request, action, values) in enumerate(rows):
            # Python's sums of a few float32 cannot overflow, and cost a fifth of NumPy's check of a small array.
            if not isfinite(sum(values)):
                decisions.append(_overflow(loaded, measures))
                continue
            index: int = action - loaded.start
            propensity: float | UnsetType = UNSET
            if request.mask is not None or request.epsilon is not UNSET:
                one = slice(row, row + 1)
                greedy = actions[one] - loaded.start
                selected = select_actions(q_values[one], greedy, request.mask, request, self._generator)
                index = int(selected.indices[0])
                propensity = UNSET if selected.propensities is None else float(selected.propensities[0])
            loaded.action_counts[index] += 1
            decisions.append(Decision(index, values, propensity))
        return decisions


def _run(loaded: LoadedPolicy, measures: ModelMeasures, observations: Observations) -> tuple[FloatArray, IntArray]:
    """Q-values [batch, n_actions] and greedy actions [batch], measured; a Q-value may be infinite or NaN."""
    started = perf_counter()
    q_values, actions = loaded.policy.run(observations)
    measures.inference.observe(perf_counter() - started)
    measures.batch_size.observe(len(observations))
    return q_values, actions


def _overflow(loaded: LoadedPolicy, measures: ModelMeasures) -> Problem:
    measures.rejected.add("overflow")
    return Problem(422, f"The Q-values of {loaded} overflow float32 for this observation.", reason="overflow")


def _settle(future: asyncio.Future[Rendered], answer: Rendered) -> None:
    if not future.done():  # cancelled, where the server ends before its requests do
        future.set_result(answer)
