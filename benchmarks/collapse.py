"""Does the collapse monitor foresee collapses? The preset `tutorial` goes on long after it solved CartPole.

    .venv/bin/python benchmarks/collapse.py --seeds 6

A fall is a greedy evaluation below 250 after one of at least 475; it is foreseen when the evaluation before it, or an
earlier one since the last fall, came with a warning. A warning after which nothing falls within 20,000 steps is false.
The picture in docs/collapse.png shows the first seed that falls.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import torch
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from dqn_models.policy import Policy
from dqn_training.envs.make import environment_for
from dqn_training.evaluation.play import play
from dqn_training.export.onnx_graph import export
from dqn_training.learning.health import Health, warning
from dqn_training.learning.loop import train
from dqn_training.learning.state import make_state
from dqn_training.presets import preset_config
from dqn_training.seeds import first_seed
from dqn_training.tracking.curve import draw_health

PICTURE = Path(__file__).parent.parent / "docs/collapse.png"
SOLVED, FALLEN = 475, 250
EVERY, EPISODES, HORIZON = 2_000, 50, 20_000


class Run(NamedTuple):
    """One seed: greedy mean returns and signs, every 2,000 steps."""

    seed: int
    returns: list[float]
    history: list[Health]

    def warned(self) -> list[bool]:
        """At which evaluations there was a warning."""
        return [warning(self.history[: index + 1]) is not None for index in range(len(self.history))]

    def falls(self) -> list[int]:
        """Indices of the evaluations at which a solved policy had fallen."""
        found, solved = [], False
        for index, value in enumerate(self.returns):
            if solved and value < FALLEN:
                found.append(index)
            solved = value >= SOLVED or (solved and value >= FALLEN)
        return found


def main(seeds: int = 6, first: int = 100, env_steps: int = 120_000) -> None:
    """Args: how many seeds, the first of them, and environment steps of each."""
    torch.set_num_threads(1)
    table = Table("seed", "solved at", "falls", "foreseen", "steps ahead", "warnings", "false")
    runs = []
    for seed in range(first, first + seeds):
        run = _run(seed, env_steps)
        runs.append(run)
        table.add_row(*_row(run))
        Console(width=120).print(table)
    fallen = [run for run in runs if run.falls()]
    if fallen:
        _draw(fallen[0])


def _run(seed: int, env_steps: int) -> Run:
    config = dataclasses.replace(preset_config("tutorial"), seed=seed, max_episodes=None, total_env_steps=env_steps)
    environment = environment_for(config)
    state = make_state(config, environment, None)
    returns: list[float] = []
    for _ in train(config, environment, state):
        if state.env_steps >= EVERY * (len(returns) + 1):
            policy = Policy(export(state.agent.policy_network, environment))
            episodes = play(policy, environment, first_seed("selection", seed), EPISODES, config.episode_step_limit)
            returns.append(float(episodes.returns.mean()))
            state.monitor.record(state.env_steps, state.agent.q_network, state.replay)
    state.close()
    return Run(seed, returns, state.monitor.history)


def _row(run: Run) -> list[str]:
    warned, falls = run.warned(), run.falls()
    solved = next((str((index + 1) * EVERY) for index, value in enumerate(run.returns) if value >= SOLVED), "never")
    ahead, start = [], 0
    for fall in falls:
        before = [index for index in range(start, fall) if warned[index]]
        ahead.append((fall - before[0]) * EVERY if before else 0)
        start = fall
    steps = HORIZON // EVERY
    false = [index for index, is_warned in enumerate(warned) if is_warned and not _falls_soon(run, index, steps)]
    figures = (len(falls), sum(lead > 0 for lead in ahead), ", ".join(map(str, ahead)), sum(warned), len(false))
    return [str(run.seed), solved, *map(str, figures)]


def _falls_soon(run: Run, index: int, steps: int) -> bool:
    """Whether the policy is fallen at some evaluation of the next ones, or there are too few of them to tell."""
    following = run.returns[index : index + steps + 1]
    return any(value < FALLEN for value in following) or len(following) <= steps


def _draw(run: Run) -> None:
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    steps = [health.env_steps for health in run.history]
    above.plot(steps, run.returns, "o-", color="C3", ms=3)
    above.set_ylabel("greedy return")
    above.set_title(f"CartPole-v1, the tutorial's settings, seed {run.seed}; shaded: the monitor warns")
    draw_health(below, run.history)
    figure.savefig(PICTURE, dpi=100)


if __name__ == "__main__":
    tyro.cli(main)
