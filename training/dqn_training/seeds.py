"""Every seed: environment seeds in disjoint sets, and the generators of the process.

What selects a checkpoint never gates it, and neither is in the test evaluation that the manifest reports.
"""

import random
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch

Purpose = Literal["train", "selection", "gate", "test"]

_PURPOSES: tuple[Purpose, ...] = ("train", "selection", "gate", "test")
_SET_SIZE = 2**29  # four sets fill the 31 bits that every environment takes
_RUN_SIZE = 100_000
_RESTARTS = 90_000  # different seeds that a run may reset its environments with, before those of its last environments


def first_seed(purpose: Purpose, run_seed: int) -> int:
    """The first of the consecutive environment seeds that a run uses for one purpose."""
    return _PURPOSES.index(purpose) * _SET_SIZE + run_seed * _RUN_SIZE % (_SET_SIZE - _RUN_SIZE)


def round_seed(seed: int, last_version: int) -> int:
    """The seed of a retraining round after a model's last version, so that rounds do not repeat each other."""
    return seed + last_version + 1


def trial_seeds(first: int, count: int, *, after: int = 0) -> range:
    """The seeds of the training runs of each trial of a search or, `after` those, of each finalist."""
    return range(first + after, first + after + count)


def sampler_seed(worker: int, trials: int) -> int:
    """The seed by which a process of a search, which has so many trials already, chooses settings."""
    return 1_000 * worker + trials


def restart_seed(run_seed: int, env_steps: int) -> int:
    """The first environment seed for a run that begins new episodes after so many environment steps."""
    return first_seed("train", run_seed) + env_steps % _RESTARTS


def random_play_seed(run_seed: int) -> int:
    """The first environment seed for a few episodes with random actions, behind those of the test episodes."""
    return first_seed("test", run_seed) + _RESTARTS


def seed_process(seed: int) -> None:
    """Seeds torch, and what environments of others may draw from: the global generators of Python and NumPy."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (the global generator is what such environments use)
    torch.manual_seed(seed)


def process_generators() -> dict[str, Any]:
    """The states of these generators, torch's of the CPU and, where it was used, of each GPU."""
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  (see seed_process)
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if cuda else [],
    }


def restore_process_generators(state: Mapping[str, Any]) -> None:
    """Makes these generators continue from there."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(state["numpy"])  # noqa: NPY002  (see seed_process)
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
