"""Action masks in replay: a bit an action, in the rows of the observations that they belong to."""

import numpy as np
from numpy.typing import NDArray

from dqn_models.masks import BoolArray


def packed_masks(rows: int, n_actions: int) -> NDArray[np.uint8]:
    """Memory for the masks of so many rows, [rows, bytes]."""
    return np.zeros((rows, -(-n_actions // 8)), np.uint8)


def unpacked_masks(packed: NDArray[np.uint8], n_actions: int) -> tuple[BoolArray, BoolArray]:
    """The masks [batch, n_actions] of packed ones [batch, bytes], and whether each allows an action, [batch].

    One that allows none, as at the end of a board game, comes out as allowing all: so it has a best action, whose value
    does not count.
    """
    masks = np.unpackbits(packed, axis=1, count=n_actions).astype(np.bool_)
    possible = np.asarray(masks.any(axis=1))
    masks[~possible] = True
    return masks, possible
