"""What the spaces that one tensor can hold have in common: a *leaf* of an observation, or the whole of it.

In memory a batch of observations is one NumPy array: [batch, *shape] for such a space, and a structured array [batch]
with one field for each leaf for a Dict or a Tuple (composite.py). So whatever stores, slices or copies observations
treats both alike, and fields are taken apart only where tensors are needed.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

MAX_DESCRIBED_ELEMENTS = 4_096
"""A leaf of more elements is described by statistics of all of them together."""


class Leaf(NamedTuple):
    """A part of an observation that one tensor holds."""

    name: str
    """Its path with dots, such as "goal.position" or, in a Tuple, "1"; empty where it is the whole observation."""
    path: tuple[str | int, ...]
    space: "LeafSpace"

    @property
    def input_name(self) -> str:
        """The name of the graph's input."""
        return f"observation.{self.name}" if self.path else "observation"


class LeafSpace(BaseModel):
    """A space whose elements are arrays of one shape and dtype."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The shape of one observation."""
        raise NotImplementedError

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """The dtype of observations in replay and of the graph's input: float32, uint8 or int64."""
        raise NotImplementedError

    def describe(self) -> str:
        """An observation in words."""
        raise NotImplementedError

    def example(self, mean: list[float]) -> Any:
        """An observation as JSON has it, from the mean of those that training saw, element by element or of all."""
        raise NotImplementedError

    def sample(self, seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:
        """Observations [count, *shape] from all over the space; where it has no bounds, wide around those `seen`."""
        raise NotImplementedError

    @property
    def bounds(self) -> tuple[Any, Any] | None:
        """The least and the greatest of the integers, one for all elements or arrays [*shape]; None: all of the dtype.

        A Box does not say what a policy may be shown, so that observations beyond its bounds are accepted.
        """
        return None

    @property
    def is_boolean(self) -> bool:
        """Whether environments may give its elements as booleans."""
        return False

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The space itself."""
        return (Leaf("", (), self),)

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """The dtype of an observation as an element of an array: `np.zeros(n, row_dtype)` has the shape [n, *shape]."""
        return np.dtype((self.tensor_dtype, self.tensor_shape))

    @property
    def size(self) -> int:
        """The number of elements of an observation."""
        return math.prod(self.tensor_shape)

    @property
    def described_elements(self) -> int:
        """How many numbers the manifest's statistics have: one per element, or one for all where these are many."""
        return self.size if self.size <= MAX_DESCRIBED_ELEMENTS else 1

    def flatten(self, observation: Any) -> NDArray[Any]:
        """The observation as the array [*shape] that stands for it in memory. Raises ValueError where it cannot."""
        array = np.asarray(observation, self.tensor_dtype)
        if array.shape != self.tensor_shape:
            raise ValueError(f"the shape is {list(array.shape)}; expected {list(self.tensor_shape)}")
        return array


def shape_in_words(shape: Sequence[int]) -> str:
    """Such as "2 x 3 numbers"."""
    return f"{' x '.join(map(str, shape))} numbers" if shape else "one number"
