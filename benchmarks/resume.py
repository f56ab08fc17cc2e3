"""Kills a training run with SIGKILL at random instants, resumes it each time, and compares the model that it ends with.

.venv/bin/python benchmarks/resume.py --kills 20 --preset cartpole
.venv/bin/python benchmarks/resume.py --kills 20 --env-id Acrobot-v1

A run that ends before it was killed often enough is followed by another, until the kills are reached.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import tyro

BIN = Path(sys.executable).parent


class Outcome(NamedTuple):
    """What killing a run came to."""

    onnx: bytes
    kills: int
    resumed: int  # kills after which there was a checkpoint to go on from
    wall_seconds: float  # of the manifest


def main(
    kills: int = 20,
    preset: str | None = None,
    env_id: str | None = None,
    env_steps: int = 10_000,
    checkpoint_seconds: float = 0.2,
    seed: int = 0,
    flags: tuple[str, ...] = (),
) -> None:
    """Args: how many kills; what to train, and how long; how often checkpoints are written; further flags."""
    words = [f"--total-env-steps={env_steps}", "--report-episodes=20", "--eval-episodes=20", f"--seed={seed}", *flags]
    words += [f"--preset={preset}"] * (preset is not None) + [f"--env-id={env_id}"] * (env_id is not None)
    generator = random.Random(seed)  # noqa: S311  (instants, no secrets)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        first = _train(Path(folder) / "whole", words)
        seconds = time.monotonic() - began
        whole = _model(first)
        start_up = seconds - first["training"]["wall_seconds"]
        outcomes: list[Outcome] = []
        while (done := sum(outcome.kills for outcome in outcomes)) < kills:
            place = Path(folder) / f"killed-{len(outcomes)}"
            frequent = [*words, f"--checkpoint-seconds={checkpoint_seconds}"]
            lives = (_life(start_up, first["training"]["wall_seconds"], generator) for _ in range(kills - done))
            outcomes.append(_killed(place, frequent, lives))
            print(outcomes[-1]._replace(onnx=b""), file=sys.stderr)
    same = sum(outcome.onnx == whole for outcome in outcomes)
    resumed = sum(outcome.resumed for outcome in outcomes)
    seconds_of_parts = ", ".join(f"{outcome.wall_seconds:.1f} s" for outcome in outcomes)
    print(f"{preset or env_id or 'cartpole'}, {env_steps:,} environment steps, seed {seed}")
    print(f"  {sum(outcome.kills for outcome in outcomes)} kills, {resumed} of them after a first checkpoint")
    print(f"  {len(outcomes)} runs to the end, {same} with a model.onnx byte-identical to the uninterrupted run's")
    print(f"  training {first['training']['wall_seconds']:.1f} s uninterrupted, {seconds_of_parts} in parts")
    sys.exit(same != len(outcomes))


def _life(start_up: float, training: float, generator: random.Random) -> float:
    """Seconds until the next kill: most of a start, and a tenth of the training on average, to fit many into a run."""
    return start_up * generator.uniform(0.3, 1.2) + training * generator.uniform(0, 0.2)


def _killed(place: Path, words: list[str], lives: Iterable[float]) -> Outcome:
    """A run that is killed after each life, and then left to end."""
    kills = resumed = 0
    for life in lives:
        process = subprocess.Popen(_command(place, words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _, errors = process.communicate(timeout=life)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            resumed += (place / "run" / "checkpoint").exists()
        else:
            if process.returncode:
                raise SystemExit(errors.decode())
            break
    manifest = _train(place, words)
    return Outcome(_model(manifest), kills, resumed, manifest["training"]["wall_seconds"])


def _train(place: Path, words: list[str]) -> Any:
    done = subprocess.run([*_command(place, words), "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout) | {"place": place}


def _command(place: Path, words: list[str]) -> list[str]:
    """The command that begins the run, or goes on with it."""
    run = place / "run"
    if (run / "run.json").exists():
        frequent = [word for word in words if word.startswith("--checkpoint-seconds")]
        return [str(BIN / "dqn-train"), f"--resume={run}", *frequent]
    return [str(BIN / "dqn-train"), f"--run-dir={run}", f"--repository={place / 'store'}", *words]


def _model(manifest: Any) -> bytes:
    path: Path = manifest["place"] / "store" / manifest["model"] / str(manifest["version"]) / "model.onnx"
    return path.read_bytes()


if __name__ == "__main__":
    tyro.cli(main)
