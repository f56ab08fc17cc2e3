"""Spaces of actions: how a policy's Q-values and indices stand for actions.

Of a few components each combination is a joint action with a Q-value, and its index counts in C order: the first
component slowest. Where combinations are too many, actions *branch* (Tavakoli et al., 2018): each value of each
component has a Q-value, component after component, and an index is a row with one for each component.
"""

import math
from functools import cache
from operator import not_
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dqn_models.masks import BoolArray, drawn_allowed
from dqn_models.spaces.leaf import LeafSpace

MAX_JOINT_ACTIONS = 4_096
"""Actions of more combinations than that branch: each has a Q-value otherwise."""

IntArray = NDArray[np.int64]
_NOT_BRANCHING: tuple[int, ...] = ()


class FiniteActions(LeafSpace):
    """A space whose elements can be chosen by Q-values: the actions that a policy has.

    A mask [n] is True for each Q-value whose action, or value of a component, is allowed. An index is a number; of
    actions that branch a row [branches].
    """

    @property
    def components(self) -> tuple[int, ...]:
        """How many values each component of an action has, in C order."""
        raise NotImplementedError

    @property
    def branches(self) -> tuple[int, ...]:
        """How many Q-values each component has where actions branch; else empty."""
        return _NOT_BRANCHING

    @property
    def action_dtype(self) -> np.dtype[Any]:
        """The dtype of the graph's actions."""
        return np.dtype(np.int64)

    @property
    def index_dtype(self) -> np.dtype[Any]:
        """The smallest dtype of an index; of a row for actions that branch, so that `np.zeros(n, dtype)` has rows."""
        most = max(self.branches) if self.branches else math.prod(self.components)
        return np.dtype((np.min_scalar_type(most - 1), (len(self.branches),) if self.branches else ()))

    def action(self, indices: Any) -> Any:
        """The actions [..., *shape] with these indices, in the environment's own form."""
        raise NotImplementedError

    def by_branch(self, values: NDArray[Any], filling: Any) -> NDArray[Any]:
        """Values [batch, n] of Q-values as [batch, branches, most of a branch]; a shorter branch ends with `filling`.

        Where actions do not branch all are one branch, [batch, 1, n].
        """
        if not self.branches:
            return values[:, np.newaxis]
        layout = layout_of(self.branches)
        found: NDArray[Any] = np.where(layout.filled, values[:, layout.positions], filling)
        return found

    def best(self, q_values: NDArray[np.float32], masks: BoolArray | None = None) -> IntArray:
        """The indices of the highest Q-values [batch, n] that are allowed, of each branch; the first on ties.

        Each row of `masks` [batch, n] must allow an action.
        """
        if masks is not None:
            q_values = np.where(masks, q_values, np.float32(-np.inf))
        if not self.branches:
            best: IntArray = q_values.argmax(axis=1)
            return best
        in_branches: IntArray = q_values[:, layout_of(self.branches).positions].argmax(axis=2)
        return in_branches

    def random(self, generator: np.random.Generator, count: int) -> IntArray:
        """The indices of `count` actions, each as likely as any other."""
        if not self.branches:
            return generator.integers(0, math.prod(self.components), count)
        return generator.integers(0, self.branches, (count, len(self.branches)))

    def random_allowed(self, masks: BoolArray, draws: NDArray[np.float64]) -> IntArray:
        """The indices of actions that the masks [batch, n] allow, each as likely as any other; each must allow one.

        `draws` are uniform from 0 up to 1, [batch], or for actions that branch [batch, branches]; see `draws_shape`.
        """
        return drawn_allowed(self.by_branch(masks, filling=False) if self.branches else masks, draws)

    def draws_shape(self, count: int) -> tuple[int, ...]:
        """The shape of the draws for `count` random actions."""
        return (count, len(self.branches)) if self.branches else (count,)

    def possible(self, masks: BoolArray) -> BoolArray:
        """Whether each mask [batch, n] allows an action, which is a value of each component; [batch]."""
        if not self.branches:
            return np.asarray(masks.any(axis=1))
        any_of_each = np.logical_or.reduceat(masks, layout_of(self.branches).offsets, axis=1)
        return np.asarray(any_of_each.all(axis=1))

    def count_allowed(self, masks: BoolArray) -> NDArray[np.float64]:
        """How many actions each mask [batch, n] allows, [batch]."""
        if not self.branches:
            return np.asarray(masks.sum(axis=1, dtype=np.float64))
        of_each = np.add.reduceat(masks, layout_of(self.branches).offsets, axis=1, dtype=np.float64)
        return np.asarray(of_each.prod(axis=1))

    def q_positions(self, indices: IntArray) -> IntArray:
        """Where the Q-values of indices are among all: the indices themselves, or [..., branches]."""
        return indices + layout_of(self.branches).offsets if self.branches else indices


class ComponentActions(FiniteActions):
    """Actions of several components, chosen jointly or, where they branch, each by itself."""

    branching: bool = Field(
        default=False,
        exclude_if=not_,
        description="of actions: whether each value of each component has a Q-value, component after component",
    )

    @property
    def branches(self) -> tuple[int, ...]:
        """How many Q-values each component has where actions branch; else empty."""
        return self.components if self.branching else _NOT_BRANCHING

    @property
    def n(self) -> int:
        """The number of Q-values: of joint actions, or of the values of all components."""
        return sum(self.components) if self.branching else math.prod(self.components)

    def action(self, indices: Any) -> Any:
        """The actions [..., *shape] with these indices, in the environment's own form."""
        steps = indices if self.branching else joint_actions(self.components)[indices]
        values = self.component_values(steps)
        return values.reshape((*values.shape[:-1], *self.tensor_shape))

    def branch_values(self) -> NDArray[Any]:
        """The value in the environment that each Q-value [n] of actions that branch stands for."""
        layout = layout_of(self.components)
        steps = np.minimum(np.arange(layout.positions.shape[1])[:, np.newaxis], np.array(self.components) - 1)
        return self.component_values(steps).T[layout.filled]

    def component_values(self, steps: NDArray[Any]) -> NDArray[Any]:
        """The components' values in the environment, [..., components], of the steps from 0 that they are at."""
        raise NotImplementedError


class Layout(NamedTuple):
    """Where the Q-values of each branch are in a row of all."""

    offsets: IntArray  # [branches], of the first
    positions: IntArray  # [branches, most of a branch]; a shorter one ends with its last, repeated
    filled: BoolArray  # [branches, most of a branch], False where it is repeated


@cache
def layout_of(branches: tuple[int, ...]) -> Layout:
    """The layout of so many Q-values in each branch."""
    sizes = np.array(branches)
    offsets = sizes.cumsum() - sizes
    steps, last = np.arange(sizes.max()), sizes[:, np.newaxis] - 1
    layout = Layout(offsets, offsets[:, np.newaxis] + np.minimum(steps, last), steps <= last)
    for array in layout:
        array.flags.writeable = False
    return layout


@cache
def joint_actions(counts: tuple[int, ...]) -> IntArray:
    """All combinations of components with so many values each, [n, components], in C order: the first is the slowest.

    Raises ValueError for more than a policy can have.
    """
    n = math.prod(counts)
    if n > MAX_JOINT_ACTIONS:
        raise ValueError(f"there are {n:,} joint actions; a policy has at most {MAX_JOINT_ACTIONS:,}")
    found = np.stack(np.unravel_index(np.arange(n), counts), axis=1)
    found.flags.writeable = False
    return found
