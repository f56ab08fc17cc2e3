"""Observations with several parts: Gymnasium's Dict and Tuple, arbitrarily nested; and the unions for the manifest."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dqn_models.spaces.boxes import BoxSpace, DiscretizedBoxSpace
from dqn_models.spaces.finite import DiscreteSpace, MultiBinarySpace, MultiDiscreteSpace
from dqn_models.spaces.leaf import Leaf

_AnySpace = Annotated[
    "BoxSpace | DiscreteSpace | MultiDiscreteSpace | MultiBinarySpace | DictSpace | TupleSpace",
    Field(discriminator="type"),
]


class CompositeSpace(BaseModel):
    """A space whose observations have several leaves, each an input of the graph.

    In memory an observation is a row: an element of a structured array with one field per leaf.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    @abstractmethod
    def members(self) -> Iterator[tuple[str | int, "ObservationSpace"]]:
        """The observed members, each with its key in an observation."""

    def describe(self) -> str:
        """A short description of an observation."""
        return "; ".join(f"{leaf.name}: {leaf.space.describe()}" for leaf in self.leaves)

    @abstractmethod
    def example(self, mean: list[float]) -> Any:
        """An example observation in JSON form, from the mean in training, leaf by leaf."""

    def sample(self, seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:
        """Random rows [count]: uniform within bounds; without bounds, spread widely around the rows `seen`."""
        rows = np.zeros(count, self.row_dtype)
        for leaf in self.leaves:
            rows[leaf.name] = leaf.space.sample(seen[leaf.name], count, generator)
        return rows

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """All leaves, in the order of the members."""
        found: list[Leaf] = []
        for key, member in self.members():
            paths = (((key, *leaf.path), leaf.space) for leaf in member.leaves)
            found += [Leaf(".".join(map(str, path)), path, space) for path, space in paths]
        return tuple(found)

    @cached_property
    def row_dtype(self) -> np.dtype[Any]:
        """Dtype of a row: one field per leaf, aligned."""
        return np.dtype([(leaf.name, leaf.space.row_dtype) for leaf in self.leaves], align=True)

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """Shape of a row as an element of an array: a scalar."""
        return ()

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """Dtype of observations in memory, a structured dtype."""
        return self.row_dtype

    @property
    def size(self) -> int:
        """Number of elements of an observation over all leaves."""
        return sum(leaf.space.size for leaf in self.leaves)

    @property
    def described_elements(self) -> int:
        """Length of the manifest's statistics over all leaves."""
        return sum(leaf.space.described_elements for leaf in self.leaves)

    def values(self, observation: Any) -> tuple[Any, ...]:
        """The leaf values, in order, of an observation in the environment's form: nested dicts and tuples or lists.

        `np.array([values, ...], row_dtype)` turns them into rows. Members left out of the space are ignored. Raises
        KeyError, IndexError or TypeError if a leaf is missing.
        """
        found = []
        for leaf in self.leaves:
            value = observation
            for key in leaf.path:
                value = value[key]
            found.append(value)
        return tuple(found)

    def flatten(self, observation: Any) -> NDArray[Any]:
        """The row, an array of shape (), for an observation in the environment's form.

        Raises what `values` raises, and ValueError if a leaf has the wrong shape.
        """
        values = self.values(observation)
        fitting = (leaf.space.flatten(value) for leaf, value in zip(self.leaves, values, strict=True))
        return np.array(tuple(fitting), self.row_dtype)

    @model_validator(mode="after")
    def _check_leaves(self) -> Self:
        names = Counter(leaf.name for leaf in self.leaves)
        repeated = [name for name, count in names.items() if count > 1]
        if repeated:
            raise ValueError(f"two leaves are named {repeated[0]!r}")
        if not all(names) or not names:
            raise ValueError("a leaf has no name" if names else "there are no leaves to observe")
        return self


class DictSpace(CompositeSpace):
    """A Gymnasium Dict, without members that no network can read."""

    type: Literal["Dict"] = "Dict"
    spaces: dict[str, _AnySpace]

    def members(self) -> Iterator[tuple[str | int, "ObservationSpace"]]:
        """The members by key."""
        yield from self.spaces.items()

    def example(self, mean: list[float]) -> Any:
        """An example observation in JSON form, from the mean in training, leaf by leaf."""
        rest = iter(mean)
        return {key: _example(space, rest) for key, space in self.spaces.items()}


class TupleSpace(CompositeSpace):
    """A Gymnasium Tuple; a member that no network can read is null, so that the others keep their indices."""

    type: Literal["Tuple"] = "Tuple"
    spaces: list[_AnySpace | None]

    def members(self) -> Iterator[tuple[str | int, "ObservationSpace"]]:
        """The members by index."""
        yield from ((index, space) for index, space in enumerate(self.spaces) if space is not None)

    def example(self, mean: list[float]) -> Any:
        """An example observation in JSON form, from the mean in training, leaf by leaf."""
        rest = iter(mean)
        return [None if space is None else _example(space, rest) for space in self.spaces]


def _example(space: "ObservationSpace", rest: Iterator[float]) -> Any:
    return space.example([next(rest) for _ in range(space.described_elements)])


DictSpace.model_rebuild()
TupleSpace.model_rebuild()

ObservationSpace = Annotated[
    BoxSpace | DiscreteSpace | MultiDiscreteSpace | MultiBinarySpace | DictSpace | TupleSpace,
    Field(discriminator="type"),
]
"""An observation space, discriminated by `type`."""

ActionSpace = Annotated[
    DiscreteSpace | MultiDiscreteSpace | MultiBinarySpace | DiscretizedBoxSpace, Field(discriminator="type")
]
"""An action space, discriminated by `type`; `n` is the number of Q-values, `action(indices)` returns the actions."""
