"""From a decoded request to its answer: one run of the policy, then the choice of actions."""

from collections.abc import Sequence
from math import isfinite
from time import perf_counter
from typing import Any, NamedTuple

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


class Single(NamedTuple):
    """A request for one observation, read but not run: others may run with it."""

    request: ActRequest
    observation: Any
    mask: BoolArray | None
    with_q_values: bool


def read_single(request: ActRequest, loaded: LoadedPolicy, *, with_q_values: bool) -> Single:
    """Reads what the request has for this policy. Raises ValueError where that does not fit it."""
    observation = loaded.observations.read_one(request)
    return Single(request, observation, loaded.observations.read_mask(request, 1), with_q_values)


def answer_singles(
    singles: Sequence[Single], loaded: LoadedPolicy, measures: ModelMeasures, generator: np.random.Generator
) -> list[Answer | Problem]:
    """The responses to requests for one observation each, from one run; none depends on what else is among them.

    `generator` draws where a request has an epsilon and no seed.
    """
    observations = np.array([single.observation for single in singles], loaded.observations.dtype)
    q_values, actions = _timed_run(loaded, measures, observations)
    answers: list[Answer | Problem] = []
    # Python's sums of a few float32 cannot overflow, and cost a fifth of NumPy's check of a small array.
    for row, (single, action, values) in enumerate(zip(singles, actions.tolist(), q_values.tolist(), strict=True)):
        request = single.request
        if not isfinite(sum(values)):
            answers.append(_overflow(loaded))
        elif request.epsilon is UNSET and single.mask is None and not single.with_q_values:
            answers.append(_count_greedy(loaded, action - loaded.start))
        else:
            greedy = actions[row : row + 1] - loaded.start
            outcome = _choose(request, q_values[row : row + 1], greedy, single.mask, generator)
            count_actions(loaded, outcome.indices)
            answers.append(make_answer(encode(_one(loaded, outcome, single.with_q_values))))
    return answers


def answer_batch(
    request: ActRequest,
    loaded: LoadedPolicy,
    measures: ModelMeasures,
    generator: np.random.Generator,
    *,
    with_q_values: bool,
) -> Answer:
    """The response to a request for many observations; `generator` as for `answer_singles`.

    Raises ValueError where the request does not fit the policy, and Problem (422) where its Q-values overflow.
    """
    observations = loaded.observations.read_many(request)
    mask = loaded.observations.read_mask(request, len(observations))
    q_values, actions = run_policy(loaded, measures, observations)
    outcome = _choose(request, q_values, actions - loaded.start, mask, generator)
    count_actions(loaded, outcome.indices)
    return make_answer(encode(_many(loaded, outcome, with_q_values)))


def run_policy(
    loaded: LoadedPolicy, measures: ModelMeasures, observations: Observations
) -> tuple[FloatArray, IntArray]:
    """Q-values and greedy actions of a batch, measured. Raises Problem (422) where a Q-value is not finite."""
    q_values, actions = _timed_run(loaded, measures, observations)
    if not np.isfinite(q_values).all():
        raise _overflow(loaded)
    return q_values, actions


def _timed_run(
    loaded: LoadedPolicy, measures: ModelMeasures, observations: Observations
) -> tuple[FloatArray, IntArray]:
    started = perf_counter()
    q_values, actions = loaded.policy.run(observations)
    measures.inference.observe(perf_counter() - started)
    measures.batch_size.observe(len(observations))
    return q_values, actions


def _overflow(loaded: LoadedPolicy) -> Problem:
    return Problem(422, f"The Q-values of {loaded} overflow float32 for this observation.", reason="overflow")


def count_actions(loaded: LoadedPolicy, indices: IntArray) -> None:
    """Counts the actions of an answer, given by index."""
    for index, count in enumerate(np.bincount(indices, minlength=len(loaded.action_counts)).tolist()):
        loaded.action_counts[index] += count


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
