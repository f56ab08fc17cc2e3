"""Spaces of observations and actions: how a manifest writes them, and what follows from them for tensors.

Whatever depends on the kind of a space is a method here, so that another kind is another class.
"""

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

_BOUNDED = 1e4  # a wider bound is as good as none: nobody sees such values


def _bound_from_json(value: Any) -> Any:
    """Reads a bound; JSON has no infinity, so the manifest spells it as a string."""
    return {"-inf": -math.inf, "inf": math.inf}.get(value, value) if isinstance(value, str) else value


def _bound_to_json(value: float) -> float | str:
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


Bound = Annotated[float, BeforeValidator(_bound_from_json), PlainSerializer(_bound_to_json, when_used="json")]
"""A number that may be infinite, written as "inf" or "-inf"."""


class BoxSpace(BaseModel):
    """A Gymnasium Box; a bound that is the same everywhere is written once."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["Box"] = "Box"
    shape: list[int]
    dtype: str
    low: Bound | list[Bound] = Field(description="one bound for all, or one per element in C order")
    high: Bound | list[Bound]

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The shape of one observation."""
        return tuple(self.shape)

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """The dtype of observations in replay and of the graph's input; a bool is a uint8 of 0 or 1."""
        return np.dtype(np.uint8 if self.dtype in ("uint8", "bool") else np.float32)

    @property
    def largest(self) -> float:
        """The largest value of any element."""
        return max(self.high) if isinstance(self.high, list) else self.high

    def describe(self) -> str:
        """An observation in words."""
        return f"{' x '.join(map(str, self.shape))} numbers of type {self.dtype}"

    def example(self, mean: list[float]) -> Any:
        """An observation as JSON has it, from the mean of those that training saw, element by element."""
        rounded = np.reshape(mean, self.shape).round(3)
        return rounded.astype(int if self.dtype == "uint8" else float).tolist()

    def sample(self, seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:
        """Observations [count, *shape] from all over the space; where it has no bounds, wide around those `seen`."""
        size = math.prod(self.shape)
        low, high = (np.broadcast_to(np.reshape(bound, (-1,)), size) for bound in (self.low, self.high))
        if self.tensor_dtype == np.uint8 and isinstance(self.low, float) and isinstance(self.high, float):
            flat = generator.integers(int(self.low), int(self.high), (count, size), np.uint8, endpoint=True)
        elif self.tensor_dtype == np.uint8:
            flat = generator.integers(low.astype(int), high.astype(int) + 1, (count, size))
        else:
            bounded = (np.abs(low) <= _BOUNDED) & (np.abs(high) <= _BOUNDED)
            uniform = generator.uniform(np.where(bounded, low, 0), np.where(bounded, high, 1), (count, size))
            rows = seen.reshape(len(seen), -1).astype(np.float64)
            wide = generator.normal(rows.mean(axis=0), 3 * rows.std(axis=0) + 1e-3, (count, size))
            flat = np.where(bounded, uniform, wide)
        return flat.reshape(count, *self.shape).astype(self.tensor_dtype)


class DiscreteSpace(BaseModel):
    """A Gymnasium Discrete: the integers from `start` to `start + n - 1`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

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

    def describe(self) -> str:
        """An observation in words."""
        return f"one integer from {self.start} to {self.start + self.n - 1}"

    def example(self, _mean: list[float]) -> int:
        """An observation as JSON has it."""
        return self.start

    def sample(self, _seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:
        """Observations [count] from all over the space."""
        return generator.integers(self.start, self.start + self.n, count, dtype=np.int64)


ObservationSpace = Annotated[BoxSpace | DiscreteSpace, Field(discriminator="type")]
"""The space of an observation, told by its `type`."""
