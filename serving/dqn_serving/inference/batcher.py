"""Micro-batches: requests that arrived in one turn of the event loop run together, and each gets its decision back.

Batches are formed from what is waiting, never by a timer: a lone request runs alone and at once, and the longer a run
takes, the more requests arrive meanwhile and share the next one.
"""

import asyncio
from collections.abc import Callable, Sequence
from math import isfinite
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import structlog
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from dqn_models.masks import BoolArray
from dqn_models.policy import FloatArray, IntArray, Observations
from dqn_serving.inference.exploration import Exploring, select_actions
from dqn_serving.policies.loaded import Index, LoadedPolicy, as_index
from dqn_serving.problems import Answer, Problem, internal_error

MAX_BATCH = 128
"""Beyond this, sharing a run gains nothing, and requests would wait for one another."""

Deliver = Callable[[Answer], None]

log = structlog.get_logger()


class BatchDecision(NamedTuple):
    """Q-values [batch, n], indices of the selected actions [batch, ...], propensities [batch] if it explores."""

    q_values: FloatArray
    indices: IntArray
    propensities: NDArray[np.float64] | None


class Decision(NamedTuple):
    """The index of the selected action, the Q-values [n], and the propensity if the request explores."""

    action_index: Index
    q_values: list[float]
    propensity: float | UnsetType

    def as_batch(self) -> BatchDecision:
        """The same as a batch of one."""
        propensities = None if self.propensity is UNSET else np.array([self.propensity])
        return BatchDecision(np.array([self.q_values], np.float32), np.array([self.action_index]), propensities)


class PendingRequest(NamedTuple):
    """A decoded request for one observation, which may share a run with others."""

    observation: Any
    """A number or nested lists in the policy's shape, or a tuple of these, one for each leaf."""
    mask: BoolArray | None
    """[1, n]"""
    epsilon: float | UnsetType
    seed: int | UnsetType
    deliver: Callable[[LoadedPolicy, Decision | Problem], None]
    """Receives the decision; must not raise."""


class MicroBatcher:
    """Collects requests for one observation, and answers all at the end of the event loop's turn."""

    def __init__(self, generator: np.random.Generator) -> None:
        """`generator` draws for requests that have an epsilon and no seed."""
        self._generator = generator
        self._waiting: dict[LoadedPolicy, list[PendingRequest]] = {}

    def submit(self, loaded: LoadedPolicy, request: PendingRequest) -> None:
        """Queues a request, to be decided together with the others of this turn."""
        waiting = self._waiting.get(loaded)
        if waiting is None:
            if not self._waiting:
                asyncio.get_running_loop().call_soon(self.flush)
            waiting = self._waiting[loaded] = []
        waiting.append(request)
        if len(waiting) == MAX_BATCH:
            self.flush()

    def flush(self) -> None:
        """Decides all waiting requests; later ones belong to another batch."""
        turn, self._waiting = self._waiting, {}
        for loaded, requests in turn.items():
            for request, decision in zip(requests, self._decide(loaded, requests), strict=True):
                request.deliver(loaded, decision)

    def run_batch(
        self, loaded: LoadedPolicy, observations: Observations, mask: BoolArray | None, exploring: Exploring
    ) -> BatchDecision | Problem:
        """Decides one request's batch of observations [batch, *shape] immediately; `mask` is [batch, n_actions].

        Returns a Problem: 422 if a Q-value is not finite, 500 if the run fails.
        """
        try:
            q_values = _run(loaded, observations)
            if not np.isfinite(q_values).all():
                return _overflow(loaded)
            space = loaded.action_space
            greedy = space.best(q_values)
            indices, propensities = select_actions(space, q_values, greedy, mask, exploring, self._generator)
        except Exception:
            log.exception("request failed", model=loaded.model, version=loaded.version)
            return internal_error()
        for index, count in enumerate(np.bincount(space.q_positions(indices).ravel()).tolist()):
            loaded.action_counts[index] += count
        return BatchDecision(q_values, indices, propensities)

    def _decide(self, loaded: LoadedPolicy, requests: Sequence[PendingRequest]) -> Sequence[Decision | Problem]:
        try:
            return self._run_together(loaded, requests)
        except Exception:
            structlog.contextvars.clear_contextvars()  # the first request's; but this concerns all of them
            log.exception("request failed", model=loaded.model, version=loaded.version)
            return [internal_error()] * len(requests)

    def _run_together(self, loaded: LoadedPolicy, requests: Sequence[PendingRequest]) -> list[Decision | Problem]:
        """A decision for each request, from one run; no decision depends on the other requests."""
        observations = np.array([request.observation for request in requests], loaded.observations.dtype)
        q_values = _run(loaded, observations)
        space, branches = loaded.action_space, loaded.branches
        greedy = space.best(q_values) if branches else q_values.argmax(1)
        indices = map(tuple, greedy.tolist()) if branches else greedy.tolist()
        decisions: list[Decision | Problem] = []
        rows = zip(requests, indices, q_values.tolist(), strict=True)
        for row, (request, best, values) in enumerate(rows):
            # Python's sums of a few float32 cannot overflow, and cost a fifth of NumPy's check of a small array.
            if not isfinite(sum(values)):
                decisions.append(_overflow(loaded))
                continue
            index: Any = best
            propensity: float | UnsetType = UNSET
            if request.mask is not None or request.epsilon is not UNSET:
                one = slice(row, row + 1)
                selected = select_actions(space, q_values[one], greedy[one], request.mask, request, self._generator)
                index = as_index(selected.indices[0])
                propensity = UNSET if selected.propensities is None else float(selected.propensities[0])
            if branches:
                loaded.count_branches(index)
            else:
                loaded.action_counts[index] += 1
            decisions.append(Decision(index, values, propensity))
        return decisions


def _run(loaded: LoadedPolicy, observations: Observations) -> FloatArray:
    """Q-values [batch, n], measured; one may be infinite or NaN."""
    started = perf_counter()
    q_values = loaded.policy.q_values(observations)
    loaded.measures.inference.observe(perf_counter() - started)
    loaded.measures.batch_size.observe(len(observations))
    return q_values


def _overflow(loaded: LoadedPolicy) -> Problem:
    loaded.measures.rejected.add("overflow")
    return Problem(422, f"The Q-values of {loaded} overflow float32 for this observation.", reason="overflow")


async def wait_for(begin: Callable[[Deliver], None]) -> Answer:
    """The answer that `begin` delivers, now or once the batch of this turn has run. Raises what `begin` raises."""
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    begin(lambda found: None if answer.done() else answer.set_result(found))  # done: cancelled at shutdown
    return await answer
