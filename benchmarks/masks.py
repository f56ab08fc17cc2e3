"""What action masks save: the same environments learned with and without them, with the settings of `general`.

    nice -n 19 .venv/bin/python benchmarks/masks.py --seeds 5 --write

A run has twenty evaluations, with masks if it was trained with masks. Reported are the median number of steps until an
evaluation reaches the task's target return, and the mean return over all evaluations, which rewards fast learning; both
with 95 % bootstrap intervals over the runs.
"""

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import documents
import numpy as np
import tyro

from dqn_training.api import train
from dqn_training.evaluation.statistics import Floats, resampled
from dqn_training.workers import in_processes

EVALUATIONS = 20
_ALWAYS = 1_000.0  # an eval_fraction without effect: all evaluations are played


class Task(NamedTuple):
    """An environment with its training steps, target mean return, and episodes per evaluation."""

    env_id: str
    env_steps: int
    target: float
    episodes: int


TASKS = (Task("boards:TicTacToe-v0", 6_000, 0.5, 200), Task("Taxi-v4", 15_000, -100.0, 10))


def main(seeds: int = 5, first: int = 0, jobs: int = 1, *, write: bool = False) -> None:
    """Trains and reports.

    Args:
        seeds: number of seeds
        first: first seed
        jobs: number of runs in parallel
        write: write the table in docs/training.md
    """
    runs = [(*task, seed, masks) for task in TASKS for masks in ("auto", "off") for seed in range(first, first + seeds)]
    scores: dict[int, list[float]] = {}
    with in_processes(learn, runs, jobs) as finished:
        for index, found in finished:
            scores[index] = found
            print(*runs[index], [round(score, 2) for score in found], file=sys.stderr, flush=True)
    rows = []
    for number in range(0, len(runs), seeds):
        env_id, env_steps, target, _, _, masks = runs[number]
        group = np.array([scores[index] for index in range(number, number + seeds)])
        name = env_id.partition(":")[2] or env_id
        rows.append([name, "with" if masks == "auto" else "without", *_figures(group, env_steps, target)])
    columns = ["environment", "masks", "target", "median steps", "seeds", "mean return over evaluations", "last one"]
    versions = {package: version(package) for package in ("torch", "numpy", "gymnasium")}
    markdown = f"{documents.table(columns, rows)}\n\n{documents.machine(versions)}"
    print(markdown)
    if write:
        documents.write("docs/training.md", "benchmarks/masks.py", markdown)


def learn(env_id: str, env_steps: int, _target: float, episodes: int, seed: int, masks: str) -> list[float]:
    """The mean returns of a run's evaluations."""
    candidate = train(
        env_id,
        seed=seed,
        action_masks=masks,
        total_env_steps=env_steps,
        eval_every=env_steps // EVALUATIONS,
        eval_episodes=episodes,
        eval_fraction=_ALWAYS,
    )
    return [score.mean for score in candidate.scores[:EVALUATIONS]]


def _figures(group: Floats, env_steps: int, target: float) -> list[str]:
    """The columns for runs [seeds, evaluations]."""
    reached = group >= target
    every = env_steps // EVALUATIONS
    steps = np.where(reached.any(axis=1), every * (1 + reached.argmax(axis=1)), np.inf)
    means = group.mean(axis=1)
    return [
        f"{target:g}",
        f"{_steps(float(np.median(steps)))} ({_interval(steps, np.median)})",
        f"{int(np.isfinite(steps).sum())} of {len(steps)}",
        f"{means.mean():.2f} ({_interval(means, np.mean, '.2f')})",
        f"{group[:, -1].mean():.2f}",
    ]


def _interval(values: Floats, statistic: Callable[..., Any], form: str = "") -> str:
    chosen = resampled(values, lambda drawn: statistic(drawn, axis=0))
    low, high = np.quantile(chosen, [0.025, 0.975], method="nearest").tolist()
    return f"{low:{form}} to {high:{form}}" if form else f"{_steps(low)} to {_steps(high)}"


def _steps(count: float) -> str:
    return f"{count:,.0f}" if np.isfinite(count) else "never"


if __name__ == "__main__":
    tyro.cli(main)
