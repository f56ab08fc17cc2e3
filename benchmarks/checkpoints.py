"""Measures what checkpoints cost a training run: the share of its time that it waits for them, and their size.

.venv/bin/python benchmarks/checkpoints.py --presets cartpole breakout --seconds 60
"""

import contextlib
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch
import tyro
from rich.console import Console
from rich.table import Table

from training.checkpoint_file import CheckpointFile
from training.checkpoints import Checkpoints
from training.config import DQNConfig
from training.experience.environments import environment_for
from training.learning.loop import train
from training.learning.state import make_state
from training.presets import PRESETS


class Cost(NamedTuple):
    """Of one run, without its evaluations."""

    env_steps: int
    seconds: float
    checkpoints: int
    waited: float  # seconds in which training stood still for them
    beside: float  # of the process's CPU time, the share of other threads: mostly the one that waits for the disk
    megabytes: float  # of the last checkpoint
    written: float  # megabytes, all checkpoints together


def main(
    presets: tuple[str, ...] = ("cartpole", "breakout"), seconds: float = 60.0, checkpoint_seconds: float = 10.0
) -> None:
    """Args: what is trained, how long each, and how often a checkpoint is asked for."""
    torch.set_num_threads(1)
    title = f"{seconds:.0f} s of training each, a checkpoint every {checkpoint_seconds:g} s at least"
    table = Table(title=title)
    for column in ("preset", "steps/s", "checkpoints", "waited", "share", "CPU beside", "size", "written"):
        table.add_column(column, justify="left" if column == "preset" else "right")
    for preset in presets:
        cost = _measure(PRESETS[preset], seconds, checkpoint_seconds)
        table.add_row(
            preset,
            f"{cost.env_steps / cost.seconds:,.0f}",
            str(cost.checkpoints),
            f"{cost.waited:.2f} s",
            f"{cost.waited / cost.seconds:.2%}",
            f"{cost.beside:.2%}",
            f"{cost.megabytes:,.1f} MB",
            f"{cost.written:,.1f} MB",
        )
    Console(width=120).print(table)


def _measure(config: DQNConfig, seconds: float, checkpoint_seconds: float) -> Cost:
    config = dataclasses.replace(config, total_env_steps=10**9)
    environment = environment_for(config)
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(make_state(config, environment, None)) as state:
        checkpoints = Checkpoints(CheckpointFile(Path(folder) / "checkpoint"), checkpoint_seconds, print)
        count, cost = 0, 0.0
        began, cpu, own, written = time.perf_counter(), time.process_time(), time.thread_time(), _written()
        for _ in train(config, environment, state):
            checkpoints.keep(state)
            count += checkpoints.cost_seconds > cost
            cost = checkpoints.cost_seconds
            if time.perf_counter() - began > seconds:
                break
        elapsed = time.perf_counter() - began
        beside = 1 - (time.thread_time() - own) / (time.process_time() - cpu)
        checkpoints.settle()
        size = sum(each.stat().st_size for each in Path(folder).rglob("*") if each.is_file())
        return Cost(state.env_steps, elapsed, count, cost, beside, size / 1e6, (_written() - written) / 1e6)


def _written() -> int:
    """Bytes that this process has written to files so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


if __name__ == "__main__":
    tyro.cli(main)
