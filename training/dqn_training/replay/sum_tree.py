"""Proportional priorities of transitions (Schaul et al., 2016), in an array-based sum tree.

Each level holds the sums of sixteen neighbours in the level below, so that a batch descends a tree of a million leaves
in five array operations instead of twenty.
"""

import numpy as np
from numpy.typing import NDArray

from dqn_training.checkpoint.values import State, Stateful

_CHILDREN = 16
_SMALLEST = 1e-6  # added to errors, so that every transition can be sampled again


class SumTree(Stateful):
    """Non-negative values of leaves, with a search for the leaf in which a given cumulative sum falls."""

    def __init__(self, leaves: int) -> None:
        """Creates a tree of zeros."""
        self.leaves = leaves
        self._levels: list[NDArray[np.float64]] = []  # each [nodes, 16]: sixteen children and their node in the next
        nodes = leaves
        while not self._levels or nodes > 1:
            nodes = -(-nodes // _CHILDREN)
            self._levels.append(np.zeros((nodes, _CHILDREN)))

    @property
    def total(self) -> float:
        """The sum of all leaves."""
        return float(self._levels[-1].sum())

    def get(self, leaves: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values of leaves [n]."""
        return self._levels[0].ravel().take(leaves)

    def set(self, leaves: NDArray[np.int64], values: NDArray[np.float64] | float) -> None:
        """Sets the values of leaves [n]; for repeated leaves the last value wins."""
        nodes = leaves
        for level in self._levels:
            level.ravel()[nodes] = values
            nodes = nodes // _CHILDREN
            values = level.take(nodes, axis=0).sum(axis=1)

    def find(self, masses: NDArray[np.float64]) -> NDArray[np.int64]:
        """For each mass [n] in [0, `total`], the leaf where the cumulative sum exceeds it; never a leaf of value 0."""
        nodes, left = np.zeros(len(masses), np.int64), masses
        for level in reversed(self._levels):
            sums = level.take(nodes, axis=0).cumsum(axis=1)
            left = np.minimum(left, np.nextafter(sums[:, -1], 0))  # rounding must not lead past the last child
            children = (sums <= left[:, np.newaxis]).sum(axis=1)
            before = np.where(children > 0, sums[np.arange(len(nodes)), children - 1], 0.0)
            nodes, left = nodes * _CHILDREN + children, left - before
        return nodes

    def state_dict(self) -> State:
        """The leaves, from which all sums follow."""
        return {"leaves": self.get(np.arange(self.leaves))}

    def load_state_dict(self, state: State) -> None:
        """Restores the leaves and recomputes the sums, which are then the same."""
        self.set(np.arange(self.leaves), state["leaves"])


class Priorities(Stateful):
    """Sampling probabilities of rows, proportional to their error to the power of `exponent`."""

    _state = ("_tree", "_largest")

    def __init__(self, rows: int, exponent: float) -> None:
        """Creates priorities of zero: no row can be sampled yet."""
        self._tree = SumTree(rows)
        self._exponent = exponent
        self._largest = 1.0  # the largest priority so far

    def replace(self, old: NDArray[np.int64], new: NDArray[np.int64]) -> None:
        """Removes `old` rows and adds `new` ones, which get the largest priority so far."""
        values = np.zeros(len(old) + len(new))
        values[len(old) :] = self._largest
        self._tree.set(np.concatenate([old, new]), values)

    def draw(
        self, count: int, importance_exponent: float, generator: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows [count], one from each of `count` equal parts of the mass, and their importance weights, at most 1.

        Weights are normalized by the largest in the batch; Schaul et al. use that of the whole buffer.
        """
        masses = (np.arange(count) + generator.random(count)) * (self._tree.total / count)
        rows = self._tree.find(masses)
        priorities = self._tree.get(rows)
        weights = (priorities / priorities.min()) ** -importance_exponent
        return rows, weights.astype(np.float32)

    def update(self, rows: NDArray[np.int64], errors: NDArray[np.float32]) -> None:
        """Sets the priorities of rows [n] from their errors [n] >= 0."""
        priorities = (errors.astype(np.float64) + _SMALLEST) ** self._exponent
        self._largest = max(self._largest, float(priorities.max()))
        self._tree.set(rows, priorities)
