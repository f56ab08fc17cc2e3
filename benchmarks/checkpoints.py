"""Measures the cost of checkpoints to a training run: the fraction of time that it waits for them, and their size.

.venv/bin/python benchmarks/checkpoints.py --presets cartpole breakout --seconds 60
.venv/bin/python benchmarks/checkpoints.py --presets breakout --filled 100000      # 2.8 GB of replay
"""

import contextlib
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from dqn_training.checkpoint.store import CheckpointFile
from dqn_training.config import DQNConfig
from dqn_training.envs.make import environment_for
from dqn_training.learning.loop import train
from dqn_training.learning.state import TrainingState, make_state
from dqn_training.presets import preset_config
from dqn_training.run.checkpoints import Checkpoints


class Cost(NamedTuple):
    """Cost of the checkpoints of one run, without its evaluations."""

    env_steps: int
    seconds: float
    checkpoints: int
    waited: float  # seconds that training waited for them
    other_threads: float  # fraction of the CPU time used by other threads, mostly the one that waits for the disk
    megabytes: float  # size of the last checkpoint
    written: float  # megabytes written for all checkpoints


def main(
    presets: tuple[str, ...] = ("cartpole", "breakout"),
    seconds: float = 60.0,
    checkpoint_seconds: float = 10.0,
    filled: int | None = None,
) -> None:
    """Measures.

    Args:
        presets: presets to train
        seconds: seconds of training per preset
        checkpoint_seconds: minimum seconds between checkpoints
        filled: transitions in replay, and in a first checkpoint, before the measurement begins
    """
    torch.set_num_threads(1)
    title = f"{seconds:.0f} s of training each, at least {checkpoint_seconds:g} s between checkpoints"
    table = Table(title=title)
    for column in ("preset", "steps/s", "checkpoints", "waited", "fraction", "CPU of other threads", "size", "written"):
        table.add_column(column, justify="left" if column == "preset" else "right")
    for preset in presets:
        cost = _measure(preset_config(preset), seconds, checkpoint_seconds, filled)
        table.add_row(
            preset,
            f"{cost.env_steps / cost.seconds:,.0f}",
            str(cost.checkpoints),
            f"{cost.waited:.2f} s",
            f"{cost.waited / cost.seconds:.2%}",
            f"{cost.other_threads:.2%}",
            f"{cost.megabytes:,.1f} MB",
            f"{cost.written:,.1f} MB",
        )
    Console(width=120).print(table)


def _measure(config: DQNConfig, seconds: float, checkpoint_seconds: float, filled: int | None) -> Cost:
    config = dataclasses.replace(
        config, total_env_steps=10**9, replay_capacity=filled or config.replay_capacity, epsilon_decay_steps=1
    )
    environment = environment_for(config)
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(make_state(config, environment, None)) as state:
        path = Path(folder) / "checkpoint"
        if filled:
            _fill(state, config)
            file = CheckpointFile(path)
            file.write(state.state_dict())
            file.settle()
        checkpoints = Checkpoints(path, checkpoint_seconds, print)
        count, cost = 0, 0.0
        began, cpu, own, written = time.perf_counter(), time.process_time(), time.thread_time(), _written()
        for _ in train(config, environment, state):
            checkpoints.step(state)
            count += checkpoints.cost_seconds > cost
            cost = checkpoints.cost_seconds
            if time.perf_counter() - began > seconds:
                break
        elapsed = time.perf_counter() - began
        other_threads = 1 - (time.thread_time() - own) / (time.process_time() - cpu)
        checkpoints.end(state)
        size = sum(each.stat().st_size for each in Path(folder).rglob("*") if each.is_file())
        return Cost(state.env_steps, elapsed, count, cost, other_threads, size / 1e6, (_written() - written) / 1e6)


def _fill(state: TrainingState, config: DQNConfig) -> None:
    """Fills replay with noise, in episodes that never end."""
    shape, dtype = state.observations.shape, state.observations.dtype
    noise = np.random.default_rng(0).integers(0, 255, (64, *shape)).astype(dtype)
    nothing = np.zeros(config.num_envs, np.int64)
    never = nothing.astype(np.bool_)
    for step in range(config.replay_capacity // config.num_envs):
        state.replay.add(noise[step % 64], nothing, nothing, never, never, noise[(step + 1) % 64], ~never)


def _written() -> int:
    """Bytes that this process has written to files so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


if __name__ == "__main__":
    tyro.cli(main)
