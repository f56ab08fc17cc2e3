"""Checks before training that this machine has the device and the memory that a configuration needs."""

import os
from pathlib import Path

import torch

from dqn_models.manifest import EnvironmentInfo
from dqn_training.config import DQNConfig
from dqn_training.envs.spaces import branching_in_words
from dqn_training.envs.vector import make_vector_environment
from dqn_training.networks.q_network import choose_device, make_q_network
from dqn_training.replay.frames import stored_dtype

_BESIDE = 14  # bytes of a transition beside its observation, action and mask, at most
_COPIES = 9
"""Of the parameters, at least, while a run exports its policy: the network's, its target's, their gradient, Adam's two
moments, the best so far, and the graph as constants, as a file and as it is loaded. Most runs have one or two more."""
_BYTES = 4  # of a parameter
_LARGEST_FILE = 2**31 - 1  # bytes; Protocol Buffers, which ONNX files are, have no larger ones

_CONTAINER = Path("/sys/fs/cgroup")


def check_machine(config: DQNConfig, environment: EnvironmentInfo) -> None:
    """Raises ValueError with a sentence when there is no such device or vector version, too little memory, or when the
    policy would be too large for a file.
    """
    check_device(config)
    _check_branching(config, environment)
    if config.vectorization == "native":
        make_vector_environment(environment, 1, "native").close()
    _check_network(config, environment)
    if config.algorithm != "pqn":
        _check_replay(config, environment)


def _check_branching(config: DQNConfig, environment: EnvironmentInfo) -> None:
    if environment.action_space.branches and config.distribution != "none":
        raise ValueError(
            f"distribution is {config.distribution!r}, which does not learn actions that branch. "
            f"{branching_in_words(environment)} Use --distribution none."
        )


def _check_network(config: DQNConfig, environment: EnvironmentInfo) -> None:
    with torch.device("meta"):  # shapes without numbers
        network = make_q_network(config, environment.observation_space, environment.action_space)
    counts = {name: parameter.numel() for name, parameter in network.named_parameters()}
    described = f"hidden_sizes is {config.hidden_sizes}; the network then has {sum(counts.values()):,} parameters"
    exported = _BYTES * sum(count for name, count in counts.items() if not name.endswith("_sigma"))
    if exported > _LARGEST_FILE:
        raise ValueError(
            f"{described}, and its ONNX file would have {exported / 1e9:,.1f} GB; such a file has at most "
            f"{_LARGEST_FILE / 1e9:,.1f} GB. Use smaller hidden_sizes, or fewer values in an observation."
        )
    needed, free = _COPIES * _BYTES * sum(counts.values()), available_bytes()
    if choose_device(config, network).type == "cpu" and needed > free:
        raise ValueError(
            f"{described}. To train and export it takes at least {needed / 1e9:,.1f} GB, and this machine has "
            f"{free / 1e9:,.1f} GB of free memory. Use smaller hidden_sizes, or fewer values in an observation."
        )


def _check_replay(config: DQNConfig, environment: EnvironmentInfo) -> None:
    mask = environment.action_space.n // 8 + 1 if environment.action_mask else 0
    row = stored_dtype(environment).itemsize + environment.action_space.index_dtype.itemsize + mask + _BESIDE
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
