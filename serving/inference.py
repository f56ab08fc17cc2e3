"""From a decoded request to its answer: one run of the policy, then the choice of actions."""

import math
from time import perf_counter
from typing import NamedTuple

import numpy as np
from msgspec import UNSET, UnsetType

from models.policy import FloatArray, IntArray, Observations
from serving.choosing import choose, greedy_indices
from serving.metrics import ModelMeasures
from serving.observations import BoolArray
from serving.policies import LoadedPolicy
from serving.problems import Answer, Problem, make_answer
from serving.schemas import (
    ActAnswer,
    ActBatchAnswer,
    ActRequest,
    AnyAnswer,
    QValuesAnswer,
    QValuesBatchAnswer,
    encode,
)


class Outcome(NamedTuple):
    """What was found for a batch: Q-values [batch, n_actions], action indices [batch] and their propensities."""

    q_values: FloatArray
    indices: IntArray
    propensities: list[float] | UnsetType


def answer(
    request: ActRequest,
    loaded: LoadedPolicy,
    measures: ModelMeasures,
    generator: np.random.Generator,
    *,
    with_q_values: bool,
) -> Answer:
    """The response to a request; `generator` draws where the request has an epsilon and no seed.

    Raises ValueError where the request does not fit the policy, and Problem (422) where its Q-values overflow.
    """
    observations = loaded.observations.read(request)
    mask = loaded.observations.read_mask(request, len(observations))
    q_values, actions = _run(loaded, measures, observations)
    is_single = request.observation is not UNSET
    if request.epsilon is UNSET and mask is None:
        if is_single and not with_q_values:
            return _count_greedy(loaded, int(actions[0]) - loaded.start)
        outcome = Outcome(q_values, actions - loaded.start, UNSET)
    else:
        outcome = _choose(request, q_values, actions - loaded.start, mask, generator)
    for index, count in enumerate(np.bincount(outcome.indices, minlength=len(loaded.action_counts)).tolist()):
        loaded.action_counts[index] += count
    body = _one(loaded, outcome, with_q_values) if is_single else _many(loaded, outcome, with_q_values)
    return make_answer(encode(body))


def _run(loaded: LoadedPolicy, measures: ModelMeasures, observations: Observations) -> tuple[FloatArray, IntArray]:
    started = perf_counter()
    q_values, actions = loaded.policy.run(observations)
    measures.inference.observe(perf_counter() - started)
    measures.batch_size.observe(len(observations))
    # Python's sum of a few float32 cannot overflow, and costs a fifth of NumPy's check of a small array.
    is_finite = math.isfinite(sum(q_values[0].tolist())) if len(q_values) == 1 else np.isfinite(q_values).all()
    if not is_finite:
        raise Problem(422, f"The Q-values of {loaded} overflow float32 for this observation.", reason="overflow")
    return q_values, actions


def _count_greedy(loaded: LoadedPolicy, index: int) -> Answer:
    loaded.action_counts[index] += 1
    return loaded.greedy_answers[index]


def _choose(
    request: ActRequest, q_values: FloatArray, greedy: IntArray, mask: BoolArray | None, generator: np.random.Generator
) -> Outcome:
    if mask is not None:
        greedy = greedy_indices(q_values, mask)
    if request.epsilon is UNSET:
        return Outcome(q_values, greedy, UNSET)
    allowed = np.ones(q_values.shape, np.bool_) if mask is None else mask
    draws_from = generator if request.seed is UNSET else np.random.default_rng(request.seed)
    choice = choose(greedy, allowed, request.epsilon, draws_from)
    return Outcome(q_values, choice.indices, choice.propensities.tolist())


def _one(loaded: LoadedPolicy, outcome: Outcome, with_q_values: bool) -> AnyAnswer:  # noqa: FBT001  (private)
    action = int(outcome.indices[0]) + loaded.start
    propensity = UNSET if outcome.propensities is UNSET else outcome.propensities[0]
    if with_q_values:
        return QValuesAnswer(outcome.q_values[0].tolist(), action, loaded.model, loaded.version, propensity)
    return ActAnswer(action, loaded.model, loaded.version, propensity)


def _many(loaded: LoadedPolicy, outcome: Outcome, with_q_values: bool) -> AnyAnswer:  # noqa: FBT001  (private)
    actions = (outcome.indices + loaded.start).tolist()
    if with_q_values:
        q_values = outcome.q_values.tolist()
        return QValuesBatchAnswer(q_values, actions, loaded.model, loaded.version, outcome.propensities)
    return ActBatchAnswer(actions, loaded.model, loaded.version, outcome.propensities)
