"""Checks before training that this machine has the device and the memory that a configuration needs."""

import math
import os
from pathlib import Path

import torch

from dqn_models.manifest import EnvironmentInfo
from dqn_training.config import DQNConfig
from dqn_training.envs.vector import make_vector_environment

_BESIDE = 16  # bytes of a transition beside its observation, at most

_CONTAINER = Path("/sys/fs/cgroup")


def check_machine(config: DQNConfig, environment: EnvironmentInfo) -> None:
    """Raises ValueError with a sentence when there is no such device or vector version, or too little memory."""
    check_device(config)
    if config.vectorization == "native":
        make_vector_environment(environment, 1, "native").close()
    if config.algorithm == "pqn":
        return
    space = environment.observation_space
    row = math.prod(space.tensor_shape) * space.tensor_dtype.itemsize + _BESIDE
    needed, free = config.replay_capacity * row, available_bytes()
    if needed > free:
        raise ValueError(
            f"replay_capacity is {config.replay_capacity}; at up to {row:,} bytes each these transitions need "
            f"{needed / 1e9:,.1f} GB, and this machine has {free / 1e9:,.1f} GB of free memory; at most {free // row} "
            "fit."
        )


def check_device(config: DQNConfig) -> None:
    """Raises ValueError with a sentence when a GPU is asked for that torch does not find."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device is 'cuda', but torch {torch.__version__} finds no CUDA device on this machine; use auto or cpu."
        )


def available_bytes() -> int:
    """Memory that this process may still take: the machine's, or what its container leaves of it."""
    free = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    available = [line for line in _lines(Path("/proc/meminfo")) if line.startswith("MemAvailable:")]
    free += [int(line.split()[1]) * 1024 for line in available]
    limit, used = (_lines(_CONTAINER / name) for name in ("memory.max", "memory.current"))
    if limit and used and limit[0] != "max":
        free.append(max(0, int(limit[0]) - int(used[0])))
    return min(free)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
