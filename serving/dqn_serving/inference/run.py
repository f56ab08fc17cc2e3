"""From a decoded request to its answer: one run of the policy, then the choice of actions."""

from time import perf_counter

import numpy as np
from msgspec import UNSET

from dqn_models.policy import FloatArray, IntArray, Observations
from dqn_serving.api.schemas import ActBatchAnswer, ActRequest, QValuesBatchAnswer, encode
from dqn_serving.inference.exploration import Taken, take
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.problems import Answer, Problem, make_answer
from dqn_serving.telemetry.metrics import ModelMeasures


def answer_batch(
    request: ActRequest,
    loaded: LoadedPolicy,
    measures: ModelMeasures,
    generator: np.random.Generator,
    *,
    with_q_values: bool,
) -> Answer:
    """The response to a request for many observations; `generator` draws where the request has an epsilon and no seed.

    Raises ValueError where the request does not fit the policy, and Problem (422) where its Q-values overflow.
    """
    observations = loaded.observations.read_many(request)
    mask = loaded.observations.read_mask(request, len(observations))
    q_values, actions = run_policy(loaded, measures, observations)
    taken = take(q_values, actions - loaded.start, mask, request, generator)
    count_actions(loaded, taken.indices)
    actions = taken.indices + loaded.start
    answer = _many(loaded, actions, taken, q_values if with_q_values else None)
    return make_answer(encode(answer), served=loaded.served)


def run_policy(
    loaded: LoadedPolicy, measures: ModelMeasures, observations: Observations
) -> tuple[FloatArray, IntArray]:
    """Q-values and greedy actions of a batch, measured. Raises Problem (422) where a Q-value is not finite."""
    q_values, actions = timed_run(loaded, measures, observations)
    if not np.isfinite(q_values).all():
        raise overflow(loaded)
    return q_values, actions


def timed_run(loaded: LoadedPolicy, measures: ModelMeasures, observations: Observations) -> tuple[FloatArray, IntArray]:
    """Q-values and greedy actions of a batch, measured; a Q-value may be infinite or NaN."""
    started = perf_counter()
    q_values, actions = loaded.policy.run(observations)
    measures.inference.observe(perf_counter() - started)
    measures.batch_size.observe(len(observations))
    return q_values, actions


def overflow(loaded: LoadedPolicy) -> Problem:
    """What is answered where a Q-value is not finite."""
    return Problem(422, f"The Q-values of {loaded} overflow float32 for this observation.", reason="overflow")


def count_actions(loaded: LoadedPolicy, indices: IntArray) -> None:
    """Counts the actions of an answer, given by index."""
    for index, count in enumerate(np.bincount(indices, minlength=len(loaded.action_counts)).tolist()):
        loaded.action_counts[index] += count


def _many(
    loaded: LoadedPolicy, actions: IntArray, taken: Taken, q_values: FloatArray | None
) -> ActBatchAnswer | QValuesBatchAnswer:
    listed, propensities = actions.tolist(), UNSET if taken.propensities is None else taken.propensities.tolist()
    if q_values is None:
        return ActBatchAnswer(listed, loaded.model, loaded.version, propensities)
    return QValuesBatchAnswer(q_values.tolist(), listed, loaded.model, loaded.version, propensities)
