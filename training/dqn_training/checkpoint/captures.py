"""Captures: what a checkpoint keeps of an object.

Everything of a run that changes is an object with `capture` and `restore`; `TrainingState.capture` lists them all.
What such an object does after `restore(capture)` is exactly what it would have done after `capture()`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Capture = Mapping[str, Any]
"""Names to plain values: None, bool, int, float, str, arrays, NumPy scalars, tensors, a Ring, and dicts (whose keys are
strings), lists and tuples of these. A tensor comes back on the CPU, a tuple as a list, a Ring as its array."""


class Ring(NamedTuple):
    """A large array whose rows are written in turn, over and over; a checkpoint writes only what is new in it."""

    array: NDArray[Any]  # [rows, ...]
    written: int  # rows written since the beginning
    behind: int  # this many of them, the latest, may still change


class Stateful(Protocol):
    """An object that a checkpoint can keep."""

    def capture(self) -> Capture:
        """Its state. May share memory with the object, so that it is to be written before the object changes."""

    def restore(self, capture: Capture) -> None:
        """Takes over the state of an object that was made with the same configuration."""


def capture_generator(generator: np.random.Generator) -> Capture:
    """The state of a NumPy generator."""
    return generator.bit_generator.state


def restore_generator(generator: np.random.Generator, capture: Capture) -> None:
    """Makes the generator go on from there. Raises ValueError when it is of another kind."""
    generator.bit_generator.state = capture


def capture_torch_generators() -> Capture:
    """The states of torch's own generators, of the CPU and, where it was used, of each GPU."""
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if used else []}


def restore_torch_generators(capture: Capture) -> None:
    """Makes torch's own generators go on from there."""
    torch.set_rng_state(capture["cpu"])
    if capture["cuda"]:
        torch.cuda.set_rng_state_all(capture["cuda"])
