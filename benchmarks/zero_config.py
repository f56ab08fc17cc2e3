"""Fifteen environments without a flag: dqn-train beside the defaults of its peers, with as many environment steps.

    .venv/bin/python benchmarks/zero_config.py --seeds 5 --cleanrl-checkout path/to/a/checkout/of/cleanrl
    .venv/bin/python benchmarks/zero_config.py --only-report

A run is one JSON line in the file of results; those that are there are not run again, so that it can be stopped and
continued. Every system has an environment of its own, made at the first run or named by a flag (`--sb3 PYTHON`), and
plays 100 greedy episodes from the same start seeds with the policy that its training ended with. Ours runs with the
Python of this process or `--ours`, which needs the packages of the environments (`THIRD_PARTY` below).
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
import zero_report
from zero_tasks import TASKS, THIRD_PARTY, ZOO, Task

from dqn_testing.peers import peer_python
from dqn_training.config import DQNConfig

_HERE = Path(__file__).parent
_SCRIPT = str(_HERE / "peers/zero_train.py")
EPISODES = 100
LIMIT = 1_000  # steps of an episode that counts, for environments without a limit of their own
_TIMEOUT = 7_200  # seconds
_LIBRARIES = {
    "sb3": ["torch", "stable-baselines3==2.9.2"],
    "sbx": ["torch", "sbx-rl", "stable-baselines3==2.9.2"],
    "cleanrl": ["torch", "numpy<2", "gymnasium==0.29.1", "stable-baselines3==2.3.2", "tensorboard", "tyro", "Box2D"],
}


@dataclass(frozen=True)
class Options:
    """Trains what is missing, and writes the report."""

    seeds: int = 5
    """How many seeds."""
    first: int = 0
    """The first of them; those from 100 on are for choosing settings."""
    systems: tuple[str, ...] = ("random", "ours", "sb3", "zoo", "sbx", "cleanrl")
    """Which systems to train."""
    only: tuple[str, ...] = ()
    """Names of environments to train in; by default all."""
    results: Path = Path("docs/zero_config.jsonl")
    """File of results."""
    report: Path = Path("docs/zero_config.md")
    """The page, with its picture beside it."""
    ours: Path = Path(sys.executable)
    """Python that has dqn-policy-server."""
    sb3: Path | None = None
    """Python that has Stable-Baselines3 2.9; by default one is made."""
    sbx: Path | None = None
    """Python that has SBX."""
    cleanrl: Path | None = None
    """Python that has what CleanRL's dqn.py needs."""
    cleanrl_checkout: Path | None = None
    """A checkout of CleanRL, which is no package; without it its rows are left out."""
    contended: bool = False
    """Say in each line that other work ran beside it, so that its CPU seconds are too many."""
    only_report: bool = False
    """Train nothing."""


def main(options: Options) -> None:
    """Seeds come outermost, so that every system has as many runs at any time."""
    if not options.only_report:
        for seed in range(options.first, options.first + options.seeds):
            for name, task in TASKS.items():
                for system in options.systems:
                    if not options.only or name in options.only:
                        _run_once(options, system, name, task, seed)
    zero_report.write(options.report, read(options.results))


def read(results: Path) -> list[dict[str, Any]]:
    """The lines of a file of results."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _run_once(options: Options, system: str, name: str, task: Task, seed: int) -> None:
    """Trains and plays, unless the line is there already or the system has nothing for this environment."""
    skipped = (
        (system == "zoo" and name not in ZOO)
        or (system == "cleanrl" and options.cleanrl_checkout is None)
        or (system == "random" and seed != options.first)
    )
    key = {"system": system, "environment": name, "steps": task.steps, "seed": seed}
    if skipped or any(key.items() <= line.items() for line in read(options.results)):
        return
    try:
        facts = _train(options, system, name, task, seed)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        last = (str(error.stderr or "").strip().splitlines() or [str(error)])[-1]
        facts = {"error": last[:300]}
    line = key | facts | {"contended": options.contended}
    with options.results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(name, system, seed, dict(facts), file=sys.stderr)


def _train(options: Options, system: str, name: str, task: Task, seed: int) -> Mapping[str, Any]:
    words = [str(seed), str(task.steps), str(EPISODES), str(LIMIT)]
    if system == "ours":
        return _train_ours(options, task, words)
    if system == "random":
        return _call([options.ours, _SCRIPT, "random", task.env_id, *words])
    if system == "cleanrl":
        env_id = task.older_id or task.env_id
        return _call([_python(options, "cleanrl"), _SCRIPT, system, env_id, *words, options.cleanrl_checkout])
    library = "sbx" if system == "sbx" else "sb3"
    settings = json.dumps(ZOO[name] if system == "zoo" else {})
    return _call([_python(options, library), _SCRIPT, library, task.env_id, *words, settings])


def _train_ours(options: Options, task: Task, words: Sequence[str]) -> Mapping[str, Any]:
    """The command as a user types it, whole: imports, evaluations, report, export, publication."""
    seed, steps = words[:2]
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = "from dqn_training.cli.main import train; train()"
        flags = [f"--env-id={task.env_id}", f"--seed={seed}", f"--total-env-steps={steps}", "--json"]
        place = [f"--repository={folder}/store", f"--run-dir={folder}/run"]
        manifest = _call([options.ours, "-c", code, *flags, *place])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        version = Path(folder, "store", manifest["model"], str(manifest["version"]))
        facts = _call([options.ours, _SCRIPT, "ours", task.env_id, *words, version])
    config, defaults = manifest["training"]["config"], DQNConfig().to_json()
    settings = {key: value for key, value in config.items() if value != defaults.get(key) and value != []}
    preset = manifest["training"]["preset"]
    return {**facts, "cpu_seconds": round(cpu_seconds, 1), "preset": preset, "settings": settings}


def _call(command: Sequence[str | Path | None]) -> dict[str, Any]:
    """The JSON line that a command prints last. Raises subprocess.CalledProcessError and TimeoutExpired."""
    own = {
        "PYTHONPATH": str(_HERE / "peers"),
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        "JAX_PLATFORMS": "cpu",
    }
    words = [str(word) for word in command]
    environment = os.environ | own
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True, timeout=_TIMEOUT)
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def _python(options: Options, library: str) -> Path:
    """The Python that a flag names, or one with the library and the environments, which is installed if need be."""
    named: Path | None = getattr(options, library)
    return named or peer_python(f"zero-{library}", [*_LIBRARIES[library], *THIRD_PARTY])


if __name__ == "__main__":
    main(tyro.cli(Options))
