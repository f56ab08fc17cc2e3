"""Integer spaces: Gymnasium's Discrete, MultiDiscrete and MultiBinary, for observations and actions.

actions.py describes the Q-values and indices of such actions.
"""

import math
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from dqn_models.spaces.actions import ComponentActions, FiniteActions
from dqn_models.spaces.leaf import describe_shape


class DiscreteSpace(FiniteActions):
    """A Gymnasium Discrete: the integers from `start` to `start + n - 1`."""

    type: Literal["Discrete"] = "Discrete"
    n: int = Field(ge=1)
    start: int = 0

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """Shape of one observation: a scalar."""
        return ()

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """Dtype of observations in replay and of the graph's input."""
        return np.dtype(np.int64)

    @property
    def bounds(self) -> tuple[Any, Any]:
        """The smallest and the largest integer."""
        return self.start, self.start + self.n - 1

    @property
    def components(self) -> tuple[int, ...]:
        """Number of values of each component of an action; there is one component."""
        return (self.n,)

    def action(self, indices: Any) -> Any:
        """The actions [...] with these indices [...], in the environment's form."""
        return indices + self.start if self.start else indices

    def describe(self) -> str:
        """A short description of an observation."""
        return f"one integer from {self.start} to {self.start + self.n - 1}"

    def example(self, mean: list[float]) -> int:  # noqa: ARG002  (a mean need not be an integer)
        """An example observation in JSON form."""
        return self.start

    def sample(self, seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:  # noqa: ARG002
        """Uniformly random observations [count]."""
        return generator.integers(self.start, self.start + self.n, count, dtype=np.int64)


class MultiDiscreteSpace(ComponentActions):
    """A Gymnasium MultiDiscrete: integers, each from its own `start` to `start + n - 1`."""

    type: Literal["MultiDiscrete"] = "MultiDiscrete"
    nvec: list[int] = Field(min_length=1, description="number of values of each component, in C order")
    start: list[int] = Field(default=[], description="smallest value of each component; default: 0")
    shape: list[int] = Field(default=[], description="default: one dimension")

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        return tuple(self.shape) or (len(self.nvec),)

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """Dtype of observations in replay and of the graph's input."""
        return np.dtype(np.int64)

    @property
    def starts(self) -> list[int]:
        """The smallest integer of each component."""
        return self.start or [0] * len(self.nvec)

    @property
    def bounds(self) -> tuple[Any, Any]:
        """The smallest and the largest integer of each component, each [*shape]."""
        low, counts = (np.reshape(values, self.tensor_shape) for values in (self.starts, self.nvec))
        return low, low + counts - 1

    @property
    def components(self) -> tuple[int, ...]:
        """Number of values of each component of an action, in C order."""
        return tuple(self.nvec)

    def component_values(self, steps: NDArray[Any]) -> NDArray[Any]:
        """The integers [..., components] for indices from 0."""
        return np.asarray(steps + np.array(self.starts, np.int64))

    def describe(self) -> str:
        """A short description of an observation."""
        return f"{describe_shape(self.tensor_shape)}, each an integer of {_counts(self.nvec)}"

    def example(self, mean: list[float]) -> Any:  # noqa: ARG002  (a mean need not be an integer)
        """An example observation in JSON form."""
        return np.reshape(self.starts, self.tensor_shape).tolist()

    def sample(self, seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:  # noqa: ARG002
        """Uniformly random observations [count, *shape]."""
        low = np.array(self.starts, np.int64)
        flat = generator.integers(low, low + np.array(self.nvec, np.int64), (count, self.size), dtype=np.int64)
        return flat.reshape(count, *self.tensor_shape)

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if min(self.nvec) < 1 or len(self.starts) != len(self.nvec) or math.prod(self.tensor_shape) != len(self.nvec):
            raise ValueError("nvec, start and shape have inconsistent sizes")
        return self


class MultiBinarySpace(ComponentActions):
    """A Gymnasium MultiBinary: zeros and ones."""

    type: Literal["MultiBinary"] = "MultiBinary"
    shape: list[int] = Field(min_length=1)

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        return tuple(self.shape)

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """Dtype of observations in replay and of the graph's input."""
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
        """Whether environments may return its elements as booleans."""
        return True

    @property
    def components(self) -> tuple[int, ...]:
        """Number of values of each component of an action, in C order."""
        return (2,) * self.size

    def component_values(self, steps: NDArray[Any]) -> NDArray[Any]:
        """The bits [..., components], which are the indices themselves."""
        return np.asarray(steps, np.int64)

    def describe(self) -> str:
        """A short description of an observation."""
        return f"{describe_shape(self.shape)}, each 0 or 1"

    def example(self, mean: list[float]) -> Any:
        """An example observation in JSON form, from the mean in training, per element or over all elements."""
        return np.broadcast_to(np.round(mean), self.size).astype(int).reshape(self.shape).tolist()

    def sample(self, seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:  # noqa: ARG002
        """Uniformly random observations [count, *shape]."""
        return generator.integers(0, 2, (count, *self.shape), dtype=np.uint8)


def _counts(nvec: list[int], limit: int = 8) -> str:
    """E.g. "3, 2 values"; a long list ends in "and more"."""
    return ", ".join(map(str, nvec[:limit])) + (" and more" if len(nvec) > limit else "") + " values"
