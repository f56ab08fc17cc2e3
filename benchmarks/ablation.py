"""What each member of the algorithm family adds to plain DQN, over seeds and environments, as a plot and a table.

.venv/bin/python benchmarks/ablation.py --seeds 10

Runs are appended to a JSON Lines file, and existing runs are not repeated, so the benchmark can be interrupted and
resumed. A run's score is the mean of its greedy evaluations over the whole budget, which rewards fast learning as well
as the final policy; 0 is a random policy and 1 the best usual return. Scores over all environments are summarized by
their interquartile mean with stratified bootstrap intervals (Agarwal et al., 2021).
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import tyro
from numpy.typing import NDArray

from dqn_testing.intervals import interquartile_interval
from dqn_training.config import DQNConfig
from dqn_training.envs.make import environment_for
from dqn_training.run.run import Run

mpl.use("Agg")
from matplotlib import pyplot as plt

PLAIN = DQNConfig(
    hidden_sizes=(64, 64),
    layer_norm=False,
    learning_starts=500,
    batch_size=64,
    n_step=1,
    double_dqn=False,
    tau=0.01,
    policy_weights="learned",
    atoms=21,
    rollout_steps=16,
    rollout_epochs=4,
    eval_episodes=10,
    eval_fraction=1_000.0,
    episode_step_limit=500,
)
"""Plain DQN; each variant changes only what it is named after."""

VARIANTS: dict[str, dict[str, Any]] = {
    "DQN": {},
    "+ double": {"double_dqn": True},
    "+ dueling": {"dueling": True},
    "+ 3-step": {"n_step": 3},
    "+ prioritised": {"prioritized": True},
    "+ noisy": {"noisy": True},
    "+ C51": {"distribution": "c51"},
    "+ QR": {"distribution": "quantile"},
    "+ layer norm": {"layer_norm": True},
    "Rainbow": {
        "double_dqn": True,
        "dueling": True,
        "n_step": 3,
        "prioritized": True,
        "noisy": True,
        "distribution": "c51",
    },
    "PQN": {"algorithm": "pqn", "layer_norm": True},
}


class Task(NamedTuple):
    """An environment, with the return of a random policy and the best usual return."""

    random: float
    best: float
    settings: dict[str, Any]


TASKS = {
    "CartPole-v1": Task(22.0, 500.0, {"total_env_steps": 45_000, "v_min": 0.0, "v_max": 100.0}),
    "Acrobot-v1": Task(-500.0, -75.0, {"total_env_steps": 30_000, "v_min": -100.0, "v_max": 0.0}),
    "LunarLander-v3": Task(-180.0, 250.0, {"total_env_steps": 45_000, "v_min": -100.0, "v_max": 100.0}),
}
_CHOICES = "## What general chooses"  # from here on the page is written by benchmarks/choices.py
_EVALUATIONS = 10
_ENOUGH = 10
_UNFINISHED = "**This is unfinished**: with fewer than ten seeds it only shows the output and proves nothing."

_PAGE = """# What each member of the family adds to plain DQN

`.venv/bin/python benchmarks/ablation.py` trains each variant with the same seeds in three environments.
Environment steps: {budgets}.
The network has two hidden layers of 64 units, batches have 64 transitions, and there is a gradient step for every four
environment steps; PQN has its own schedule. Nothing was tuned for any variant.
Seeds per variant and environment: {seeds}.{unfinished}

A run's score is the mean of its {evaluations} greedy evaluations over the budget, which rewards fast learning as well
as the final policy; 0 is a random policy, 1 about the best return. The table has interquartile means and, in brackets,
95 % intervals from a bootstrap stratified by environment (Agarwal et al., 2021). Such small budgets show what learns
quickly, not what is best in the end, and differences within the intervals mean nothing.

![scores]({plot})

