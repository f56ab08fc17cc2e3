"""Action masks in replay: a bit an action, in the rows of the observations that they belong to."""

import numpy as np
from numpy.typing import NDArray

from dqn_models.masks import BoolArray
from dqn_models.spaces import ActionSpace


def packed_masks(rows: int, n_actions: int) -> NDArray[np.uint8]:
    """Memory for the masks of so many rows, [rows, bytes]."""
    return np.zeros((rows, -(-n_actions // 8)), np.uint8)


def unpacked_masks(packed: NDArray[np.uint8], actions: ActionSpace) -> tuple[BoolArray, BoolArray]:
    """The masks [batch, n] of packed ones [batch, bytes], and whether each allows an action, [batch].

    One that allows none, as at the end of a board game, comes out as allowing all: so it has a best action, whose value
    does not count.
    """
    masks = np.unpackbits(packed, axis=1, count=actions.n).astype(np.bool_)
    possible = actions.possible(masks)
    masks[~possible] = True
    return masks, possible
