"""Action masks in replay: one bit per action, in the rows of their observations."""

import numpy as np
from numpy.typing import NDArray

from dqn_models.masks import BoolArray
from dqn_models.spaces import ActionSpace


def packed_masks(rows: int, n_actions: int) -> NDArray[np.uint8]:
    """Zeroed memory for the packed masks of `rows` rows, [rows, bytes]."""
    return np.zeros((rows, -(-n_actions // 8)), np.uint8)


def unpacked_masks(packed: NDArray[np.uint8], actions: ActionSpace) -> tuple[BoolArray, BoolArray]:
    """Unpacks masks [batch, bytes] to [batch, n]; also returns whether each allows an action, [batch].

    A mask that allows none, as at the end of a board game, is returned as allowing all, so that a best action exists;
    its value must be ignored.
    """
    masks = np.unpackbits(packed, axis=1, count=actions.n).astype(np.bool_)
    possible = actions.possible(masks)
    masks[~possible] = True
    return masks, possible