{table}
"""


def main(
    seeds: int = 10,
    first: int = 0,
    steps: float = 1.0,
    results: Path = Path("docs/ablation.jsonl"),
    report: Path = Path("docs/ablation.md"),
    *,
    only_report: bool = False,
) -> None:
    """Trains missing runs and writes the report.

    Args:
        seeds: number of seeds
        first: first seed; several processes with different seeds may share a results file
        steps: factor for the step budgets
        results: file of results, JSON Lines
        report: page to write, with its plot next to it
        only_report: only write the report
    """
    if not only_report:
        for seed in range(first, first + seeds):
            for env_id in TASKS:
                for variant in VARIANTS:
                    _run_once(results, env_id, variant, seed, steps)
    scores = _scores(results, steps)
    if "DQN" not in scores:
        print("Plain DQN has not been run in every environment yet, so there is nothing to compare with.")
        return
    plot = report.with_suffix(".png")
    _draw(scores, plot)
    before, heading, after = report.read_text().partition(_CHOICES) if report.exists() else ("", "", "")
    kept = f"\n{heading}{after}" if before else ""
    report.write_text(_report(scores, steps, plot.name) + kept)
    print(_table(scores))


def _config(env_id: str, variant: str, seed: int, steps: float) -> DQNConfig:
    settings = TASKS[env_id].settings | {"env_id": env_id, "seed": seed}
    budget = round(settings.pop("total_env_steps") * steps)
    return dataclasses.replace(
        PLAIN,
        **settings,
        **VARIANTS[variant],
        total_env_steps=budget,
        epsilon_decay_steps=budget / 3,
        eval_every=budget // _EVALUATIONS,
        replay_capacity=budget + 1_000,
    )


def _run_once(results: Path, env_id: str, variant: str, seed: int, steps: float) -> None:
    """Trains one run and appends its line, unless it exists already."""
    key = {"env_id": env_id, "variant": variant, "seed": seed, "steps": steps}
    if any(key.items() <= line.items() for line in _read(results)):
        return
    config = _config(env_id, variant, seed, steps)
    started = time.process_time()
    candidate = Run(config, "ablation", environment_for(config)).train()
    line = key | {
        "cpu_seconds": round(time.process_time() - started, 2),
        "evaluations": [[score.env_steps, score.mean] for score in candidate.scores],
    }
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(f"{env_id} {variant} seed {seed}: {candidate.scores[-1].mean:.1f}", flush=True)


def _read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _scores(results: Path, steps: float) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Scores [runs] of the existing runs by variant and environment."""
    found: dict[str, dict[str, list[float]]] = {}
    for line in _read(results):
        if line["steps"] == steps:
            task = TASKS[line["env_id"]]
            mean = np.mean([value for _, value in line["evaluations"]])
            score = (mean - task.random) / (task.best - task.random)
            found.setdefault(line["variant"], {}).setdefault(line["env_id"], []).append(float(score))
    return {
        variant: {env_id: np.array(runs) for env_id, runs in found[variant].items()}
        for variant in VARIANTS
        if len(found.get(variant, {})) == len(TASKS)
    }


def _draw(scores: dict[str, dict[str, NDArray[np.float64]]], path: Path) -> None:
    """Plots the interquartile mean of each variant over all environments and in each of them."""
    figure, axes = plt.subplots(1, len(TASKS) + 1, sharey=True, figsize=(13, 4.5), layout="constrained")
    names = list(scores)
    for axis, title in zip(axes, ["all", *TASKS], strict=True):
        for place, name in enumerate(names):
            runs = scores[name].values() if title == "all" else [scores[name][title]]
            mean, low, high = interquartile_interval(list(runs))
            colour = "C3" if name == "DQN" else "C0"
            axis.plot([low, high], [place, place], color=colour, linewidth=6, alpha=0.35, solid_capstyle="butt")
            axis.plot([mean], [place], "o", color=colour)
        axis.axvline(interquartile_interval(_tasks(scores, title))[0], color="C3", linewidth=0.8, linestyle=":")
        axis.set_title(title if title != "all" else "all environments", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    figure.supxlabel("score: interquartile mean with 95 % interval (0 random, 1 best)", fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _tasks(scores: dict[str, dict[str, NDArray[np.float64]]], title: str) -> list[NDArray[np.float64]]:
    return list(scores["DQN"].values()) if title == "all" else [scores["DQN"][title]]


def _report(scores: dict[str, dict[str, NDArray[np.float64]]], steps: float, plot: str) -> str:
    """The page: method, plot and table."""
    budgets = ", ".join(f"{env_id} {task.settings['total_env_steps'] * steps:,.0f}" for env_id, task in TASKS.items())
    counts = sorted({len(runs) for tasks in scores.values() for runs in tasks.values()})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    unfinished = "" if counts[0] >= _ENOUGH else f" {_UNFINISHED}"
    return _PAGE.format(
        budgets=budgets,
        seeds=seeds,
        unfinished=unfinished,
        evaluations=_EVALUATIONS,
        plot=plot,
        table=_table(scores),
    )


def _table(scores: dict[str, dict[str, NDArray[np.float64]]]) -> str:
    """Markdown: a row for each variant."""
    lines = [f"| variant | all | {' | '.join(TASKS)} | runs |", "| --- " * (len(TASKS) + 3) + "|"]
    for name, tasks in scores.items():
        cells = []
        for runs in (list(tasks.values()), *([one] for one in tasks.values())):
            mean, low, high = interquartile_interval(runs)
            cells.append(f"{mean:.2f} ({low:.2f} to {high:.2f})")
        count = sum(len(one) for one in tasks.values())
        lines.append(f"| {name} | {' | '.join(cells)} | {count} |")
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(main)
