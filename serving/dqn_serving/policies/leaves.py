"""The leaves of an observation: the elements that each may have, and the types that read it as nested lists."""

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta, Raw
from numpy.typing import NDArray

from dqn_models.masks import ACTION_MASK
from dqn_models.policy import Policy
from dqn_models.spaces import Leaf

FLOAT32_BOUND = float(2**128 - 2**103)
"""Numbers of at least this magnitude round to infinity in float32; JSON itself has no NaN or infinity."""
Bounds: TypeAlias = tuple[Any, Any]


class LeafReader:
    """Reads one leaf, which is one input of the graph: a number, or nested lists of numbers."""

    def __init__(self, leaf: Leaf, policy: Policy) -> None:
        """Shape and dtype come from the policy, bounds from the space."""
        self.input_name = leaf.input_name
        whole = np.dtype((policy.observation_dtype, policy.observation_shape))
        tensor = policy.observation_dtype[leaf.name] if leaf.path else whole
        self.shape, self.dtype = tensor.shape, tensor.base
        self.is_real = self.dtype == np.float32
        self.accepts_booleans = leaf.space.is_boolean or leaf.path == (ACTION_MASK,)
        """Whether `obs.tolist()` may contain booleans."""
        low, high = _bounds(leaf, self.dtype)
        kind = np.float64 if self.is_real else np.int64
        self._takes_all = not self.is_real and leaf.space.bounds is None
        self.low: NDArray[Any] = np.broadcast_to(np.asarray(low, kind), self.shape)
        """Lower bounds of the elements [*shape]; exclusive for real numbers."""
        self.high: NDArray[Any] = np.broadcast_to(np.asarray(high, kind), self.shape)
        """Upper bounds of the elements [*shape]; exclusive for real numbers."""
        self.is_uniform = np.ndim(low) == 0
        """Whether all elements have the same bounds."""
        self.bounds: Bounds = (low, high) if self.is_uniform else (self.low.tolist(), self.high.tolist())
        """The same, as two numbers if these hold for all elements, else as nested lists."""
        self.type: Any = self._nested(self.low, self.high)
        """The type that msgspec decodes it as."""
        self.attributes = ("",)
        """The path of attributes to it in a decoded observation: none, since it is the whole observation."""
        self.leaves = (self,)
        """This leaf alone, for the form of a space that has no others."""
        self._decode_nested: dict[int, Callable[[Raw], Any]] = {}

    def example(self) -> NDArray[Any]:
        """An observation of the space, [*shape]: zeros, or the allowed values closest to zero."""
        nearest: NDArray[Any] = np.clip(0, self.low, self.high)
        return nearest.astype(self.dtype)

    def decode_nested(self, raw: Raw, depth: int) -> Any:
        """Lists of elements, nested `depth` deep and of any size, for formats that send the shape separately.

        Each element is within the bounds of some element. Raises ValueError or RecursionError.
        """
        decode = self._decode_nested.get(depth)
        if decode is None:
            kind: Any = self._element(self.low.min().item(), self.high.max().item())
            for _ in range(depth):
                kind = list[kind]
            decode = self._decode_nested[depth] = msgspec.json.Decoder(kind).decode
        return decode(raw)

    def first_invalid(self, batch: NDArray[Any]) -> int | None:
        """The index, in C order, of the first invalid element of a batch [batch, *shape]; None if all are valid."""
        if self._takes_all:
            return None
        allowed = np.isfinite(batch) if self.is_real else (batch >= self.low) & (batch <= self.high)
        return None if allowed.all() else int(allowed.argmin())

    def _element(self, low: float, high: float) -> Any:
        bounds = Meta(gt=low, lt=high) if self.is_real else Meta(ge=low, le=high)
        number: Any = Annotated[float if self.is_real else int, bounds]
        return number | bool if self.accepts_booleans else number

    def _nested(self, low: Any, high: Any) -> Any:
        if not low.shape:
            return self._element(low.item(), high.item())
        if (low == low[0]).all() and (high == high[0]).all():
            return Annotated[list[self._nested(low[0], high[0])], Meta(min_length=len(low), max_length=len(low))]  # type: ignore[misc]  # a type made here
        return tuple[tuple(map(self._nested, low, high))]  # type: ignore[misc]  # a type made here


def _bounds(leaf: Leaf, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype == np.float32:
        return -FLOAT32_BOUND, FLOAT32_BOUND
    return leaf.space.bounds or (np.iinfo(dtype).min, np.iinfo(dtype).max)
