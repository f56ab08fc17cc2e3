"""All seeds: disjoint sets of environment seeds, and the process's global random generators.

Seeds that select a checkpoint are never used to gate it, and neither are used in the test evaluation of the manifest.
"""

import random
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch

Purpose = Literal["train", "selection", "gate", "test"]

_PURPOSES: tuple[Purpose, ...] = ("train", "selection", "gate", "test")
_SET_SIZE = 2**29  # four sets fill the 31 bits that every environment accepts
_RUN_SIZE = 100_000
_RESTARTS = 90_000  # first seeds of restarts; leaves room in _RUN_SIZE for one seed per environment


def first_seed(purpose: Purpose, run_seed: int) -> int:
    """The first of the consecutive environment seeds that a run uses for a purpose."""
    return _PURPOSES.index(purpose) * _SET_SIZE + run_seed * _RUN_SIZE % (_SET_SIZE - _RUN_SIZE)


def round_seed(seed: int, last_version: int) -> int:
    """The seed of the retraining round that follows a model's last version, so that no two rounds are the same."""
    return seed + last_version + 1


def trial_seeds(first: int, count: int, *, after: int = 0) -> range:
    """The training seeds of each trial of a search or, shifted by `after`, of each finalist."""
    return range(first + after, first + after + count)


def sampler_seed(worker: int, trials: int) -> int:
    """The seed of the sampler in a worker process of a search that already has this many trials."""
    return 1_000 * worker + trials


def restart_seed(run_seed: int, env_steps: int) -> int:
    """The first environment seed for a run that restarts its episodes after `env_steps`."""
    return first_seed("train", run_seed) + env_steps % _RESTARTS


def random_play_seed(run_seed: int) -> int:
    """The first environment seed for the episodes with random actions; it follows the test seeds."""
    return first_seed("test", run_seed) + _RESTARTS


def seed_process(seed: int) -> None:
    """Seeds torch and the global generators of Python and NumPy, which environments may draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (such environments use the global generator)
    torch.manual_seed(seed)


def process_generators() -> dict[str, Any]:
    """States of the global generators: Python's, NumPy's, and torch's for the CPU and any GPUs in use."""
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  (see seed_process)
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if cuda else [],
    }


def restore_process_generators(state: Mapping[str, Any]) -> None:
    """Restores the states from `process_generators`."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(state["numpy"])  # noqa: NPY002  (see seed_process)
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
