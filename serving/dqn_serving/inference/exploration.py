"""Action selection: greedy or epsilon-greedy among the actions that a mask allows, and with what probability."""

from typing import NamedTuple, Protocol

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from dqn_models.masks import BoolArray
from dqn_models.policy import FloatArray, IntArray
from dqn_models.spaces import ActionSpace


class Exploring(Protocol):
    """How much a request explores, and the seed of its random draws."""

    @property
    def epsilon(self) -> float | UnsetType:
        """The probability of an action drawn at random; greedy if it is not set."""

    @property
    def seed(self) -> int | UnsetType:
        """Makes the draws repeatable if it is set."""


class Selection(NamedTuple):
    """Indices of the selected actions [batch, ...] and, if the request explores, their propensities [batch]."""

    indices: IntArray
    propensities: NDArray[np.float64] | None


def select_actions(
    actions: ActionSpace,
    q_values: FloatArray,
    greedy: IntArray,
    mask: BoolArray | None,
    exploring: Exploring,
    generator: np.random.Generator,
) -> Selection:
    """The selection for a batch, from Q-values [batch, n] and the indices of the best `actions` by them [batch, ...].

    `mask` [batch, n] is True where an action is allowed. `generator` draws if there is an epsilon and no
    seed.
    """
    if mask is not None:
        greedy = actions.best(q_values, mask)
    if exploring.epsilon is UNSET:
        return Selection(greedy, None)
    allowed = np.ones(q_values.shape, np.bool_) if mask is None else mask
    draws_from = generator if exploring.seed is UNSET else np.random.default_rng(exploring.seed)
    return epsilon_greedy(actions, greedy, allowed, exploring.epsilon, draws_from)


def epsilon_greedy(
    actions: ActionSpace, greedy: IntArray, allowed: BoolArray, epsilon: float, generator: np.random.Generator
) -> Selection:
    """With probability `epsilon` an allowed action drawn uniformly, else the greedy one.

    `greedy` are indices [batch, ...] of `actions`, `allowed` is [batch, n], `epsilon` is from 0 to 1. Each row uses
    the same number of the generator's draws, so that its action does not depend on the rest of the batch: one decides
    whether it explores, and one its action, or each component of an action that branches.
    """
    draws = generator.random((len(greedy), 1 + max(1, len(actions.branches))))
    explores = draws[:, 0] < epsilon
    indices = greedy.copy()
    indices[explores] = actions.random_allowed(allowed, draws[:, 1:].reshape(actions.draws_shape(len(greedy))))[
        explores
    ]
    is_greedy = (indices == greedy).reshape(len(greedy), -1).all(axis=1)
    return Selection(indices, epsilon / actions.count_allowed(allowed) + (1.0 - epsilon) * is_greedy)
