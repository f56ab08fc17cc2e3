"""Requests for one observation each: read one by one, found in one run, answered in the form that each wants."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from msgspec import UNSET, UnsetType

from dqn_serving.api.schemas import ActAnswer, ActRequest, QValuesAnswer, encode
from dqn_serving.inference.exploration import take
from dqn_serving.inference.run import overflow, timed_run
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.observations import BoolArray
from dqn_serving.problems import Answer, Problem, make_answer
from dqn_serving.telemetry.metrics import ModelMeasures


class Chosen(NamedTuple):
    """What was found for one observation: the index of the action taken, the Q-values and the propensity."""

    action_index: int
    q_values: list[float]
    propensity: float | UnsetType


Rendered = TypeVar("Rendered")
Form = Callable[[LoadedPolicy, "Chosen | Problem"], Rendered]
"""Makes an answer, as one kind of request wants it, from what was found by a policy."""


class Single(NamedTuple, Generic[Rendered]):
    """A request for one observation, read but not run: others may run with it."""

    observation: Any
    mask: BoolArray | None
    epsilon: float | UnsetType
    seed: int | UnsetType
    form: Form[Rendered]


def read_single(request: ActRequest, loaded: LoadedPolicy, form: Form[Rendered]) -> Single[Rendered]:
    """Reads what the request has for this policy. Raises ValueError where that does not fit it."""
    observation = loaded.observations.read_one(request)
    mask = loaded.observations.read_mask(request, 1)
    return Single(observation, mask, request.epsilon, request.seed, form)


def act_form(loaded: LoadedPolicy, found: Chosen | Problem) -> Answer:
    """The response of /act."""
    if isinstance(found, Problem):
        return found.answer()
    if found.propensity is UNSET:
        return loaded.greedy_answers[found.action_index]
    answer = ActAnswer(found.action_index + loaded.start, loaded.model, loaded.version, found.propensity)
    return make_answer(encode(answer), served=loaded.served)


def q_values_form(loaded: LoadedPolicy, found: Chosen | Problem) -> Answer:
    """The response of /q-values."""
    if isinstance(found, Problem):
        return found.answer()
    action = found.action_index + loaded.start
    answer = QValuesAnswer(found.q_values, action, loaded.model, loaded.version, found.propensity)
    return make_answer(encode(answer), served=loaded.served)


def find_singles(
    singles: Sequence[Single[Any]], loaded: LoadedPolicy, measures: ModelMeasures, generator: np.random.Generator
) -> list[Chosen | Problem]:
    """What requests for one observation each are answered, from one run; none depends on what else is among them.

    `generator` draws where a request has an epsilon and no seed.
    """
    observations = np.array([single.observation for single in singles], loaded.observations.dtype)
    q_values, actions = timed_run(loaded, measures, observations)
    found: list[Chosen | Problem] = []
    # Python's sums of a few float32 cannot overflow, and cost a fifth of NumPy's check of a small array.
    for row, (single, action, values) in enumerate(zip(singles, actions.tolist(), q_values.tolist(), strict=True)):
        if not isfinite(sum(values)):
            found.append(overflow(loaded))
        else:
            index: int = action - loaded.start
            propensity: float | UnsetType = UNSET
            if single.mask is not None or single.epsilon is not UNSET:
                rows = slice(row, row + 1)
                taken = take(q_values[rows], actions[rows] - loaded.start, single.mask, single, generator)
                index = int(taken.indices[0])
                propensity = UNSET if taken.propensities is None else float(taken.propensities[0])
            loaded.action_counts[index] += 1
            found.append(Chosen(index, values, propensity))
    return found
