"""Spaces of numbers: Gymnasium's Box, as observations or, divided into steps, as actions."""

import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from dqn_models.spaces.actions import ComponentActions
from dqn_models.spaces.leaf import LeafSpace, shape_in_words

_BOUNDED = 1e4  # a wider bound is as good as none: nobody sees such values


def _bound_from_json(value: Any) -> Any:
    """Reads a bound; JSON has no infinity, so the manifest spells it as a string."""
    return {"-inf": -math.inf, "inf": math.inf}.get(value, value) if isinstance(value, str) else value


def _bound_to_json(value: float) -> float | str:
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


Bound = Annotated[float, BeforeValidator(_bound_from_json), PlainSerializer(_bound_to_json, when_used="json")]
"""A number that may be infinite, written as "inf" or "-inf"."""


class BoxSpace(LeafSpace):
    """A Gymnasium Box; a bound that is the same everywhere is written once."""

    type: Literal["Box"] = "Box"
    shape: list[int]
    dtype: str
    low: Bound | list[Bound] = Field(description="one bound for all, or one per element in C order")
    high: Bound | list[Bound]

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The shape of one observation; that of a single number is ()."""
        return tuple(self.shape)

    @property
    def tensor_dtype(self) -> np.dtype[Any]:
        """The dtype of observations in replay and of the graph's input; a bool is a uint8 of 0 or 1."""
        return np.dtype(np.uint8 if self.dtype in ("uint8", "bool") else np.float32)

    @property
    def is_boolean(self) -> bool:
        """Whether environments may give its elements as booleans."""
        return self.dtype == "bool"

    @property
    def largest(self) -> float:
        """The largest value of any element."""
        return max(self.high) if isinstance(self.high, list) else self.high

    def describe(self) -> str:
        """An observation in words."""
        return f"{shape_in_words(self.shape)} of type {self.dtype}"

    def example(self, mean: list[float]) -> Any:
        """An observation as JSON has it, from the mean of those that training saw, element by element or of all."""
        is_real = np.dtype(self.dtype).kind == "f"
        rounded = np.broadcast_to(np.round(mean, 3 if is_real else 0), self.size).reshape(self.shape)
        return rounded.astype(float if is_real else int).tolist()

    def sample(self, seen: NDArray[Any], count: int, generator: np.random.Generator) -> NDArray[Any]:
        """Observations [count, *shape] from all over the space; where it has no bounds, wide around those `seen`."""
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
    """A Gymnasium Box of actions, each element of which takes `discretize` values, evenly spaced between its bounds."""

    discretize: int = Field(ge=2, description="values of each element; the first is the low bound, the last the high")

    @property
    def action_dtype(self) -> np.dtype[Any]:
        """The dtype of the graph's actions."""
        return np.dtype(np.float32)

    @property
    def components(self) -> tuple[int, ...]:
        """How many values each element of an action takes, in C order."""
        return (self.discretize,) * self.size

    def component_values(self, steps: NDArray[Any]) -> NDArray[Any]:
        """The elements' values [..., size] of the steps that they are at."""
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
            raise ValueError("discretize needs finite bounds")
        return self
