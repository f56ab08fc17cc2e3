"""Checks before training that this machine has the device and memory that a configuration needs."""

import os
from pathlib import Path

import torch

from dqn_models.manifest import EnvironmentInfo
from dqn_training.config import DQNConfig
from dqn_training.envs.spaces import describe_branching
from dqn_training.envs.vector import make_vector_environment
from dqn_training.networks.q_network import choose_device, make_q_network
from dqn_training.replay.frames import stored_dtype

_BESIDE = 14  # maximum bytes of a transition besides its observation, action and mask
_COPIES = 9
"""Minimum number of copies of the parameters while a run exports its policy: Q-network, target network, gradient,
Adam's two moments, the best so far, and the graph as constants, as a file and loaded. Most runs need one or two more.
"""
_BYTES = 4  # per parameter
_LARGEST_FILE = 2**31 - 1  # bytes; the limit of Protocol Buffers, ONNX's file format

_CONTAINER = Path("/sys/fs/cgroup")


def check_machine(config: DQNConfig, environment: EnvironmentInfo) -> None:
    """Raises ValueError if the device or native vector version does not exist, memory does not suffice, or the policy
    would be too large for an ONNX file.
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
            f"{describe_branching(environment)} Use --distribution none."
        )


def _check_network(config: DQNConfig, environment: EnvironmentInfo) -> None:
    with torch.device("meta"):  # shapes without data
        network = make_q_network(config, environment.observation_space, environment.action_space)
    counts = {name: parameter.numel() for name, parameter in network.named_parameters()}
    described = f"hidden_sizes is {config.hidden_sizes}; the network then has {sum(counts.values()):,} parameters"
    exported = _BYTES * sum(count for name, count in counts.items() if not name.endswith("_sigma"))
    if exported > _LARGEST_FILE:
        raise ValueError(
            f"{described}, and its ONNX file would have {exported / 1e9:,.1f} GB; the format's limit is "
            f"{_LARGEST_FILE / 1e9:,.1f} GB. Use smaller hidden_sizes, or observations with fewer elements."
        )
    needed, free = _COPIES * _BYTES * sum(counts.values()), available_bytes()
    if choose_device(config, network).type == "cpu" and needed > free:
        raise ValueError(
            f"{described}. Training and exporting it takes at least {needed / 1e9:,.1f} GB, but this machine has "
            f"{free / 1e9:,.1f} GB of free memory. Use smaller hidden_sizes, or observations with fewer elements."
        )


def _check_replay(config: DQNConfig, environment: EnvironmentInfo) -> None:
    mask = environment.action_space.n // 8 + 1 if environment.action_mask else 0
    row = stored_dtype(environment).itemsize + environment.action_space.index_dtype.itemsize + mask + _BESIDE
    needed, free = config.replay_capacity * row, available_bytes()
    if needed > free:
        raise ValueError(
            f"replay_capacity is {config.replay_capacity}; at up to {row:,} bytes each, these transitions need "
            f"{needed / 1e9:,.1f} GB, but this machine has {free / 1e9:,.1f} GB of free memory. Use at most "
            f"{free // row}."
        )


def check_device(config: DQNConfig) -> None:
    """Raises ValueError if a GPU is requested that torch does not find."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device is 'cuda', but torch {torch.__version__} finds no CUDA device on this machine; use auto or cpu."
        )


def available_bytes() -> int:
    """Memory that this process may still allocate, limited by the machine and by its container."""
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
