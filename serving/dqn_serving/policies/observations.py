"""Observations of one policy: decoders made for the form of its space, so that one typed pass validates everything."""

from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta, Raw
from numpy.typing import NDArray

from dqn_models.manifest import EnvironmentInfo
from dqn_models.policy import Observations, Policy
from dqn_serving.policies.forms import CompositeForm, Form, form_of

DECODE_ERRORS = (ValueError, RecursionError)
"""What the typed decoders raise; msgspec's errors are ValueErrors."""
FLAG: Any = bool | Annotated[int, Meta(ge=0, le=1)]
"""An entry of an action mask; environments give booleans, or 0 and 1."""

BoolArray = NDArray[np.bool_]
AnyDecoder: TypeAlias = type[msgspec.json.Decoder[Any]] | type[msgspec.msgpack.Decoder[Any]]


class ObservationReader:
    """Turns what a request has, still encoded, into arrays; anything that does not fit raises ValueError.

    The message of that error is msgspec's; `dqn_serving.api.explain` finds the better one.
    """

    def __init__(
        self,
        environment: EnvironmentInfo,
        policy: Policy,
        max_batch_size: int,
        decoder: AnyDecoder = msgspec.json.Decoder,
    ) -> None:
        """Builds the decoders for one policy, of the encoding that `decoder` reads.

        Raises PolicyError for a space that cannot be read.
        """
        self.form: Form = form_of(environment.observation_space, policy, environment.left_out)
        self.dtype = policy.observation_dtype
        """Of a batch; a structured one, with a field for each leaf, where there are several."""
        self.n_actions = policy.n_actions
        self.max_batch_size = max_batch_size
        one: Any = self.form.type
        many = Annotated[list[one], Meta(min_length=1, max_length=max_batch_size)]
        mask: Any = Annotated[list[FLAG], Meta(min_length=self.n_actions, max_length=self.n_actions)]
        self.decode_one: Callable[[Raw], Any] = decoder(one).decode
        """One observation; an array is made of all that run together. Raises ValueError.

        It is a number or nested lists, or a tuple of these, one for each leaf.
        """
        self._decode_many: Callable[[Raw], Any] = decoder(many).decode
        if isinstance(self.form, CompositeForm):
            self._take_apart(self.form)
        self._mask = decoder(mask).decode
        self._masks = decoder(list[mask]).decode

    def _take_apart(self, form: CompositeForm) -> None:
        """Has the decoders give tuples of leaves instead of instances of the form's class."""
        decode_one, decode_many = self.decode_one, self._decode_many
        get: Callable[[Any], Any] = attrgetter(*form.attributes)
        row = get if len(form.attributes) > 1 else lambda found: (get(found),)
        self.decode_one = lambda raw: row(decode_one(raw))
        self._decode_many = lambda raw: list(map(row, decode_many(raw)))

    def join(self, leaves: list[Observations]) -> Observations:
        """A batch, from one array [batch, *shape] for each leaf."""
        if not self.dtype.names:
            return leaves[0]
        rows = np.empty(len(leaves[0]), self.dtype)
        for name, values in zip(self.dtype.names, leaves, strict=True):
            rows[name] = values
        return rows

    def example(self) -> Observations:
        """A batch of one observation of the space: zeros, or the closest that it has to them."""
        return self.join([leaf.example()[None] for leaf in self.form.leaves])

    def decode_many(self, raw: Raw) -> Observations:
        """Observations [batch, *shape] in the policy's dtype. Raises ValueError."""
        return np.array(self._decode_many(raw), self.dtype)

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
