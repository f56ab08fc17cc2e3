"""The base of spaces that fit in one tensor: a *leaf* of an observation, or the whole observation.

In memory a batch of observations is one NumPy array: [batch, *shape] for such a space, and for a Dict or Tuple
(composite.py) a structured array [batch] with one field per leaf. Code that stores, slices or copies observations
treats both alike; fields are separated only where tensors are needed.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

MAX_DESCRIBED_ELEMENTS = 4_096
"""A leaf with more elements is described by statistics over all of them."""


class Leaf(NamedTuple):
    """A part of an observation that fits in one tensor."""

    name: str
    """Its dotted path, e.g. "goal.position" or, in a Tuple, "1"; empty if it is the whole observation."""
    path: tuple[str | int, ...]
    space: "LeafSpace"

    @property
    def input_name(self) -> str:
        """Name of the graph's input."""
        return f"observation.{self.name}" if self.path else "observation"


class LeafSpace(BaseModel):
    """A space whose elements are arrays of one shape and dtype."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        raise NotImplementedError

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """Dtype of observations in replay and of the graph's input: float32, uint8 or int64."""
        raise NotImplementedError

    def describe(self) -> str:
        """A short description of an observation."""
        raise NotImplementedError

    def example(self, mean: list[float]) -> Any:
        """An example observation in JSON form, from the mean in training, per element or over all elements."""
        raise NotImplementedError

    def sample(self, seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:
        """Random observations [count, *shape]: uniform within bounds; without bounds, spread widely around `seen`."""
        raise NotImplementedError

    @property
    def bounds(self) -> tuple[Any, Any] | None:
        """The smallest and the largest integer, scalars or arrays [*shape]; None: anything that the dtype holds.

        A Box has none: policies accept observations beyond its bounds.
        """
        return None

    @property
    def is_boolean(self) -> bool:
        """Whether environments may return its elements as booleans."""
        return False

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The space itself."""
        return (Leaf("", (), self),)

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """Dtype of an observation as an array element: `np.zeros(n, row_dtype)` has the shape [n, *shape]."""
        return np.dtype((self.tensor_dtype, self.tensor_shape))

    @property
    def size(self) -> int:
        """Number of elements of an observation."""
        return math.prod(self.tensor_shape)

    @property
    def described_elements(self) -> int:
        """Length of the manifest's statistics: one number per element, or a single one if there are many elements."""
        return self.size if self.size <= MAX_DESCRIBED_ELEMENTS else 1

    def flatten(self, observation: Any) -> NDArray[Any]:
        """The observation as an array [*shape] of the tensor dtype. Raises ValueError if it does not fit."""
        array = np.asarray(observation, self.tensor_dtype)
        if array.shape != self.tensor_shape:
            raise ValueError(f"the shape is {list(array.shape)}; expected {list(self.tensor_shape)}")
        return array


def describe_shape(shape: Sequence[int]) -> str:
    """E.g. "2 x 3 numbers"."""
    return f"{' x '.join(map(str, shape))} numbers" if shape else "one number"
