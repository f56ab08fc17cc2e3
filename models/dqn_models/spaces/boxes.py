"""Continuous spaces: Gymnasium's Box, as observations or, discretized, as actions."""

import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from dqn_models.spaces.actions import ComponentActions
from dqn_models.spaces.leaf import LeafSpace, describe_shape

_BOUNDED = 1e4  # a wider bound is as good as none: such values do not occur


def _bound_from_json(value: Any) -> Any:
    """Parses a bound; JSON has no infinity, so the manifest writes it as a string."""
    return {"-inf": -math.inf, "inf": math.inf}.get(value, value) if isinstance(value, str) else value


def _bound_to_json(value: float) -> float | str:
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


Bound = Annotated[float, BeforeValidator(_bound_from_json), PlainSerializer(_bound_to_json, when_used="json")]
"""A number that may be infinite, written as "inf" or "-inf"."""


class BoxSpace(LeafSpace):
    """A Gymnasium Box; a bound shared by all elements is written once."""

    type: Literal["Box"] = "Box"
    shape: list[int]
    dtype: str
    low: Bound | list[Bound] = Field(description="one bound for all, or one per element in C order")
    high: Bound | list[Bound]

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """Shape of one observation; () for a scalar."""
        return tuple(self.shape)

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """Dtype of observations in replay and of the graph's input; a bool becomes a uint8 of 0 or 1."""
        return np.dtype(np.uint8 if self.dtype in ("uint8", "bool") else np.float32)

    @property
    def is_boolean(self) -> bool:
        """Whether environments may return its elements as booleans."""
        return self.dtype == "bool"

    @property
    def largest(self) -> float:
        """The largest value of any element."""
        return max(self.high) if isinstance(self.high, list) else self.high

    def describe(self) -> str:
        """A short description of an observation."""
        return f"{describe_shape(self.shape)} of type {self.dtype}"

    def example(self, mean: list[float]) -> Any:
        """An example observation in JSON form, from the mean in training, per element or over all elements."""
        is_real = np.dtype(self.dtype).kind == "f"
        rounded = np.broadcast_to(np.round(mean, 3 if is_real else 0), self.size).reshape(self.shape)
        return rounded.astype(float if is_real else int).tolist()

    def sample(self, seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:
        """Random observations [count, *shape]: uniform within bounds; without bounds, spread widely around `seen`."""
        low, high = (np.broadcast_to(np.reshape(bound, (-1,)), self.size) for bound in (self.low, self.high))
        if self.tensor_dtype == np.uint8 and isinstance(self.low, float) and isinstance(self.high, float):
            flat = generator.integers(int(self.low), int(self.high), (count, self.size), np.uint8, endpoint=True)
        elif self.tensor_dtype == np.uint8:
            flat = generator.integers(low.astype(int), high.astype(int) + 1, (count, self.size))
        else:
            bounded = (np.abs(low) <= _BOUNDED) & (np.abs(high) <= _BOUNDED)
            uniform = generator.uniform(np.where(bounded, low, 0), np.where(bounded, high, 1), (count, self.size))
            rows = seen.reshape(len(seen), -1).astype(np.float64)
            wide = generator.normal(rows.mean(axis=0), 3 * rows.std(axis=0) + 1e-3, (count, self.size))
            flat = np.where(bounded, uniform, wide)
        return flat.reshape(count, *self.shape).astype(self.tensor_dtype)


class DiscretizedBoxSpace(BoxSpace, ComponentActions):
    """A Gymnasium Box of actions in which each element takes `discretize` evenly spaced values."""

    discretize: int = Field(ge=2, description="number of values per element, from the low bound to the high bound")

    @property
    def action_dtype(self) -> np.dtype[Any]:
        """Dtype of the graph's actions."""
        return np.dtype(np.float32)

    @property
    def components(self) -> tuple[int, ...]:
        """Number of values of each element of an action, in C order."""
        return (self.discretize,) * self.size

    def component_values(self, steps: NDArray[Any]) -> NDArray[Any]:
        """The values of the elements, [..., size], for indices from 0 between the bounds."""
        low, high = (np.broadcast_to(np.reshape(bound, (-1,)), self.size) for bound in (self.low, self.high))
        values = low + (high - low) * steps / (self.discretize - 1)
        if np.dtype(self.dtype).kind in "iu":
            values = values.round()
        return np.asarray(values, np.float32)

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        bounds = [self.low, self.high]
        if not all(
            math.isfinite(value) for bound in bounds for value in (bound if isinstance(bound, list) else [bound])
        ):
            raise ValueError("discretize requires finite bounds")
        return self
