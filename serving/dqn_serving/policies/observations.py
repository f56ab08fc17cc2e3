"""Observations of one policy: decoders made for the form of its space, so that one typed pass validates everything."""

from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta, Raw

from dqn_models.manifest import EnvironmentInfo
from dqn_models.policy import Observations, Policy
from dqn_serving.policies.forms import CompositeForm, Form, form_of
from dqn_serving.policies.masks import MaskReader

DECODE_ERRORS = (ValueError, RecursionError)
"""What the typed decoders raise; msgspec's errors are ValueErrors."""
AnyDecoder: TypeAlias = type[msgspec.json.Decoder[Any]] | type[msgspec.msgpack.Decoder[Any]]


class ObservationReader:
    """Decodes the observations of a request into arrays; anything that does not fit raises ValueError.

    The message of that error is msgspec's; `dqn_serving.api.explain` finds a better one.
    """

    def __init__(
        self,
        environment: EnvironmentInfo,
        policy: Policy,
        max_batch_size: int,
        decoder: AnyDecoder = msgspec.json.Decoder,
        *,
        lenient_masks: bool = False,
    ) -> None:
        """Builds the decoders for one policy and the encoding that `decoder` reads; for masks see MaskReader.

        Raises PolicyError for a space that cannot be read.
        """
        self.form: Form = form_of(environment.observation_space, policy, environment.left_out)
        self.input_names = frozenset(leaf.input_name for leaf in self.form.leaves)
        """The graph's inputs."""
        self.dtype = policy.observation_dtype
        """The dtype of a batch; structured, with a field for each leaf, if there are several."""
        self.n_actions = policy.n_actions
        self.max_batch_size = max_batch_size
        one: Any = self.form.type
        many = Annotated[list[one], Meta(min_length=1, max_length=max_batch_size)]
        self.decode_one: Callable[[Raw], Any] = decoder(one).decode
        """Decodes one observation; those that run together become one array later. Raises ValueError.

        The result is a number or nested lists, or a tuple of these, one for each leaf.
        """
        self._decode_many: Callable[[Raw], Any] = decoder(many).decode
        if isinstance(self.form, CompositeForm):
            self._return_tuples(self.form)
        self.masks = MaskReader(environment, self.n_actions, decoder, lenient=lenient_masks)

    def _return_tuples(self, form: CompositeForm) -> None:
        """Makes the decoders return tuples of leaves instead of instances of the form's class."""
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
        """A batch of one observation of the space: zeros, or the allowed values closest to zero."""
        return self.join([leaf.example()[None] for leaf in self.form.leaves])

    def decode_many(self, raw: Raw) -> Observations:
        """Observations [batch, *shape] in the policy's dtype. Raises ValueError."""
        return np.array(self._decode_many(raw), self.dtype)
