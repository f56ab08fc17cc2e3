"""Action spaces: how a policy's Q-values and indices map to actions.

With few components each combination is a joint action with a Q-value, numbered in C order: the first component varies
slowest. With too many combinations actions *branch* (Tavakoli et al., 2018): each value of each component has a
Q-value, component by component, and an index is a row with one entry per component.
"""

import math
from functools import cache
from operator import not_
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dqn_models.masks import BoolArray, sample_allowed
from dqn_models.spaces.leaf import LeafSpace

MAX_JOINT_ACTIONS = 4_096
"""Actions with more combinations branch; otherwise each combination has a Q-value."""

IntArray = NDArray[np.int64]
_NOT_BRANCHING: tuple[int, ...] = ()


class FiniteActions(LeafSpace):
    """A finite action space, from which a policy chooses by Q-values.

    A mask [n] is True for each Q-value whose action, or value of a component, is allowed. An index is an integer or,
    for actions that branch, a row [branches].
    """

    @property
    def components(self) -> tuple[int, ...]:
        """Number of values of each component of an action, in C order."""
        raise NotImplementedError

    @property
    def branches(self) -> tuple[int, ...]:
        """Number of Q-values of each component if actions branch, else empty."""
        return _NOT_BRANCHING

    @property
    def action_dtype(self) -> np.dtype[Any]:
        """Dtype of the graph's actions."""
        return np.dtype(np.int64)

    @property
    def index_dtype(self) -> np.dtype[Any]:
        """The smallest dtype of an index, with the shape of a row if actions branch: `np.zeros(n, dtype)` has rows."""
        count = max(self.branches) if self.branches else math.prod(self.components)
        return np.dtype((np.min_scalar_type(count - 1), (len(self.branches),) if self.branches else ()))

    def action(self, indices: Any) -> Any:
        """The actions [..., *shape] with these indices, in the environment's form."""
        raise NotImplementedError

    def by_branch(self, values: NDArray[Any], filling: Any) -> NDArray[Any]:
        """Rows [batch, n] as [batch, branches, longest branch]; shorter branches are padded with `filling`.

        If actions do not branch, there is a single branch, [batch, 1, n].
        """
        if not self.branches:
            return values[:, np.newaxis]
        layout = layout_of(self.branches)
        found: NDArray[Any] = np.where(layout.filled, values[:, layout.positions], filling)
        return found

    def best(self, q_values: NDArray[np.float32], masks: BoolArray | None = None) -> IntArray:
        """Indices of the highest allowed Q-values [batch, n], per branch; ties go to the first.

        Each row of `masks` [batch, n] must allow at least one action.
        """
        if masks is not None:
            q_values = np.where(masks, q_values, np.float32(-np.inf))
        if not self.branches:
            best: IntArray = q_values.argmax(axis=1)
            return best
        in_branches: IntArray = q_values[:, layout_of(self.branches).positions].argmax(axis=2)
        return in_branches

    def random(self, generator: np.random.Generator, count: int) -> IntArray:
        """Indices of `count` uniformly random actions."""
        if not self.branches:
            return generator.integers(0, math.prod(self.components), count)
        return generator.integers(0, self.branches, (count, len(self.branches)))

    def random_allowed(self, masks: BoolArray, draws: NDArray[np.float64]) -> IntArray:
        """Indices of uniformly random actions among those allowed by masks [batch, n]; each row must allow one.

        `draws` are uniform in [0, 1), [batch] or, for actions that branch, [batch, branches]; see `draws_shape`.
        """
        return sample_allowed(self.by_branch(masks, filling=False) if self.branches else masks, draws)

    def draws_shape(self, count: int) -> tuple[int, ...]:
        """Shape of the draws for `count` random actions."""
        return (count, len(self.branches)) if self.branches else (count,)

    def possible(self, masks: BoolArray) -> BoolArray:
        """Whether each mask [batch, n] allows an action, i.e. a value of each component, [batch]."""
        if not self.branches:
            return np.asarray(masks.any(axis=1))
        any_of_each = np.logical_or.reduceat(masks, layout_of(self.branches).offsets, axis=1)
        return np.asarray(any_of_each.all(axis=1))

    def count_allowed(self, masks: BoolArray) -> NDArray[np.float64]:
        """Number of actions that each mask [batch, n] allows, [batch]."""
        if not self.branches:
            return np.asarray(masks.sum(axis=1, dtype=np.float64))
        of_each = np.add.reduceat(masks, layout_of(self.branches).offsets, axis=1, dtype=np.float64)
        return np.asarray(of_each.prod(axis=1))

    def q_positions(self, indices: IntArray) -> IntArray:
        """Positions of these indices' Q-values in a row: the indices themselves, or [..., branches]."""
        return indices + layout_of(self.branches).offsets if self.branches else indices


class ComponentActions(FiniteActions):
    """Actions with several components, chosen jointly or, if they branch, independently."""

    branching: bool = Field(
        default=False,
        exclude_if=not_,
        description="for actions: whether each value of each component has a Q-value, component by component",
    )

    @property
    def branches(self) -> tuple[int, ...]:
        """Number of Q-values of each component if actions branch, else empty."""
        return self.components if self.branching else _NOT_BRANCHING

    @property
    def n(self) -> int:
        """Number of Q-values: one per joint action, or one per value of each component."""
        return sum(self.components) if self.branching else math.prod(self.components)

    def action(self, indices: Any) -> Any:
        """The actions [..., *shape] with these indices, in the environment's form."""
        steps = indices if self.branching else joint_actions(self.components)[indices]
        values = self.component_values(steps)
        return values.reshape((*values.shape[:-1], *self.tensor_shape))

    def branch_values(self) -> NDArray[Any]:
        """The component value in the environment for each Q-value [n] of actions that branch."""
        layout = layout_of(self.components)
        steps = np.minimum(np.arange(layout.positions.shape[1])[:, np.newaxis], np.array(self.components) - 1)
        return self.component_values(steps).T[layout.filled]

    def component_values(self, steps: NDArray[Any]) -> NDArray[Any]:
        """The components' values in the environment, [..., components], for their indices from 0."""
        raise NotImplementedError


class Layout(NamedTuple):
    """The positions of each branch's Q-values in a row of all Q-values."""

    offsets: IntArray  # [branches], position of the first
    positions: IntArray  # [branches, longest branch]; shorter branches repeat their last position
    filled: BoolArray  # [branches, longest branch], False for repetitions


@cache
def layout_of(branches: tuple[int, ...]) -> Layout:
    """The layout of branches with these numbers of Q-values."""
    sizes = np.array(branches)
    offsets = sizes.cumsum() - sizes
    steps, last = np.arange(sizes.max()), sizes[:, np.newaxis] - 1
    layout = Layout(offsets, offsets[:, np.newaxis] + np.minimum(steps, last), steps <= last)
    for array in layout:
        array.flags.writeable = False
    return layout


@cache
def joint_actions(counts: tuple[int, ...]) -> IntArray:
    """All combinations of components with these numbers of values, [n, components], in C order: the first is slowest.

    Raises ValueError if there are more than MAX_JOINT_ACTIONS.
    """
    n = math.prod(counts)
    if n > MAX_JOINT_ACTIONS:
        raise ValueError(f"there are {n:,} joint actions; a policy has at most {MAX_JOINT_ACTIONS:,}")
    found = np.stack(np.unravel_index(np.arange(n), counts), axis=1)
    found.flags.writeable = False
    return found
