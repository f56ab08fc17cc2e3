"""Action selection: greedy or epsilon-greedy among the actions that a mask allows, and with what probability."""

from typing import NamedTuple, Protocol

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from dqn_models.masks import BoolArray, best_allowed, drawn_allowed
from dqn_models.policy import FloatArray, IntArray


class Exploring(Protocol):
    """How much a request explores, and the seed of its random draws."""

    @property
    def epsilon(self) -> float | UnsetType:
        """The probability of an action drawn at random; greedy if it is not set."""

    @property
    def seed(self) -> int | UnsetType:
        """Makes the draws repeatable if it is set."""


class Selection(NamedTuple):
    """Indices of the selected actions [batch] and, if the request explores, their propensities [batch]."""

    indices: IntArray
    propensities: NDArray[np.float64] | None


def select_actions(
    q_values: FloatArray,
    greedy: IntArray,
    mask: BoolArray | None,
    exploring: Exploring,
    generator: np.random.Generator,
) -> Selection:
    """The selection for a batch, from Q-values [batch, n_actions] and the indices of the highest of each row [batch].

    `mask` [batch, n_actions] is True where an action is allowed. `generator` draws if there is an epsilon and no
    seed.
    """
    if mask is not None:
        greedy = best_allowed(q_values, mask)
    if exploring.epsilon is UNSET:
        return Selection(greedy, None)
    allowed = np.ones(q_values.shape, np.bool_) if mask is None else mask
    draws_from = generator if exploring.seed is UNSET else np.random.default_rng(exploring.seed)
    return epsilon_greedy(greedy, allowed, exploring.epsilon, draws_from)


def epsilon_greedy(greedy: IntArray, allowed: BoolArray, epsilon: float, generator: np.random.Generator) -> Selection:
    """With probability `epsilon` an allowed action drawn uniformly, else the greedy one.

    `greedy` are indices [batch], `allowed` is [batch, n_actions], `epsilon` is from 0 to 1. Row i uses the generator's
    draws 2i and 2i + 1, so that its action does not depend on what else is in the batch.
    """
    draws = generator.random((len(greedy), 2))
    counts = allowed.sum(axis=1)
    indices = np.where(draws[:, 0] < epsilon, drawn_allowed(allowed, draws[:, 1]), greedy)
    return Selection(indices, epsilon / counts + (1.0 - epsilon) * (indices == greedy))
