"""Trains a preset with several seeds and prints each result, with the median, worst and mean.

.venv/bin/python benchmarks/seeds.py --preset cartpole --seeds 10
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from statistics import fmean, median

import tyro
from rich.console import Console
from rich.table import Table

from dqn_training.envs.make import environment_for
from dqn_training.presets import preset_config
from dqn_training.publishing.trials import play_test_episodes
from dqn_training.run.run import Run

_COLUMNS = ("seed", "seconds", "CPU seconds", "env steps", "last 100 returns", "selected", "test mean", "test min")


def main(preset: str = "cartpole", seeds: int = 10, first: int = 0) -> None:
    """Trains and evaluates.

    Args:
        preset: name or file of a preset
        seeds: number of seeds
        first: first seed
    """
    rows = [_run(preset, seed) for seed in range(first, first + seeds)]
    table = Table(*_COLUMNS, title=f"preset {preset}, seeds {first} to {first + seeds - 1}")
    for row in rows:
        table.add_row(*(f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" for value in row))
    values: Sequence[Sequence[float]] = list(zip(*rows, strict=True))
    table.add_section()
    table.add_row("median", *(f"{median(column):,.2f}" for column in values[1:]))
    worst = [*(max(column) for column in values[1:4]), *(min(column) for column in values[4:])]
    table.add_row("worst", *(f"{value:,.2f}" for value in worst))
    table.add_row("mean", *(f"{sum(column) / len(column):,.2f}" for column in values[1:]))
    Console(width=120).print(table)


def _run(preset: str, seed: int) -> tuple[float, ...]:
    config = dataclasses.replace(preset_config(preset), seed=seed)
    environment = environment_for(config)
    cpu = time.process_time()
    candidate = Run(config, preset, environment).train()
    cpu = time.process_time() - cpu
    test = play_test_episodes(candidate)
    row = (
        seed,
        candidate.wall_seconds,
        cpu,
        candidate.env_steps,
        fmean(episode.total_reward for episode in candidate.episodes[-100:]),
        candidate.best.mean,
        test.mean,
        test.min,
    )
    figures = ", ".join(f"{name} {value:,.2f}" for name, value in zip(_COLUMNS[1:], row[1:], strict=True))
    print(f"seed {seed}: {figures}", file=sys.stderr, flush=True)
    return row


if __name__ == "__main__":
    tyro.cli(main)
