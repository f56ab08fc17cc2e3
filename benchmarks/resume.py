"""Kills a training run with SIGKILL at random instants, resumes it each time, and compares the final model.

.venv/bin/python benchmarks/resume.py --kills 20 --preset cartpole
.venv/bin/python benchmarks/resume.py --kills 20 --env-id Acrobot-v1

If a run ends before it has been killed often enough, another one follows, until the number of kills is reached.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import tyro

BIN = Path(sys.executable).parent


class Outcome(NamedTuple):
    """The result of a run that was killed repeatedly."""

    onnx: bytes
    kills: int
    resumed: int  # kills after which there was a checkpoint to resume from
    wall_seconds: float  # from the manifest


def main(
    kills: int = 20,
    preset: str | None = None,
    env_id: str | None = None,
    env_steps: int = 10_000,
    checkpoint_seconds: float = 0.2,
    seed: int = 0,
    flags: tuple[str, ...] = (),
) -> None:
    """Kills, resumes and compares.

    Args:
        kills: number of kills
        preset: preset to train
        env_id: environment to train in
        env_steps: environment steps of a run
        checkpoint_seconds: seconds between checkpoints
        seed: seed of the run, and of the instants of the kills
        flags: further flags of dqn-train
    """
    words = [f"--total-env-steps={env_steps}", "--report-episodes=20", "--eval-episodes=20", f"--seed={seed}", *flags]
    words += [f"--preset={preset}"] * (preset is not None) + [f"--env-id={env_id}"] * (env_id is not None)
    generator = random.Random(seed)  # noqa: S311  (not for cryptography)
    with tempfile.TemporaryDirectory() as folder:
        first = _train(Path(folder) / "whole", words)
        whole = _model(first)
        training = first["training"]["wall_seconds"]
        outcomes: list[Outcome] = []
        while (done := sum(outcome.kills for outcome in outcomes)) < kills:
            place = Path(folder) / f"killed-{len(outcomes)}"
            frequent = [*words, f"--checkpoint-seconds={checkpoint_seconds}"]
            outcomes.append(_killed(place, frequent, kills - done, training / kills, generator))
            print(outcomes[-1]._replace(onnx=b""), file=sys.stderr)
    same = sum(outcome.onnx == whole for outcome in outcomes)
    resumed = sum(outcome.resumed for outcome in outcomes)
    seconds_of_parts = ", ".join(f"{outcome.wall_seconds:.1f} s" for outcome in outcomes)
    print(f"{preset or env_id or 'cartpole'}, {env_steps:,} environment steps, seed {seed}")
    print(f"  {sum(outcome.kills for outcome in outcomes)} kills, {resumed} of them after a first checkpoint")
    print(f"  {len(outcomes)} runs to the end, {same} with a model.onnx byte-identical to the uninterrupted run's")
    print(f"  training {training:.1f} s uninterrupted, {seconds_of_parts} in parts")
    sys.exit(same != len(outcomes))


def _killed(place: Path, words: list[str], kills: int, pause: float, generator: random.Random) -> Outcome:
    """Kills a run up to `kills` times, then lets it finish.

    One kill in five comes while the process starts. Before each of the others it writes a checkpoint, so that the run
    advances, and then continues for a random time of up to twice the pause.
    """
    done = resumed = 0
    checkpoint = place / "run" / "checkpoint"
    while done < kills:
        process = subprocess.Popen(_command(place, words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = _changed(checkpoint)
        deadline = time.monotonic() + generator.uniform(0, 3) if generator.random() < 0.2 else float("inf")
        while process.poll() is None and _changed(checkpoint) == before and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(generator.uniform(0, 2 * pause) if time.monotonic() < deadline else 0)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        done += 1
        resumed += checkpoint.exists()
    manifest = _train(place, words)
    return Outcome(_model(manifest), done, resumed, manifest["training"]["wall_seconds"])


def _changed(path: Path) -> int | None:
    """When a file was last replaced; None if it does not exist."""
    return path.stat().st_mtime_ns if path.exists() else None


def _train(place: Path, words: list[str]) -> Any:
    done = subprocess.run([*_command(place, words), "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout) | {"place": place}


def _command(place: Path, words: list[str]) -> list[str]:
    """The command that starts or resumes the run."""
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
