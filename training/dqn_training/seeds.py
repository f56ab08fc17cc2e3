"""Environment seeds, in disjoint sets: what chooses a checkpoint never gates it, and neither reports on it."""

from typing import Literal

Purpose = Literal["train", "choose", "gate", "report"]

_PURPOSES: tuple[Purpose, ...] = ("train", "choose", "gate", "report")
_SET_SIZE = 2**29  # four sets fill the 31 bits that every environment takes
_RUN_SIZE = 100_000


def first_seed(purpose: Purpose, run_seed: int) -> int:
    """The first of the consecutive environment seeds that a run uses for one purpose."""
    return _PURPOSES.index(purpose) * _SET_SIZE + run_seed * _RUN_SIZE % (_SET_SIZE - _RUN_SIZE)
