"""Trains CartPole with dqn-train and with its peers, in turns on one core; writes README's table and picture.

    .venv/bin/python benchmarks/training_peers.py --seeds 5 --cleanrl path/to/a/checkout/of/cleanrl

Each peer gets an environment of its own (in build/peers, or $PEERS), which is installed at the first run. CleanRL is no
package: without a checkout its row is left out. Seconds are those of training, with whatever evaluations a system makes
to choose a checkpoint; what counts as the result is the policy that it then has, played greedily with other seeds.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import documents
import matplotlib as mpl
import tyro
from peers.environments import peer_python, versions
from rich.console import Console
from rich.progress import track

HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs/training.png"
SOLVED = 499.5
SETTINGS_STEPS = "0"  # as many as the settings say


class Result(NamedTuple):
    """One seed of one system."""

    seconds: float
    env_steps: int
    mean: float
    min: float


class System(NamedTuple):
    """What is measured, and the packages whose versions are named."""

    name: str
    python: Path
    packages: tuple[str, ...]
    command: Callable[[int], Sequence[str]]  # of a seed


def main(
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
        seeds: how many seeds
        first: the first of them
        episodes: greedy episodes after each training (dqn-train always plays its preset's 1,000)
        cleanrl: a checkout of CleanRL
        core: the core that everything runs on
        save: write README's table and the picture
    """
    systems = _systems(episodes, cleanrl)
    results: dict[str, list[Result]] = {system.name: [] for system in systems}
    for seed in track(range(first, first + seeds), "seeds", console=Console(stderr=True)):
        for system in systems:  # in turns, so that all meet the same noise
            results[system.name].append(_run(system, seed, core))
            print(system.name, seed, results[system.name][-1], file=sys.stderr)
    markdown = _table(results)
    named = {f"{package}": number for system in systems for package, number in _versions(system).items()}
    text = f"{markdown}\n\n{documents.machine(named)}"
    print(text)
    if save:
        documents.write("README.md", "benchmarks/training_peers.py", text)
        _draw(results)


def _systems(episodes: int, cleanrl: Path | None) -> list[System]:
    ours = Path(sys.executable)
    play = str(episodes)
    script = str(HERE / "peers/train_stable_baselines.py")
    systems = [
        System("dqn-train, preset cartpole", ours, ("torch", "numpy", "gymnasium"), _dqn_train),
        System("the starting system", ours, (), lambda seed: [str(HERE / "peers/starting_system.py"), str(seed), play]),
    ]
    for name, library, package in (("Stable-Baselines3", "sb3", "stable-baselines3"), ("SBX (JAX)", "sbx", "sbx-rl")):
        python = peer_python(package, ["torch", package])
        words = [script, library, "CartPole-v1"]
        systems.append(
            System(
                f"{name}, RL Zoo's settings",
                python,
                (package,) if library == "sb3" else (package, "jax"),
                lambda seed, words=words: [*words, str(seed), SETTINGS_STEPS, play],  # type: ignore[misc]
            )
        )
    if cleanrl is not None:
        requirements = ["torch", "numpy<2", "gymnasium==0.29.1", "stable-baselines3==2.3.2", "tensorboard", "tyro"]
        python = peer_python("cleanrl", [*requirements, "setuptools<80"])
        words = [str(HERE / "peers/train_cleanrl.py"), str(cleanrl.absolute())]
        systems.append(
            System("CleanRL dqn.py, its defaults", python, (), lambda seed: [*words, str(seed), "500000", play])
        )
    return systems


def _dqn_train(seed: int) -> list[str]:
    return ["-c", "from training.cli import train; train()", "--preset=cartpole", f"--seed={seed}", "--json"]


def _run(system: System, seed: int, core: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"DQN_REPOSITORY": folder, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
        words = ["taskset", "-c", str(core), str(system.python), *system.command(seed)]
        done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    if done.returncode:
        raise RuntimeError(f"{system.name} failed with seed {seed}: {done.stderr[-2000:]}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "evaluation" not in facts:
        return Result(**facts)
    training, evaluation = facts["training"], facts["evaluation"]
    return Result(training["wall_seconds"], training["env_steps"], evaluation["mean"], evaluation["min"])


def _versions(system: System) -> dict[str, str]:
    return dict(versions(system.python, system.packages)) if system.packages else {}


def _table(results: dict[str, list[Result]]) -> str:
    ours = median(result.seconds for result in next(iter(results.values())))
    rows = []
    for name, runs in results.items():
        seconds = [run.seconds for run in runs]
        means = [run.mean for run in runs]
        rows.append(
            [
                name,
                f"{median(run.env_steps for run in runs):,.0f}",
                f"{median(seconds):.1f} s",
                f"{max(seconds):.1f} s",
                f"{median(seconds) / ours:.1f}",
                f"{sum(mean >= SOLVED for mean in means)} of {len(runs)}",
                f"{median(means):.1f}",
                f"{min(means):.1f}",
            ]
        )
    columns = ("system", "env steps", "median time", "worst", "ratio", "seeds solved", "median return", "worst")
    return documents.table(columns, rows)


def _draw(results: dict[str, list[Result]]) -> None:
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
    axes.set_xlabel(f"seconds of training on one core (dot: a seed; green: mean return of at least {SOLVED})")
    axes.set_title("CartPole-v1")
    axes.grid(visible=True, axis="x", which="both", alpha=0.3)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    tyro.cli(main)
