"""Spaces of integers: Gymnasium's Discrete, MultiDiscrete and MultiBinary, of observations and of actions.

actions.py has what Q-values and indices of such actions are.
"""

import math
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from dqn_models.spaces.actions import ComponentActions, FiniteActions
from dqn_models.spaces.leaf import shape_in_words


class DiscreteSpace(FiniteActions):
    """A Gymnasium Discrete: the integers from `start` to `start + n - 1`."""

    type: Literal["Discrete"] = "Discrete"
    n: int = Field(ge=1)
    start: int = 0

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The shape of one observation, a scalar."""
        return ()

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """The dtype of observations in replay and of the graph's input."""
        return np.dtype(np.int64)

    @property
    def bounds(self) -> tuple[Any, Any]:
        """The least and the greatest integer."""
        return self.start, self.start + self.n - 1

    @property
    def components(self) -> tuple[int, ...]:
        """How many values each component of an action has; a single one."""
        return (self.n,)

    def action(self, indices: Any) -> Any:
        """The actions [...] with these indices [...], in the environment's own form."""
        return indices + self.start if self.start else indices

    def describe(self) -> str:
        """An observation in words."""
        return f"one integer from {self.start} to {self.start + self.n - 1}"

    def example(self, mean: list[float]) -> int:  # noqa: ARG002  (a mean need not be an integer)
        """An observation as JSON has it."""
        return self.start

    def sample(self, seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:  # noqa: ARG002
        """Observations [count] from all over the space."""
        return generator.integers(self.start, self.start + self.n, count, dtype=np.int64)


class MultiDiscreteSpace(ComponentActions):
    """A Gymnasium MultiDiscrete: integers, each from its `start` to its `start + n - 1`."""

    type: Literal["MultiDiscrete"] = "MultiDiscrete"
    nvec: list[int] = Field(min_length=1, description="how many integers each component has, in C order")
    start: list[int] = Field(default=[], description="the least of each component; by default 0")
    shape: list[int] = Field(default=[], description="by default one dimension")

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The shape of one observation."""
        return tuple(self.shape) or (len(self.nvec),)

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """The dtype of observations in replay and of the graph's input."""
        return np.dtype(np.int64)

    @property
    def starts(self) -> list[int]:
        """The least integer of each component."""
        return self.start or [0] * len(self.nvec)

    @property
    def bounds(self) -> tuple[Any, Any]:
        """The least and the greatest integer of each component, [*shape]."""
        low, counts = (np.reshape(values, self.tensor_shape) for values in (self.starts, self.nvec))
        return low, low + counts - 1

    @property
    def components(self) -> tuple[int, ...]:
        """How many values each component of an action has, in C order."""
        return tuple(self.nvec)

    def component_values(self, steps: NDArray[Any]) -> NDArray[Any]:
        """The integers [..., components] of the steps that they are from their start."""
        return np.asarray(steps + np.array(self.starts, np.int64))

    def describe(self) -> str:
        """An observation in words."""
        return f"{shape_in_words(self.tensor_shape)}, each an integer of {_counts(self.nvec)}"

    def example(self, mean: list[float]) -> Any:  # noqa: ARG002  (a mean need not be an integer)
        """An observation as JSON has it."""
        return np.reshape(self.starts, self.tensor_shape).tolist()

    def sample(self, seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:  # noqa: ARG002
        """Observations [count, *shape] from all over the space."""
        low = np.array(self.starts, np.int64)
        flat = generator.integers(low, low + np.array(self.nvec, np.int64), (count, self.size), dtype=np.int64)
        return flat.reshape(count, *self.tensor_shape)

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if min(self.nvec) < 1 or len(self.starts) != len(self.nvec) or math.prod(self.tensor_shape) != len(self.nvec):
            raise ValueError("nvec, start and shape do not fit together")
        return self


class MultiBinarySpace(ComponentActions):
    """A Gymnasium MultiBinary: zeros and ones."""

    type: Literal["MultiBinary"] = "MultiBinary"
    shape: list[int] = Field(min_length=1)

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The shape of one observation."""
        return tuple(self.shape)

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """The dtype of observations in replay and of the graph's input."""
        return np.dtype(np.uint8)

    @property
    def largest(self) -> float:
        """The largest value of any element."""
        return 1.0

    @property
    def bounds(self) -> tuple[Any, Any]:
        """Zero and one."""
        return 0, 1

    @property
    def is_boolean(self) -> bool:
        """Whether environments may give its elements as booleans."""
        return True

    @property
    def components(self) -> tuple[int, ...]:
        """How many values each component of an action has, in C order."""
        return (2,) * self.size

    def component_values(self, steps: NDArray[Any]) -> NDArray[Any]:
        """The bits [..., components], which the steps are."""
        return np.asarray(steps, np.int64)

    def describe(self) -> str:
        """An observation in words."""
        return f"{shape_in_words(self.shape)}, each 0 or 1"

    def example(self, mean: list[float]) -> Any:
        """An observation as JSON has it, from the mean of those that training saw, element by element or of all."""
        return np.broadcast_to(np.round(mean), self.size).astype(int).reshape(self.shape).tolist()

    def sample(self, seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:  # noqa: ARG002
        """Observations [count, *shape] from all over the space."""
        return generator.integers(0, 2, (count, *self.shape), dtype=np.uint8)


def _counts(nvec: list[int], most: int = 8) -> str:
    """Such as "3, 2 and more"."""
    return ", ".join(map(str, nvec[:most])) + (" and more" if len(nvec) > most else "") + " values"
