"""Fifteen environments without flags: dqn-train compared with the defaults of its peers, with equal environment steps.

    .venv/bin/python benchmarks/zero_config.py --seeds 5 --cleanrl-checkout path/to/a/checkout/of/cleanrl
    .venv/bin/python benchmarks/zero_config.py --only-report

Each run is one JSON line in the results file; existing runs are not repeated, so the benchmark can be interrupted and
resumed. Every system has its own virtual environment, created at the first run or given by a flag (`--sb3 PYTHON`), and
plays 100 greedy episodes with its final policy, with the same seeds for all. dqn-train runs with this Python or the one
given by `--ours`, which needs the environments' packages (`THIRD_PARTY` in zero_tasks.py).
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
LIMIT = 1_000  # maximum steps of an evaluation episode, for environments without a time limit
_TIMEOUT = 7_200  # seconds
_LIBRARIES = {
    "sb3": ["torch", "stable-baselines3==2.9.2"],
    "sbx": ["torch", "sbx-rl", "stable-baselines3==2.9.2"],
    "cleanrl": ["torch", "numpy<2", "gymnasium==0.29.1", "stable-baselines3==2.3.2", "tensorboard", "tyro", "Box2D"],
}


@dataclass(frozen=True)
class Options:
    """Trains missing runs and writes the report."""

    seeds: int = 5
    """Number of seeds."""
    first: int = 0
    """First seed; seeds from 100 on are reserved for choosing settings."""
    systems: tuple[str, ...] = ("random", "ours", "sb3", "zoo", "sbx", "cleanrl")
    """Systems to train."""
    only: tuple[str, ...] = ()
    """Names of environments to train in; default: all."""
    results: Path = Path("docs/zero_config.jsonl")
    """File of results, JSON Lines."""
    report: Path = Path("docs/zero_config.md")
    """Page to write, with its plot next to it."""
    ours: Path = Path(sys.executable)
    """Python with dqn-policy-server."""
    sb3: Path | None = None
    """Python with Stable-Baselines3 2.9; default: a virtual environment is created."""
    sbx: Path | None = None
    """Python with SBX; default: a virtual environment is created."""
    cleanrl: Path | None = None
    """Python with the requirements of CleanRL's dqn.py; default: a virtual environment is created."""
    cleanrl_checkout: Path | None = None
    """A checkout of CleanRL, which is not a package; without it CleanRL is left out."""
    contended: bool = False
    """Mark the runs as measured while other work ran on the machine, which inflates their CPU seconds."""
    only_report: bool = False
    """Only write the report."""


def main(options: Options) -> None:
    """Trains seed by seed, so that all systems have the same number of runs at any time."""
    if not options.only_report:
        for seed in range(options.first, options.first + options.seeds):
            for name, task in TASKS.items():
                for system in options.systems:
                    if not options.only or name in options.only:
                        _run_once(options, system, name, task, seed)
    zero_report.write(options.report, read(options.results))


def read(results: Path) -> list[dict[str, Any]]:
    """The lines of a results file."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _run_once(options: Options, system: str, name: str, task: Task, seed: int) -> None:
    """Trains and plays, unless the run exists already or the system does not support this environment."""
    skipped = (
        (system == "zoo" and name not in ZOO)
        or (system == "cleanrl" and options.cleanrl_checkout is None)
        or (system == "random" and seed != options.first)
    )
    key = {"system": system, "environment": name, "steps": task.steps, "seed": seed}
    if skipped or any(key.items() <= line.items() for line in read(options.results)):
        return
    try:
        result = _train(options, system, name, task, seed)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        last = (str(error.stderr or "").strip().splitlines() or [str(error)])[-1]
        result = {"error": last[:300]}
    line = {**key, **result, "contended": options.contended}
    with options.results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(name, system, seed, dict(result), file=sys.stderr)


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
    """Runs the complete command as a user would: imports, evaluations, final evaluation, export, publication."""
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
        result = _call([options.ours, _SCRIPT, "ours", task.env_id, *words, version])
    config, defaults = manifest["training"]["config"], DQNConfig().to_json()
    settings = {key: value for key, value in config.items() if value != defaults.get(key) and value != []}
    preset = manifest["training"]["preset"]
    return {**result, "cpu_seconds": round(cpu_seconds, 1), "preset": preset, "settings": settings}


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
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _python(options: Options, library: str) -> Path:
    """The Python given by a flag, or one with the library and the environments, installed if necessary."""
    named: Path | None = getattr(options, library)
    return named or peer_python(f"zero-{library}", [*_LIBRARIES[library], *THIRD_PARTY])


if __name__ == "__main__":
    main(tyro.cli(Options))
