"""Actions chosen jointly and by branches: the same arm learned both ways, by the settings that `general` chooses.

    nice -n 19 .venv/bin/python benchmarks/branching.py --seeds 5 --write

A run is judged as it learned, by ten episodes at twenty moments. The figures are the median steps until an evaluation
reaches half of the best return, the mean return of the last evaluation, both with 95 % intervals by resampling the
runs, and the CPU time of a gradient step, the median of 200 after the run's first 1,000 steps.
"""

import dataclasses
import itertools
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import process_time
from typing import Any, Literal

import documents
import numpy as np
import torch
import tyro

from dqn_models.manifest import EnvironmentInfo
from dqn_training.api import train
from dqn_training.choosing import choose_settings
from dqn_training.config import DQNConfig
from dqn_training.envs.make import environment_for
from dqn_training.evaluation.statistics import Floats, resampled
from dqn_training.learning import loop
from dqn_training.learning.state import make_state
from dqn_training.presets import preset_config
from dqn_training.workers import in_processes

Way = Literal["jointly", "by branches"]

ENV_STEPS, EVALUATIONS, EPISODES, TARGET = 10_000, 20, 10, 25.0
ARMS = ((2, 4), (6, 4), (6, 8))
"""Joints and speeds of each."""
_ENV_ID = "joints:Arm-v0"
_ALWAYS = 1_000.0  # evaluation steps for each of training: all evaluations are played
_UPDATES = 200


def main(seeds: int = 5, jobs: int = 1, keep: Path | None = None, *, run: bool = True, write: bool = False) -> None:
    """Args: how many seeds, how many runs at once, a file that keeps finished runs, so that they are not repeated,
    whether to run the missing ones, and whether docs/training.md gets the table.
    """
    ways: list[tuple[int, int, Way]] = [(*arm, way) for arm in ARMS for way in _ways(*arm)]
    kept = [json.loads(line) for line in keep.read_text().splitlines()] if keep and keep.exists() else []
    scores = {tuple(done): found for done, found in kept}
    by_time = sorted(ways, key=lambda way: way[2])  # those with the fewest Q-values first
    missing = [(*way, seed) for way in by_time for seed in range(seeds) if run and (*way, seed) not in scores]
    with in_processes(learn, missing, jobs) as finished:
        for index, found in finished:
            scores[missing[index]] = found
            line = json.dumps([missing[index], [round(score, 3) for score in found]])
            print(line, file=sys.stderr, flush=True)
            if keep:
                with keep.open("a") as file:
                    file.write(line + "\n")
    rows = []
    for joints, speeds, way in ways:
        config, environment = _chosen(joints, speeds, way)
        sizes = [f"{joints} x {speeds}", f"{speeds**joints:,}", way, f"{environment.action_space.n:,}"]
        keys = ((joints, speeds, way, seed) for seed in range(seeds))
        group = np.array([scores[key] for key in keys if key in scores])
        rows.append([*sizes, *_figures(group), f"{_update_milliseconds(config, environment):.2f} ms"])
    columns = ["joints x speeds", "combinations", "chosen", "Q-values", f"steps until {TARGET:g}", "seeds"]
    columns += ["last mean return", "CPU time of an update"]
    versions = {package: version(package) for package in ("torch", "numpy", "gymnasium")}
    markdown = f"{documents.table(columns, rows)}\n\n{documents.machine(versions)}"
    print(markdown)
    if write:
        documents.write("docs/training.md", "benchmarks/branching.py", markdown)


def learn(joints: int, speeds: int, way: Way, seed: int) -> list[float]:
    """The mean returns of a run's evaluations."""
    every = ENV_STEPS // EVALUATIONS
    evaluated: dict[str, Any] = {"eval_every": every, "eval_episodes": EPISODES, "eval_fraction": _ALWAYS}
    candidate = train(_ENV_ID, **_settings(joints, speeds, way), **evaluated, seed=seed)
    return [score.mean for score in candidate.scores[:EVALUATIONS]]


def _ways(joints: int, speeds: int) -> list[Way]:
    """Jointly as far as that is possible."""
    few = environment_for(DQNConfig(_ENV_ID, **_settings(joints, speeds, "jointly"))).action_space.branches == ()
    return ["jointly", "by branches"] if few else ["by branches"]


def _settings(joints: int, speeds: int, way: Way) -> dict[str, Any]:
    return {
        "env_kwargs": {"joints": joints, "speeds": speeds},
        "branching": "auto" if way == "jointly" else "on",
        "total_env_steps": ENV_STEPS,
    }


def _chosen(joints: int, speeds: int, way: Way) -> tuple[DQNConfig, EnvironmentInfo]:
    """The settings of a run, and its environment."""
    config = dataclasses.replace(preset_config("general"), env_id=_ENV_ID, **_settings(joints, speeds, way))
    environment = environment_for(config)
    return choose_settings(config, environment, ())[0], environment


def _update_milliseconds(config: DQNConfig, environment: EnvironmentInfo) -> float:
    torch.set_num_threads(1)
    state = make_state(config, environment, None)
    for _ in itertools.islice(loop.train(config, environment, state), 1_000 // config.num_envs):
        pass
    replay: Any = state.replay
    seconds = []
    for _ in range(_UPDATES):
        batch = replay.sample(config.batch_size, state.generator)
        began = process_time()
        state.agent.update(batch)
        seconds.append(process_time() - began)
    state.close()
    return float(np.median(seconds)) * 1e3


def _figures(group: Floats) -> list[str]:
    """The columns for runs [seeds, evaluations]."""
    reached = group >= TARGET
    every = ENV_STEPS // EVALUATIONS
    steps = np.where(reached.any(axis=1), every * (1 + reached.argmax(axis=1)), np.inf)
    last = group[:, -1]
    return [
        f"{_steps(float(np.median(steps)))} ({_interval(steps, np.median, _steps)})",
        f"{int(np.isfinite(steps).sum())} of {len(steps)}",
        f"{last.mean():.1f} ({_interval(last, np.mean, '{:.1f}'.format)})",
    ]


def _interval(values: Floats, statistic: Callable[..., Any], form: Callable[[float], str]) -> str:
    chosen = resampled(values, lambda drawn: statistic(drawn, axis=0))
    low, high = np.quantile(chosen, [0.025, 0.975], method="nearest").tolist()
    return f"{form(low)} to {form(high)}"


def _steps(count: float) -> str:
    return f"{count:,.0f}" if np.isfinite(count) else "never"


if __name__ == "__main__":
    tyro.cli(main)
