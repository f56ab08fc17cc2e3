"""Learning from pixels compared with Stable-Baselines3's DQN: environment steps per second on one core, interleaved.

    .venv/bin/python benchmarks/pixels.py --task breakout
    .venv/bin/python benchmarks/pixels.py --task minatar --rounds 1 --env-steps 100000 --episodes 100

Both take the same number of gradient steps on batches of the same size, in the same number of the same environments.
Time is CPU time from the first gradient step on, so that neither startup nor other processes count. dqn-train runs
without evaluations, as Stable-Baselines3 has none. Stable-Baselines3's DQN is plain; double DQN requires a third pass
through the network, so dqn-train is measured with and without it. Stable-Baselines3 gets its own virtual environment at
the first run (see benchmarks/training_peers.py), or uses that of the Python given by `--sb3`.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any, Literal

import documents
import tyro

from dqn_testing.peers import peer_python, versions
from dqn_training.config import DQNConfig
from dqn_training.presets import preset_config

_PEERS = Path(__file__).parent / "peers"
_PRESETS = {"breakout": "breakout", "minatar": "minatar-breakout"}
_PACKAGES = {
    "breakout": ["torch", "stable-baselines3", "ale-py", "opencv-python-headless"],
    "minatar": ["torch", "stable-baselines3", "minatar"],
}
_PLAIN, _DOUBLE, _SB3 = "ours, plain DQN", "ours, double DQN", "Stable-Baselines3, plain DQN"


def main(
    task: Literal["breakout", "minatar"] = "breakout",
    rounds: int = 3,
    env_steps: int = 3_000,
    episodes: int = 0,
    core: int = 1,
    sb3: Path | None = None,
    *,
    save: bool = True,
) -> None:
    """Measures both.

    Args:
        task: Atari's Breakout, or MinAtar's
        rounds: number of runs of each system, with seeds from 0 on
        env_steps: environment steps per run
        episodes: greedy episodes after each run
        core: CPU core to run everything on
        sb3: a Python with Stable-Baselines3 and the task's environment
        save: write the table in docs/training.md
    """
    try:
        python = sb3 or peer_python(f"pixels-{task}", _PACKAGES[task])
        named = versions(python, ["torch", "stable-baselines3", "gymnasium"])
    except subprocess.CalledProcessError as error:
        install = f"python -m venv sb3 && sb3/bin/pip install {' '.join(_PACKAGES[task])}"
        print(f"Skipped: no Stable-Baselines3 ({error}). Install it with: {install}; then add --sb3 sb3/bin/python.")
        return
    config = dataclasses.replace(preset_config(_PRESETS[task]), total_env_steps=env_steps, double_dqn=False)
    found: dict[str, list[dict[str, Any]]] = {_PLAIN: [], _DOUBLE: [], _SB3: []}
    for seed in range(rounds):
        plain = dataclasses.replace(config, seed=seed)
        found[_PLAIN].append(_ours(plain, episodes, core))
        found[_SB3].append(_run([python, _PEERS / "pixels_stable_baselines.py", _settings(plain, episodes)], core))
        found[_DOUBLE].append(_ours(dataclasses.replace(plain, double_dqn=True), episodes, core))
        print(seed, {name: runs[-1] for name, runs in found.items()}, file=sys.stderr)
    text = f"{_table(found)}\n\n{documents.machine(named)}"
    print(text)
    if save:
        documents.write("docs/training.md", f"benchmarks/pixels.py --task {task}", text)


def _ours(config: DQNConfig, episodes: int, core: int) -> dict[str, Any]:
    script = _PEERS / "pixels_dqn_train.py"
    return _run([sys.executable, script, json.dumps(config.to_json()), str(episodes)], core)


def _settings(config: DQNConfig, episodes: int) -> str:
    return json.dumps(config.to_json() | {"episodes": episodes})


def _run(words: list[str | Path], core: int) -> dict[str, Any]:
    command = ["taskset", "-c", str(core), *map(str, words)]
    settings = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=settings, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


def _table(found: dict[str, list[dict[str, Any]]]) -> str:
    peer = [run["speed"] for run in found[_SB3]]
    rows = []
    for name, runs in found.items():
        ratios = [run["speed"] / other for run, other in zip(runs, peer, strict=True)]
        means = [run["mean"] for run in runs if run["mean"] is not None]
        returns = f"{median(means):.1f} ({min(means):.1f} to {max(means):.1f})" if means else "not played"
        steps = f"{runs[0]['gradient_steps']:,}"
        rows.append([name, steps, f"{median(run['speed'] for run in runs):,.0f}", f"{median(ratios):.2f}", returns])
    columns = ("system", "gradient steps", "environment steps per second", "ratio", "mean return, greedy")
    return documents.table(columns, rows)


if __name__ == "__main__":
    tyro.cli(main)
