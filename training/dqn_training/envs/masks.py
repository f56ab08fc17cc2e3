"""Action masks of environments: where to find them, and their conversion to one boolean per joint action."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from dqn_models.manifest import EnvironmentInfo
from dqn_models.masks import ACTION_MASK, BoolArray, MaskSource, joint_mask
from dqn_models.spaces import ActionSpace, DictSpace, DiscreteSpace, ObservationSpace

_AnyEnv = gymnasium.Env[Any, Any]

_METHOD = "action_masks"
_PLACES: dict[MaskSource, str] = {
    "info": 'info["action_mask"]',
    "method": "action_masks()",
    "observation": "the action_mask in its observations",
}
_NO_MASK = (
    "The action_mask in the observations has the shape {}, as in stacked frames, not an entry for each of the {}, so "
    'it is observed but not obeyed. To change that, move it to info["action_mask"] by a wrapper below the stack.'
)


class WrongMaskError(ValueError):
    """A mask that does not fit the action space; the message continues a sentence that starts with the environment."""


def find_masks(
    environment: _AnyEnv, info: Any, observations: ObservationSpace, actions: ActionSpace
) -> MaskSource | None:
    """Finds out where an environment provides action masks; None if nowhere.

    Checked in this order: the `info` of its first reset; a method `action_masks()`, sb3-contrib's convention; the
    member `action_mask` of its Dict observations, if that has one element per action.
    """
    if isinstance(info, dict) and info.get(ACTION_MASK) is not None:
        return "info"
    if environment.has_wrapper_attr(_METHOD) and callable(environment.get_wrapper_attr(_METHOD)):
        return "method"
    member = observations.spaces.get(ACTION_MASK) if isinstance(observations, DictSpace) else None
    if member is not None and not isinstance(member, DiscreteSpace) and member.tensor_shape == (actions.n,):
        return "observation"
    return None


def describe_masks(environment: EnvironmentInfo) -> str:
    """A sentence about an environment's action masks, or about a member that only looks like one; else empty."""
    if environment.action_mask is None:
        shapes = [leaf.space.tensor_shape for leaf in environment.observation_space.leaves if leaf.name == ACTION_MASK]
        count = f"{environment.action_space.n:,} actions"
        return "".join(_NO_MASK.format(list(shape), count) for shape in shapes)
    request = "" if environment.action_mask == "observation" else " The server will require action_mask in requests."
    return (
        f"Action masks come from {_PLACES[environment.action_mask]}: training and evaluation take only allowed actions "
        f"(--action-masks off ignores the masks).{request}"
    )


def random_action(actions: ActionSpace, info: dict[str, Any], generator: np.random.Generator) -> Any:
    """A random action in the environment's form, among those allowed by the mask in a Checked's info, if any."""
    mask = info.get(ACTION_MASK, np.zeros(actions.n, np.bool_))
    if actions.branches:
        masks = mask[np.newaxis] | ~actions.possible(mask[np.newaxis])
        return actions.action(actions.random_allowed(masks, generator.random(actions.draws_shape(1))))[0]
    allowed = mask.nonzero()[0]
    return actions.action(generator.choice(allowed) if len(allowed) else generator.integers(actions.n))


class MaskReader:
    """Reads the masks of one environment."""

    def __init__(self, source: MaskSource, actions: ActionSpace) -> None:
        """`source` is where the environment provides them."""
        self._source = source
        self._n = actions.n
        self._components = actions.components
        self._branches = bool(actions.branches)
        one_row = len(self._components) > 1 and not self._branches
        self._is_ambiguous = one_row and sum(self._components) == self._n

    def read(self, environment: _AnyEnv, observation: Any, info: Any, *, ended: bool) -> BoolArray:
        """Which actions are allowed in the current state, [n_actions].

        If the mask is missing after the episode has `ended`, all are. Raises WrongMaskError, and whatever the
        environment raises.
        """
        if self._source == "method":
            return self._joint(environment.get_wrapper_attr(_METHOD)())
        if self._source == "observation":
            return self._flags(observation[ACTION_MASK], self._n)  # which its space promises
        if not isinstance(info, dict) or ACTION_MASK not in info:
            if not ended:
                raise WrongMaskError("returned no action_mask in its info, unlike in its first reset,")
            return np.ones(self._n, np.bool_)
        return self._joint(info[ACTION_MASK])

    def _joint(self, mask: Any) -> BoolArray:
        if len(self._components) == 1:
            return self._flags(mask, self._n)
        if isinstance(mask, tuple | list) and len(mask) == len(self._components) and np.ndim(mask[0]) == 1:
            return self._of_components([self._flags(*each) for each in zip(mask, self._components, strict=True)])
        total = sum(self._components)
        if self._is_ambiguous and np.shape(mask) == (total,):
            raise WrongMaskError(
                f"gave an action mask of shape [{total}], which may have an element for each joint action, or one "
                "component after the other,"
            )
        if np.shape(mask) == (total,) and not self._branches:  # concatenated, as in sb3-contrib
            return joint_mask(np.split(self._flags(mask, total), np.cumsum(self._components)[:-1]))
        return self._flags(mask, self._n)

    def _of_components(self, masks: list[BoolArray]) -> BoolArray:
        return np.concatenate(masks) if self._branches else joint_mask(masks)

    def _flags(self, mask: Any, count: int) -> BoolArray:
        """The mask as `count` booleans. Raises WrongMaskError."""
        try:
            found: NDArray[Any] = np.asarray(mask)
        except ValueError:  # lists of different lengths
            raise WrongMaskError("returned an action mask that is not an array") from None
        if found.shape != (count,):
            raise WrongMaskError(f"returned an action mask of shape {list(found.shape)}")
        if found.dtype.kind == "b":
            return found.copy()
        if found.dtype.kind not in "iuf":
            raise WrongMaskError(f"returned an action mask of dtype {found.dtype}")
        flags: BoolArray = found == 1
        if not (flags | (found == 0)).all():
            wrong = found[~(flags | (found == 0))][0]
            raise WrongMaskError(f"returned an action mask that contains {wrong}")
        return flags

    @property
    def expected(self) -> str:
        """A description of a valid mask."""
        flags = f"{self._n:,} booleans, or 0s and 1s"
        if len(self._components) == 1:
            return flags
        if self._is_ambiguous:
            return f"a tuple with one mask for each of the {len(self._components)} components of an action"
        joined = f"{flags}, component by component" if self._branches else flags
        return f"one mask for each of the {len(self._components)} components of an action, or {joined}"
