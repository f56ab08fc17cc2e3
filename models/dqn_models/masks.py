"""Action masks: which joint actions an environment allows, and the choice among these.

Training, evaluation and serving choose by the same functions, so that a policy is served as it was judged.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]

MaskSource = Literal["info", "method", "observation"]
"""Where an environment says which actions are allowed: in `info["action_mask"]`, by its method `action_masks()`, or in
the member `action_mask` of its Dict observations."""
ACTION_MASK: Final = "action_mask"


def best_allowed(q_values: NDArray[np.float32], masks: BoolArray) -> NDArray[np.int64]:
    """The index of the highest Q-value that is allowed, [batch], of [batch, n_actions] each; the first one on ties.

    Each row of `masks` must allow an action.
    """
    best: NDArray[np.int64] = np.where(masks, q_values, -np.inf).argmax(axis=1)
    return best


def drawn_allowed(masks: BoolArray, draws: NDArray[np.float64]) -> NDArray[np.int64]:
    """The index of an allowed action, [...], for uniform `draws` [...] from 0 up to 1: each is equally likely.

    Each row of `masks` [..., n_actions] must allow an action.
    """
    ranks = (draws * masks.sum(axis=-1)).astype(np.int64)  # which of the allowed actions, counted from 0
    drawn: NDArray[np.int64] = (masks.cumsum(axis=-1) > ranks[..., np.newaxis]).argmax(axis=-1)
    return drawn


def joint_mask(components: Sequence[BoolArray]) -> BoolArray:
    """The mask of the joint actions [n] from those of the components: allowed where all of its components are.

    Joint actions count in C order, the first component slowest.
    """
    joint: BoolArray = reduce(np.logical_and.outer, components).ravel()
    return joint
