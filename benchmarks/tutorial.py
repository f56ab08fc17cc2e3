"""Compares the preset `tutorial` with the PyTorch tutorial as published: the learning curve and steps per second.

    .venv/bin/python benchmarks/tutorial.py --seeds 10

Reports the mean duration of the last 100 of 200 episodes. It varies widely between seeds, so compare the means with
their standard errors.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from statistics import mean, stdev
from typing import NamedTuple

import torch
import tyro
from peers import starting_system
from rich.console import Console
from rich.table import Table

from dqn_training.envs.make import environment_for
from dqn_training.learning.loop import train
from dqn_training.learning.state import make_state
from dqn_training.presets import preset_config


class Run(NamedTuple):
    """One seed of one system."""

    durations: list[int]
    seconds: float

    @property
    def last(self) -> float:
        """Mean duration of the last 100 episodes."""
        return mean(self.durations[-100:])

    @property
    def speed(self) -> float:
        """Environment steps per second."""
        return sum(self.durations) / self.seconds


def as_published(seed: int) -> Run:
    """Trains with the tutorial's code."""
    trained = starting_system.train(seed)
    return Run(trained.durations, trained.seconds)


def preset(seed: int) -> Run:
    """Trains with the preset."""
    config = dataclasses.replace(preset_config("tutorial"), seed=seed, max_episodes=starting_system.EPISODES)
    environment = environment_for(config)
    state = make_state(config, environment, None)
    started = time.perf_counter()
    for _ in train(config, environment, state):
        pass
    state.close()
    return Run([episode.length for episode in state.episodes], time.perf_counter() - started)


def main(seeds: int = 10, first: int = 0) -> None:
    """Compares both.

    Args:
        seeds: number of seeds
        first: first seed
    """
    torch.set_num_threads(1)
    systems: dict[str, Callable[[int], Run]] = {"tutorial's code": as_published, "preset tutorial": preset}
    runs: dict[str, list[Run]] = {name: [] for name in systems}
    table = Table("seed", *(f"{name}: {figure}" for name in systems for figure in ("last 100", "steps/s")))
    for seed in range(first, first + seeds):  # interleaved, so that both meet the same noise
        for name, system in systems.items():
            runs[name].append(system(seed))
        table.add_row(
            str(seed), *(f"{x:,.1f}" for name in systems for x in (runs[name][-1].last, runs[name][-1].speed))
        )
    table.add_section()
    cells = []
    for name in systems:
        last = [run.last for run in runs[name]]
        error = stdev(last) / math.sqrt(len(last)) if len(last) > 1 else math.nan
        cells += [f"{mean(last):.1f} +- {error:.1f}", f"{mean(run.speed for run in runs[name]):,.0f}"]
    table.add_row("mean", *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    tyro.cli(main)
