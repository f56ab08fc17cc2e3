"""Action masks of one policy: where the masks of a request come from, and whether it must send them.

A policy that was trained and evaluated with masks is served with them: otherwise it would choose actions whose values
it never learned, and which its environment forbids.
"""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from msgspec import UNSET, Meta, Raw, UnsetType

from dqn_models.manifest import EnvironmentInfo
from dqn_models.masks import ACTION_MASK, BoolArray
from dqn_models.policy import Observations

FLAG: Any = bool | Annotated[int, Meta(ge=0, le=1)]
"""An entry of an action mask; environments give booleans, or 0 and 1."""


MASKS_SENT = ("info", "method")
"""The sources of masks that are not part of the observation: a request sends them next to it."""


class MaskReader:
    """Turns the mask of a request, or that in its observation, into an array; what does not fit raises ValueError.

    Attributes:
        is_required: whether a request without a mask is refused.
        is_used: whether a request without a mask is either masked anyway, or refused.
    """

    def __init__(
        self, environment: EnvironmentInfo, n_actions: int, make_decoder: Callable[[Any], Any], *, lenient: bool
    ) -> None:
        """`lenient`: a request need not send the mask that the policy was trained with."""
        self.n_actions = n_actions
        self.actions = environment.action_space
        self.is_required = environment.action_mask in MASKS_SENT and not lenient
        parts = [(leaf.name, leaf.space.tensor_shape) for leaf in environment.observation_space.leaves]
        inside = environment.action_mask == "observation" and (ACTION_MASK, (n_actions,)) in parts
        self._place = parts.index((ACTION_MASK, (n_actions,))) if inside else None  # among the leaves
        self.is_used = self.is_required or inside
        mask: Any = Annotated[list[FLAG], Meta(min_length=n_actions, max_length=n_actions)]
        self._mask = make_decoder(mask).decode
        self._masks = make_decoder(list[mask]).decode

    def one(self, raw: Raw | UnsetType, observation: Any) -> BoolArray | None:
        """The mask of a decoded observation, [1, n_actions], from what was sent next to it. Raises ValueError."""
        if raw is not UNSET:
            return self._checked(np.array([self._mask(raw)], np.bool_))
        if self._place is not None:
            return self._flags(np.array([observation[self._place]]))
        if self.is_required:
            raise ValueError("action_mask is missing")
        return None

    def many(self, raw: Raw | UnsetType, observations: Observations) -> BoolArray | None:
        """The masks of a batch, [batch, n], from one for all or one for each. Raises ValueError."""
        if raw is UNSET:
            if self.is_required:
                raise ValueError("action_mask is missing")
            return self.observed(observations)
        if bytes(raw)[1:].lstrip()[:1] != b"[":
            return self._checked(np.array([self._mask(raw)], np.bool_)).repeat(len(observations), axis=0)
        masks = np.array(self._masks(raw), np.bool_)
        if len(masks) != len(observations):
            raise ValueError("action_mask must have a list for every observation")
        return self._checked(masks)

    def observed(self, observations: Observations) -> BoolArray | None:
        """The masks in a batch of observations, [batch, n], if they are there. Raises ValueError."""
        return None if self._place is None else self._flags(observations[ACTION_MASK])

    def _flags(self, values: Observations) -> BoolArray:
        masks: BoolArray = values == 1
        if not (masks | (values == 0)).all():
            raise ValueError("action_mask in an observation must have 0 and 1")
        return self._checked(masks)

    def _checked(self, masks: BoolArray) -> BoolArray:
        if not self.actions.possible(masks).all():
            raise ValueError("action_mask must leave an action for every observation")
        return masks
