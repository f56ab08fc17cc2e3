"""Does the collapse monitor predict collapses? The preset `tutorial` keeps training long after it has solved CartPole.

    .venv/bin/python benchmarks/collapse.py --seeds 6

A collapse is a greedy evaluation below 250 after one of at least 475; it is predicted if any evaluation since the last
collapse came with a warning. A warning is false if no collapse follows within 20,000 steps. The plot in
docs/collapse.png shows the first seed that collapses.
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
from dqn_training.evaluation.play import play, step_limit
from dqn_training.export.onnx_graph import export
from dqn_training.learning.health import Health, warning
from dqn_training.learning.loop import train
from dqn_training.learning.state import make_state
from dqn_training.presets import preset_config
from dqn_training.seeds import first_seed
from dqn_training.tracking.curve import draw_health

PICTURE = Path(__file__).parent.parent / "docs/collapse.png"
SOLVED, COLLAPSED = 475, 250
EVERY, EPISODES, HORIZON = 2_000, 50, 20_000


class Run(NamedTuple):
    """One seed: greedy mean returns and indicators, every 2,000 steps."""

    seed: int
    returns: list[float]
    history: list[Health]

    def warned(self) -> list[bool]:
        """Whether there was a warning, for each evaluation."""
        return [warning(self.history[: index + 1]) is not None for index in range(len(self.history))]

    def collapses(self) -> list[int]:
        """Indices of the evaluations at which a solved policy had collapsed."""
        found, solved = [], False
        for index, value in enumerate(self.returns):
            if solved and value < COLLAPSED:
                found.append(index)
            solved = value >= SOLVED or (solved and value >= COLLAPSED)
        return found


def main(seeds: int = 6, first: int = 100, env_steps: int = 120_000) -> None:
    """Trains and reports.

    Args:
        seeds: number of seeds
        first: first seed
        env_steps: environment steps per seed
    """
    torch.set_num_threads(1)
    table = Table("seed", "solved at", "collapses", "predicted", "steps ahead", "warnings", "false")
    runs = []
    for seed in range(first, first + seeds):
        run = _run(seed, env_steps)
        runs.append(run)
        table.add_row(*_row(run))
        Console(width=120).print(table)
    collapsed = [run for run in runs if run.collapses()]
    if collapsed:
        _draw(collapsed[0])


def _run(seed: int, env_steps: int) -> Run:
    config = dataclasses.replace(preset_config("tutorial"), seed=seed, max_episodes=None, total_env_steps=env_steps)
    environment = environment_for(config)
    limit = step_limit(config.episode_step_limit, environment)
    state = make_state(config, environment, None)
    returns: list[float] = []
    for _ in train(config, environment, state):
        if state.env_steps >= EVERY * (len(returns) + 1):
            policy = Policy(export(state.agent.policy_network, environment))
            episodes = play(
                policy,
                environment,
                first_seed("selection", seed),
                EPISODES,
                limit,
            )
            returns.append(float(episodes.returns.mean()))
            state.monitor.record(state.env_steps, state.agent.q_network, state.replay)
    state.close()
    return Run(seed, returns, state.monitor.history)


def _row(run: Run) -> list[str]:
    warned, collapses = run.warned(), run.collapses()
    solved = next((str((index + 1) * EVERY) for index, value in enumerate(run.returns) if value >= SOLVED), "never")
    ahead, start = [], 0
    for collapse in collapses:
        before = [index for index in range(start, collapse) if warned[index]]
        ahead.append((collapse - before[0]) * EVERY if before else 0)
        start = collapse
    steps = HORIZON // EVERY
    false = [index for index, is_warned in enumerate(warned) if is_warned and not _collapses_soon(run, index, steps)]
    figures = (len(collapses), sum(lead > 0 for lead in ahead), ", ".join(map(str, ahead)), sum(warned), len(false))
    return [str(run.seed), solved, *map(str, figures)]


def _collapses_soon(run: Run, index: int, steps: int) -> bool:
    """Whether the policy has collapsed at one of the next evaluations, or there are too few of them to tell."""
    following = run.returns[index : index + steps + 1]
    return any(value < COLLAPSED for value in following) or len(following) <= steps


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
