"""Which action is taken: greedy or epsilon-greedy, among the actions that a mask allows, and with what probability."""

from typing import NamedTuple, Protocol

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from dqn_models.policy import FloatArray, IntArray
from dqn_serving.policies.observations import BoolArray


class Exploring(Protocol):
    """How much a request wants to explore, and the seed of its draws."""

    @property
    def epsilon(self) -> float | UnsetType:
        """The probability of an action drawn at random; greedy where it is not set."""

    @property
    def seed(self) -> int | UnsetType:
        """Makes the draws repeatable where it is set."""


class Taken(NamedTuple):
    """Indices of the actions taken [batch] and, where the request explores, their propensities [batch]."""

    indices: IntArray
    propensities: NDArray[np.float64] | None


class Choice(NamedTuple):
    """Indices of the actions taken [batch] and the probability with which each was chosen [batch]."""

    indices: IntArray
    propensities: NDArray[np.float64]


def take(
    q_values: FloatArray,
    greedy: IntArray,
    mask: BoolArray | None,
    exploring: Exploring,
    generator: np.random.Generator,
) -> Taken:
    """The choice for a batch with Q-values [batch, n_actions] and unmasked greedy indices [batch].

    `generator` draws where there is an epsilon and no seed.
    """
    if mask is not None:
        greedy = greedy_indices(q_values, mask)
    if exploring.epsilon is UNSET:
        return Taken(greedy, None)
    allowed = np.ones(q_values.shape, np.bool_) if mask is None else mask
    draws_from = generator if exploring.seed is UNSET else np.random.default_rng(exploring.seed)
    return Taken(*choose(greedy, allowed, exploring.epsilon, draws_from))


def greedy_indices(q_values: FloatArray, mask: BoolArray | None) -> IntArray:
    """The index of the highest Q-value of each row among the allowed ones; the first on ties."""
    allowed = q_values if mask is None else np.where(mask, q_values, -np.inf)
    indices: IntArray = allowed.argmax(axis=1)
    return indices


def choose(
    greedy: IntArray,
    allowed: BoolArray,
    epsilon: float,
    generator: np.random.Generator,
) -> Choice:
    """Epsilon-greedy: with probability epsilon an allowed action drawn uniformly, else the greedy one.

    Row i uses the generator's draws 2i and 2i + 1, so that its action does not depend on what else is in the batch.
    """
    draws = generator.random((len(greedy), 2))
    counts = allowed.sum(axis=1)
    ranks = (draws[:, 1] * counts).astype(np.int64)  # which of the allowed actions, counted from 0
    explored = (allowed.cumsum(axis=1) > ranks[:, None]).argmax(axis=1)
    indices = np.where(draws[:, 0] < epsilon, explored, greedy)
    return Choice(indices, epsilon / counts + (1.0 - epsilon) * (indices == greedy))
