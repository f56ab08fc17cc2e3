"""Compares training with dqn-train and its peers, interleaved on one core; writes a table and a plot.

    .venv/bin/python benchmarks/training_peers.py --cleanrl path/to/a/checkout/of/cleanrl
    .venv/bin/python benchmarks/training_peers.py --task minatar --seeds 3

CartPole results go to README.md and docs/training.png; those of MinAtar's Breakout, with equal steps for all systems,
to docs/training.md. Each peer has its own virtual environment (in ~/.cache/dqn-policy-server/peers, or $PEERS), which
is installed at the first run. CleanRL is not a package: without a checkout its row is left out. Seconds are those of
training, including any evaluations that a system uses to select a checkpoint; its result is the final policy, played
greedily with other seeds.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

import documents
import matplotlib as mpl
import tyro
from peers.trainers import Trainer, on_cartpole, on_minatar
from rich.console import Console
from rich.progress import track

from dqn_training.presets import preset_config

PICTURE = documents.ROOT / "docs/training.png"
SOLVED = 499.5  # on CartPole


class Result(NamedTuple):
    """One seed of one system."""

    seconds: float
    env_steps: int
    mean: float
    min: float


Results = Mapping[str, Sequence[Result]]


def main(
    task: Literal["cartpole", "minatar"] = "cartpole",
    seeds: int = 5,
    first: int = 0,
    episodes: int = 100,
    cleanrl: Path | None = None,
    core: int = 1,
    *,
    save: bool = True,
) -> None:
    """Measures all systems.

    Args:
        task: what to train on
        seeds: number of seeds
        first: first seed
        episodes: greedy episodes after each training (dqn-train always plays its preset's report_episodes)
        cleanrl: a checkout of CleanRL
        core: CPU core to run everything on
        save: write the table and the plot
    """
    if task == "cartpole":
        trainers = on_cartpole(episodes, cleanrl)
    else:
        trainers = on_minatar(episodes, preset_config("minatar-breakout").total_env_steps)
    results: dict[str, list[Result]] = {trainer.name: [] for trainer in trainers}
    for seed in track(range(first, first + seeds), "seeds", console=Console(stderr=True)):
        for trainer in trainers:  # interleaved, so that noise affects all alike
            results[trainer.name].append(_run(trainer, seed, core))
            print(trainer.name, seed, results[trainer.name][-1], file=sys.stderr)
    named = {package: number for trainer in trainers for package, number in trainer.versions().items()}
    text = f"{_table(results, SOLVED if task == 'cartpole' else None)}\n\n{documents.machine(named)}"
    print(text)
    if save and task == "cartpole":
        documents.write("README.md", "benchmarks/training_peers.py", text)
        _draw(results)
    elif save:
        documents.write("docs/training.md", "benchmarks/training_peers.py --task minatar", text)


def _run(trainer: Trainer, seed: int, core: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        own = {"DQN_REPOSITORY": folder, "PYTHONPATH": str(documents.ROOT), "OMP_NUM_THREADS": "1"}
        words = ["taskset", "-c", str(core), str(trainer.python), *trainer.words(seed)]
        done = subprocess.run(words, capture_output=True, text=True, env=os.environ | own, cwd=folder, check=False)
    if done.returncode:
        raise RuntimeError(f"{trainer.name} failed with seed {seed}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "evaluation" not in result:
        return Result(**result)
    training, evaluation = result["training"], result["evaluation"]
    return Result(training["wall_seconds"], training["env_steps"], evaluation["mean"], evaluation["min"])


def _table(results: Results, solved: float | None) -> str:
    """A row for each system, ours first; no column of solved seeds without `solved`."""
    ours = median(result.seconds for result in next(iter(results.values())))
    rows = []
    for name, runs in results.items():
        seconds, means = [run.seconds for run in runs], [run.mean for run in runs]
        times = [f"{median(seconds):.1f} s", f"{max(seconds):.1f} s", f"{median(seconds) / ours:.1f}"]
        count = [] if solved is None else [f"{sum(mean >= solved for mean in means)} of {len(runs)}"]
        returns = [f"{median(means):.1f}", f"{min(means):.1f}"]
        rows.append([name, f"{median(run.env_steps for run in runs):,.0f}", *times, *count, *returns])
    counted = () if solved is None else ("seeds solved",)
    columns = ("system", "env steps", "median time", "worst", "ratio", *counted, "median return", "worst")
    return documents.table(columns, rows)


def _draw(results: Results) -> None:
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  (after the choice of its backend)

    figure, axes = plt.subplots(figsize=(9, 0.8 + 0.6 * len(results)), layout="constrained")
    for place, runs in enumerate(results.values()):
        for solved, colour, label in ((True, "tab:green", "solved"), (False, "tab:red", "not solved")):
            seconds = [run.seconds for run in runs if (run.mean >= SOLVED) is solved]
            axes.plot(seconds, [place] * len(seconds), "o", color=colour, alpha=0.6, label=label if not place else None)
        axes.plot(median(run.seconds for run in runs), place, "|", color="black", markersize=18)
    axes.set_yticks(range(len(results)), list(results))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(f"seconds of training on one core (one dot per seed; green: mean return of at least {SOLVED})")
    axes.set_title("CartPole-v1")
    axes.grid(visible=True, axis="x", which="both", alpha=0.3)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    tyro.cli(main)
