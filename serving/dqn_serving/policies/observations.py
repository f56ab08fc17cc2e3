"""Observations of one policy: decoders made for its shape and dtype, so that one typed pass validates everything."""

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta, Raw
from numpy.typing import NDArray

from dqn_models.manifest import Manifest
from dqn_models.policy import Observations, Policy
from dqn_models.spaces import DiscreteSpace

FLOAT32_BOUND = float(2**128 - 2**103)
"""Numbers of this size and beyond round to infinity in float32; JSON's tokens cannot be NaN or infinite themselves."""
_INT64 = np.iinfo(np.int64)

DECODE_ERRORS = (ValueError, RecursionError)
"""What the typed decoders raise; msgspec's errors are ValueErrors."""
FLAG: Any = bool | Annotated[int, Meta(ge=0, le=1)]
"""An entry of an action mask; environments give booleans, or 0 and 1."""

BoolArray = NDArray[np.bool_]
AnyDecoder: TypeAlias = type[msgspec.json.Decoder[Any]] | type[msgspec.msgpack.Decoder[Any]]


def _element_bounds(manifest: Manifest, policy: Policy) -> tuple[float, float]:
    """The least and the greatest allowed element; for float32 both are excluded."""
    space = manifest.environment.observation_space
    if policy.observation_dtype == np.float32:
        return -FLOAT32_BOUND, FLOAT32_BOUND
    if policy.observation_dtype == np.uint8:
        return 0, 255
    if isinstance(space, DiscreteSpace):
        return space.start, space.start + space.n - 1
    return int(_INT64.min), int(_INT64.max)


class ObservationReader:
    """Turns what a request has, still encoded, into arrays; anything that does not fit raises ValueError.

    The message of that error is msgspec's; `dqn_serving.api.explain` finds the better one.
    """

    def __init__(
        self, manifest: Manifest, policy: Policy, max_batch_size: int, decoder: AnyDecoder = msgspec.json.Decoder
    ) -> None:
        """Builds the decoders for one policy, of the encoding that `decoder` reads."""
        self.shape = policy.observation_shape
        self.dtype = policy.observation_dtype
        self.n_actions = policy.n_actions
        self.max_batch_size = max_batch_size
        self.low, self.high = _element_bounds(manifest, policy)
        self.accepts_booleans = getattr(manifest.environment.observation_space, "dtype", None) == "bool"
        """Whether `obs.tolist()` has booleans."""
        bounds = Meta(gt=self.low, lt=self.high) if self.dtype == np.float32 else Meta(ge=self.low, le=self.high)
        number: Any = Annotated[float if self.dtype == np.float32 else int, bounds]
        self._element: Any = number | bool if self.accepts_booleans else number
        self._nested: dict[int, Callable[[Raw], Any]] = {}
        one: Any = self._element
        for size in reversed(self.shape):
            one = Annotated[list[one], Meta(min_length=size, max_length=size)]
        mask: Any = Annotated[list[FLAG], Meta(min_length=self.n_actions, max_length=self.n_actions)]
        self.decode_one: Callable[[Raw], Any] = decoder(one).decode
        """The observation as nested lists; an array is made of all that run together. Raises ValueError."""
        self._many = decoder(Annotated[list[one], Meta(min_length=1, max_length=max_batch_size)]).decode
        self._mask = decoder(mask).decode
        self._masks = decoder(list[mask]).decode

    def example(self) -> Observations:
        """An observation of the space, [1, *shape]: zeros, or the closest that it has to them."""
        return np.full((1, *self.shape), min(max(0, self.low), self.high), self.dtype)

    def decode_nested(self, raw: Raw, depth: int) -> Any:
        """Lists of elements, nested `depth` deep and of any size, for formats that send the shape beside the elements.

        Raises ValueError or RecursionError.
        """
        decode = self._nested.get(depth)
        if decode is None:
            kind: Any = self._element
            for _ in range(depth):
                kind = list[kind]
            decode = self._nested[depth] = msgspec.json.Decoder(kind).decode
        return decode(raw)

    def decode_many(self, raw: Raw) -> Observations:
        """Observations [batch, *shape] in the policy's dtype. Raises ValueError."""
        return np.array(self._many(raw), self.dtype)

    def decode_masks(self, raw: Raw, batch: int) -> BoolArray:
        """The action masks [batch, n_actions] of a batch, from one for all or one for each. Raises ValueError."""
        if bytes(raw)[1:].lstrip()[:1] != b"[":
            return self.decode_mask(raw).repeat(batch, axis=0)
        mask = np.array(self._masks(raw), np.bool_)
        if len(mask) != batch or not mask.any(axis=1).all():
            raise ValueError("action_mask must leave an action for every observation")
        return mask

    def decode_mask(self, raw: Raw) -> BoolArray:
        """The action mask of one observation, [1, n_actions]. Raises ValueError."""
        mask = np.array([self._mask(raw)], np.bool_)
        if not mask.any():
            raise ValueError("action_mask must leave an action")
        return mask
