"""Action masks: which joint actions an environment allows, and how to select among them.

Training, evaluation and serving share these functions, so that a policy is served exactly as it was evaluated.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]

MaskSource = Literal["info", "method", "observation"]
"""Where an environment provides its action mask: `info["action_mask"]`, its method `action_masks()`, or the member
`action_mask` of its Dict observations."""
ACTION_MASK: Final = "action_mask"


def sample_allowed(masks: BoolArray, draws: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of a uniformly random allowed action, [...], from uniform `draws` [...] in [0, 1).

    Each row of `masks` [..., n_actions] must allow at least one action.
    """
    ranks = (draws * masks.sum(axis=-1)).astype(np.int64)  # which of the allowed actions, counted from 0
    drawn: NDArray[np.int64] = (masks.cumsum(axis=-1) > ranks[..., np.newaxis]).argmax(axis=-1)
    return drawn


def joint_mask(components: Sequence[BoolArray]) -> BoolArray:
    """The mask of the joint actions, [n], from one mask per component: a joint action needs all its components allowed.

    Joint actions are numbered in C order: the first component varies slowest.
    """
    joint: BoolArray = reduce(np.logical_and.outer, components).ravel()
    return joint
